"""Checkpoints of the original: what they say is out, and that a store with them goes on here."""

from __future__ import annotations

from gantry.broker.pop.checkpoints import REVIVE_GROUP, pending_of
from gantry.model import StoreMessage, message_const, topic_validator
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import encode_properties
from tests.unit.broker.broker_rig import GROUP
from tests.unit.broker.pop_rig import RETRY, PopRig

POPPED, INVISIBLE = 1_700_000_000_000, 60_000


def checkpoint(offsets: list[int], *, start: int = 0, pop_time: int = POPPED, **more: object) -> bytes:
    value = {
        "bm": 0, "bn": "broker-a", "c": GROUP, "d": [each - start for each in offsets], "it": INVISIBLE, "n": len(offsets),
        "pt": pop_time, "q": 0, "ro": 0, "so": start, "t": "T", **more,
    }  # fmt: skip
    return json_dialect.encode(value)


def ack(offset: int, *, start: int = 0, pop_time: int = POPPED) -> bytes:
    return json_dialect.encode({"ao": offset, "bn": "broker-a", "c": GROUP, "pt": pop_time, "q": 0, "so": start, "t": "T"})


def test_a_checkpoint_without_its_acknowledgements_is_out_in_whatever_order_they_come() -> None:
    batch = json_dialect.encode(
        {"ao": -1, "aol": [4, 6], "bn": "broker-a", "c": GROUP, "pt": POPPED, "q": 0, "so": 0, "t": "T"}
    )
    messages = [("ack", ack(1)), ("ck", checkpoint([0, 1, 3, 4, 6])), ("bAck", batch), ("ck", b"no json")]
    assert pending_of(messages, "broker-a") == {
        ("T", GROUP, 0): {0: (POPPED, POPPED + INVISIBLE), 3: (POPPED, POPPED + INVISIBLE)}
    }


def test_old_checkpoints_other_brokers_and_changed_invisible_times() -> None:
    old = checkpoint([], n=3, bm=0b010)
    changed = checkpoint([2], start=2, pop_time=POPPED + 5, it=10)
    other = checkpoint([9], bn="broker-b")
    found = pending_of([("ck", changed), ("ck", old), ("ack", ack(2)), ("ck", other)], "broker-a")
    assert found == {("T", GROUP, 0): {0: (POPPED, POPPED + INVISIBLE), 2: (POPPED + 5, POPPED + 15)}}


async def test_a_store_with_checkpoints_is_taken_over_once() -> None:
    revive_topic = topic_validator.REVIVE_TOPIC_PREFIX + "DefaultCluster"
    async with PopRig() as rig:
        await rig.heartbeat("T")
        for n in range(6):
            await rig.send("T", b"%d" % n)
        now = rig.clock.now_ms()
        stored = [
            ("ck", checkpoint([0, 1, 2, 3], pop_time=now), revive_topic, {}),
            ("ack", ack(1, pop_time=now), revive_topic, {}),
            ("ack", ack(3, pop_time=now), topic_validator.TIMER_TOPIC, {message_const.REAL_TOPIC: revive_topic}),
            ("ck", checkpoint([5], start=5, pop_time=now), revive_topic, {}),
        ]
        for tag, body, topic, properties in stored:
            text = encode_properties({message_const.TAGS: tag, **properties})
            assert (await rig.context.store.put(StoreMessage(topic=topic, queue_id=0, body=body, properties=text))).ok
        rig.context.offsets.commit(GROUP, "T", 0, 4)
    for name in rig.disk.list_dir("/store/gantry/pop"):
        rig.disk.unlink(f"/store/gantry/pop/{name}")
    for _ in range(2):
        async with PopRig(rig.disk, clock=rig.clock) as rig:
            await rig.heartbeat("T")
            assert rig.context.pop.account.ledger.out_count == 2
            assert rig.committed() == 0
            assert rig.context.offsets.query(REVIVE_GROUP, revive_topic, 0) == 2
    async with PopRig(rig.disk, clock=rig.clock) as rig:
        await rig.heartbeat("T")
        # Offset 5 lies at the committed offset or above, so pops give it anyway.
        assert [one.body for one in await rig.pop()] == [b"4", b"5"]
        await rig.clock.run_ms(INVISIBLE - 1)
        assert await rig.messages(RETRY) == []
        await rig.clock.run_ms(1)
        assert [message.body for message in await rig.messages(RETRY)][:2] == [b"0", b"2"]
