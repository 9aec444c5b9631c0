"""Topics of this broker."""

from .topic_config_manager import TopicConfigManager

__all__ = ["TopicConfigManager"]
