"""The rim of the hot path: one per connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gantry.errors import RemoteProtocolError
from gantry.protocol.remoting.frame import Frame

if TYPE_CHECKING:
    from gantry.runtime.channel import Channel
    from gantry.runtime.remoting_limits import RemotingLimits

    from .turn import HotTurn


class HotIngest:
    """Takes the bytes of a connection: common sends go into the turn's plan, all other frames are returned.

    Frames that are returned find the sends before them done.
    """

    __slots__ = ("_channel", "_decoder", "_turn", "failure")

    def __init__(self, turn: HotTurn, channel: Channel, limits: RemotingLimits) -> None:
        self._turn = turn
        self._channel = channel
        self._decoder: Any = turn.engine.decoder(limits.frame_bytes_max, limits.header_bytes_max)
        self.failure: RemoteProtocolError | None = None

    @property
    def partial(self) -> bool:
        return bool(self._decoder.buffered_bytes)

    def ingest(self, data: bytes) -> list[Frame]:
        turn = self._turn
        plan = turn.plan
        try:
            frames = turn.engine.ingest(plan, self._decoder, self._channel, data)
        except RemoteProtocolError:
            raise
        except BaseException:
            turn.give_up()
            raise
        if frames or plan.failure is not None:
            # The plan is everybody's: what is wrong with this connection must not stay in it.
            self.failure, plan.failure = plan.failure, None
            turn.settle()
        elif plan.message_count:
            turn.more()
        return frames

    def finish(self) -> None:
        self._turn.settle()
