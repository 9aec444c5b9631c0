"""Sends that the pure engine lays out by a shape it has learned: nothing can be seen of that but the time it takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gantry.broker.hot._hot_py import HotEngine
from gantry.protocol.remoting.command import SERIALIZE_JSON, SERIALIZE_ROCKETMQ, encode_command
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX, HEADER_BYTES_MAX
from tests.hot_twins import compare_shapes, rig_with_topics
from tests.unit.broker.broker_rig import send_request


@pytest.mark.parametrize("seed", range(4))
async def test_sends_by_shape_are_what_they_are_without(seed: int) -> None:
    by_shape, tried = await compare_shapes(seed, 100)
    assert by_shape > tried // 10


async def test_records_by_shape_roll_to_the_next_file_alike() -> None:
    assert (await compare_shapes(50, 80, mapped_file_size_commit_log=8192))[0] > 100


async def test_a_broker_with_a_long_address_lays_nothing_out_by_shape() -> None:
    assert (await compare_shapes(51, 30, broker_ip1="::1"))[0] == 0


@pytest.mark.parametrize("serialize_type", [SERIALIZE_JSON, SERIALIZE_ROCKETMQ])
@pytest.mark.parametrize("v1", [False, True])
async def test_a_shape_is_learned_from_the_first_send(serialize_type: int, v1: bool) -> None:
    rig = await rig_with_topics()
    try:
        engine, channel = HotEngine(rig.context), SimpleNamespace(remote_host="10.0.0.7", remote_port=4711)
        plan, decoder = engine.plan(), engine.decoder(FRAME_BYTES_MAX, HEADER_BYTES_MAX)
        reads: Any = b""
        for number in range(10):
            request = send_request(
                "T",
                b"body",
                queue_id=number % 4,
                unique_key=f"KEY{number}",
                properties={"TAGS": "AB"[number % 2], "KEYS": f"k{number} l"},
                serialize_type=serialize_type,
                v1=v1,
            )
            request.opaque = 100 + number
            reads += encode_command(request)
        assert engine.ingest(plan, decoder, channel, reads) == []  # type: ignore[arg-type]
        assert plan.message_count == 10
        assert sum(lane.messages for lanes in plan.lanes.values() for lane in lanes.values() if lane) == 9
        rig.context.store.abort(plan.store_plan)  # type: ignore[arg-type]
    finally:
        await rig.__aexit__()
