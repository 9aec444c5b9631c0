"""Where consumer groups are in their queues."""

from .consumer_offset_manager import ConsumerOffsetManager

__all__ = ["ConsumerOffsetManager"]
