"""The traces of a push consumer: they are sent by a producer of their own."""

from __future__ import annotations

from collections.abc import Sequence

from .doors import Doors
from .listener import Listener
from .message_trace import MessageTraces
from .producer import Producer
from .remoting import Remoting

GROUP_PREFIX = "_INNER_TRACE_PRODUCER"
GROUP_CHARS = 80
"""Of the consumer's group: the name must stay within the limit of groups."""


class ConsumerTraces:
    """Between start() and stop() what the traced listener does is told in the trace topic."""

    def __init__(self, group: str, topic: str, *, name_servers: Sequence[str], doors: Doors, remoting: Remoting | None) -> None:
        self._rng = doors.rng
        self._producer = Producer(
            f"{GROUP_PREFIX}-{group[:GROUP_CHARS]}-CONSUME", name_servers=";".join(name_servers), doors=doors, remoting=remoting
        )
        self._traces = MessageTraces(group, topic, doors.clock, self._producer.send)

    def listener(self, inner: Listener) -> Listener:
        return self._traces.listener(inner, lambda: self._rng.token(16).hex().upper())

    async def start(self) -> None:
        await self._producer.start()
        self._traces.start()

    async def stop(self) -> None:
        await self._traces.stop()
        await self._producer.stop()
