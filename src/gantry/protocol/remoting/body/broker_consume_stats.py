"""Answer to GET_BROKER_CONSUME_STATS."""

from __future__ import annotations

import msgspec

from gantry.protocol.remoting.body.consumer import ConsumeStats


class ConsumeStatsList(msgspec.Struct, rename="camel"):
    """Per group (one map each), per topic: how far it is. Units: diffs in messages."""

    consume_stats_list: list[dict[str, list[ConsumeStats]]] = msgspec.field(default_factory=list)
    broker_addr: str = ""
    total_diff: int = 0
    total_inflight_diff: int = 0
