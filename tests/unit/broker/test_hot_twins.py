"""The compiled engine against the pure one: what it takes itself, it stores and answers byte for byte the same."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from gantry._core import ACCEL
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX, HEADER_BYTES_MAX
from tests.hot_twins import compare, compiled_engine, rig_with_topics

pytestmark = pytest.mark.skipif(ACCEL != "c", reason="the compiled core is not in use: there is nothing to compare")


@pytest.mark.parametrize("seed", range(6))
async def test_what_the_compiled_engine_takes_is_what_the_pure_one_would_have_done(seed: int) -> None:
    assert (await compare(seed, 150))[0] > 200


async def test_ordinary_sends_are_all_taken() -> None:
    rng = random.Random(1)
    rig = await rig_with_topics()
    try:
        engine = compiled_engine(rig)
        channel: Any = SimpleNamespace(remote_host="10.0.0.7", remote_port=4711)
        from gantry.model import Message
        from gantry.protocol.remoting.command import encode_command
        from tests.unit.broker.broker_rig import send_request

        for kind in (0, 1):
            for v1 in (False, True):
                plan = engine.plan()
                decoder = engine.decoder(FRAME_BYTES_MAX, HEADER_BYTES_MAX)
                single = send_request("T", rng.randbytes(100), queue_id=1, serialize_type=kind, v1=v1, properties={"TAGS": "A"})
                several = send_request(
                    "T", batch=[Message(topic="T", body=b"1"), Message(topic="T", body=b"2")], queue_id=1, serialize_type=kind
                )
                frames = encode_command(single) + encode_command(several)
                assert engine.ingest(plan, decoder, channel, frames) == []
                assert plan.message_count == 3
                rig.context.store.abort(plan.store_plan)
    finally:
        await rig.__aexit__()


async def test_senders_and_brokers_with_long_addresses_are_the_same_too() -> None:
    assert (await compare(77, 60, host="2001:db8::1"))[0] > 100
    assert (await compare(78, 60, broker_ip1="::1"))[0] > 100


async def test_records_roll_to_the_next_file_alike() -> None:
    assert (await compare(79, 120, odd=0.02, mapped_file_size_commit_log=8192))[0] > 200
