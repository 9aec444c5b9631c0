"""Both engines on the same bytes: what the compiled one takes, the pure one must store and answer byte for byte the same."""

from __future__ import annotations

import contextlib
import random
from types import SimpleNamespace
from typing import Any

from gantry.broker.hot._hot_py import HotEngine as PureEngine
from gantry.broker.hot._shapes_py import shape_of
from gantry.errors import RemoteProtocolError
from gantry.model import TopicConfig
from gantry.protocol.remoting.command import RemotingCommand, decode_frame
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX, HEADER_BYTES_MAX, Frame, FrameDecoder
from tests.hot_frames import end_frame, half_frame, send_frame, similar_frame
from tests.unit.broker.broker_rig import BrokerRig

FRAMES_A_READ = 12


async def rig_with_topics(**settings: Any) -> BrokerRig:
    rig = BrokerRig(**settings)
    await rig.__aenter__()
    for name in ("T", "Other", "Tä"):
        await rig.context.topics.create_if_absent(TopicConfig(topic_name=name, read_queue_nums=4, write_queue_nums=4))
    return rig


def compiled_engine(rig: BrokerRig) -> Any:
    from gantry.broker.hot._hot_c import HotEngine

    return HotEngine(rig.context)


def cut(data: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    decoder.receive_data(data)
    frames = []
    while (frame := decoder.next_frame()) is not None:
        frames.append(frame)
    return frames


def without(frames: list[bytes], left: list[Frame]) -> list[bytes]:
    """Those that the engine took."""
    taken, rest = [], list(left)
    for frame in frames:
        if rest and cut(frame) == [rest[0]]:
            rest.pop(0)
        else:
            taken.append(frame)
    assert not rest, "a frame came back that was not there, or in another order"
    return taken


def outcome(rig: BrokerRig, engine: Any, plan: Any) -> dict[str, Any]:
    """Carries the plan out; everything that can be seen of it."""
    store = rig.context.store
    if plan.store_plan is None or not plan.message_count:
        if plan.store_plan is not None:
            store.abort(plan.store_plan)
        return {}
    planned, turn = plan.transactions, rig.context.transactions.turn
    if planned is not None:
        turn.lay_out_ops(planned, plan.store_plan)
    store.write(plan.store_plan)
    ranges = [tuple(item) for item in plan.store_plan.ranges]
    store.commit(plan.store_plan)
    if planned is not None:
        turn.carried_out(planned)
    engine.count(plan)
    rows = engine.take_counts()
    assert len({row[:2] for row in rows}) == len(rows), "a queue is counted in one row"
    keys = store._index.pending.batch()  # type: ignore[attr-defined]
    return {
        "log": ranges,
        "must wait": plan.store_plan.must_wait,
        "records": [
            (r.topic, r.queue_id, r.queue_offset, r.physical_offset, r.size, r.tags_code, r.properties)
            for r in plan.store_plan.records
        ],
        "counts": sorted(rows),
        "totals": tuple(engine.take_totals()),
        "ins": sorted((*row[:5], tuple(row[5])) for row in engine.take_ins()),
        "requests by code": [plan.code_counts(waiting) for waiting in (None, False, True)],
        "waiting": plan.waiting_count,
        "keys": [keys.key(number) for number in range(len(keys))],
        "answers": [
            plan.answers(first, end, waiting, *answer)
            for _, first, end in plan.sections
            for waiting in (None, False, True)
            for answer in ((0, None), (10, None), (14, "no"))
        ],
        "transactions": of_transactions(rig, planned),
        "queues": [(q.topic, q.queue_id, q.max_offset, q.planned_offset, q.visible_offset) for q in store.queue_table],
    }


def of_transactions(rig: BrokerRig, planned: Any) -> Any:
    """What a plan did for transactions, and what they look like after it."""
    done = planned and [getattr(planned, name) for name in planned.__slots__]
    ledger, metrics = rig.context.transactions.ledger, rig.context.transactions.metrics
    ledger.advance()
    over = [offset for offset in range(ledger.position, ledger.position + 200) if ledger.is_over(offset)]
    return (
        done and ([*done[1]], done),
        (ledger.position, ledger.op_position, over),
        (metrics.half_messages, metrics.commits, metrics.rollbacks, metrics.finish_latency),
    )


async def compare_transactions(seed: int, turns: int, *, odd: float = 0.1, **settings: Any) -> tuple[int, int]:
    """As compare(), for halves and their ends among ordinary sends. Returns how many of them were taken, and of how many."""
    rng = random.Random(seed)
    ours, theirs = await rig_with_topics(**settings), await rig_with_topics(**settings)
    try:
        compiled, pure = compiled_engine(ours), PureEngine(theirs.context)
        channel: Any = SimpleNamespace(remote_host="10.0.0.7", remote_port=4711)
        fast, slow = (engine.decoder(FRAME_BYTES_MAX, HEADER_BYTES_MAX) for engine in (compiled, pure))
        tried, opaque = 0, 0
        halves: list[tuple[int, int]] = []
        for _ in range(turns):
            frames = []
            for _ in range(rng.randrange(1, FRAMES_A_READ)):
                opaque += 1
                kind = rng.random()
                if kind < 0.1:
                    frames.append(send_frame(rng, opaque, odd=odd))
                elif kind < 0.5 or not halves:
                    frames.append(half_frame(rng, opaque, odd=odd))
                else:
                    # Some end twice: of one read, and of later ones.
                    half = halves[-1] if rng.random() < 0.1 else halves.pop(rng.randrange(len(halves)))
                    if rng.random() < 0.1:
                        halves.append(half)
                    frames.append(end_frame(rng, opaque, half, odd=odd))
            tried += len(frames)
            plan, other = compiled.plan(), pure.plan()
            taken = without(frames, compiled.ingest(plan, fast, channel, b"".join(frames)))
            assert pure.ingest(other, slow, channel, b"".join(taken)) == [], "the compiled engine took what the pure one leaves"
            first, second = outcome(ours, compiled, plan), outcome(theirs, pure, other)
            assert first == second
            halves += [(r[2], r[3]) for r in first.get("records", ()) if r[0] == "RMQ_SYS_TRANS_HALF_TOPIC"]
        return compiled.halves_taken + compiled.ends_taken, tried
    finally:
        await ours.__aexit__()
        await theirs.__aexit__()


async def compare(seed: int, reads: int, *, host: str = "10.0.0.7", odd: float = 0.1, **settings: Any) -> tuple[int, int]:
    """Returns how many frames the compiled engine took, and of how many."""
    rng = random.Random(seed)
    ours, theirs = await rig_with_topics(**settings), await rig_with_topics(**settings)
    try:
        compiled, pure = compiled_engine(ours), PureEngine(theirs.context)
        channel: Any = SimpleNamespace(remote_host=host, remote_port=4711)
        fast, slow = (engine.decoder(FRAME_BYTES_MAX, HEADER_BYTES_MAX) for engine in (compiled, pure))
        count = tried = 0
        for _ in range(reads):
            frames = [send_frame(rng, opaque, odd=odd) for opaque in range(rng.randrange(1, FRAMES_A_READ))]
            plan, data = compiled.plan(), b"".join(frames)
            left: list[Frame] = []
            at = 0
            while at < len(data):
                step = rng.choice((1, 7, 100, len(data)))
                left += compiled.ingest(plan, fast, channel, data[at : at + step])
                at += step
            assert fast.buffered_bytes == 0
            taken = without(frames, left)
            count += len(taken)
            tried += len(frames)
            other = pure.plan()
            assert pure.ingest(other, slow, channel, b"".join(taken)) == [], "the compiled engine took what the pure one leaves"
            first, second = outcome(ours, compiled, plan), outcome(theirs, pure, other)
            # However the reads were cut, the answers together are the same.
            for waiting in range(9):
                answers = [b"".join(found.get("answers", [])[waiting::9]) for found in (first, second)]
                assert answers[0] == answers[1]
            first.pop("answers", None), second.pop("answers", None)
            assert first == second
        return count, tried
    finally:
        await ours.__aexit__()
        await theirs.__aexit__()


def model(rng: random.Random, odd: float) -> bytes:
    """A frame with a header that may be learned."""
    while True:
        data = send_frame(rng, rng.randrange(1 << 31), odd=odd)
        with contextlib.suppress(RemoteProtocolError, ValueError):
            (frame,) = cut(data)
            if shape_of(decode_frame(frame), frame.header) is not None:
                return data


class Forgetful(PureEngine):
    """Learns no shape: every send goes the long way."""

    def _learn(self, request: RemotingCommand, header: bytes) -> None:
        return None


async def compare_shapes(seed: int, reads: int, *, odd: float = 0.02, **settings: Any) -> tuple[int, int]:
    """The pure engine against itself without the shapes that it learns, on frames that are like each other.

    Returns how many sends were laid out by shape, and of how many frames.
    """
    rng = random.Random(seed)
    ours, theirs = await rig_with_topics(**settings), await rig_with_topics(**settings)
    try:
        learning, forgetful = PureEngine(ours.context), Forgetful(theirs.context)
        channel: Any = SimpleNamespace(remote_host="10.0.0.7", remote_port=4711)
        decoders = [engine.decoder(FRAME_BYTES_MAX, HEADER_BYTES_MAX) for engine in (learning, forgetful)]
        models = [send_frame(rng, opaque, odd=odd) for opaque in range(100, 110)]
        models += [model(rng, odd) for _ in range(20)]
        by_shape = tried = 0
        for _ in range(reads):
            frames = [similar_frame(rng, rng.choice(models)) for _ in range(rng.randrange(1, 3 * FRAMES_A_READ))]
            data = b"".join(frames)
            if rng.random() < 0.05:
                models[rng.randrange(len(models))] = model(rng, odd)
            split = rng.choice((len(data), rng.randrange(len(data))))
            plans = learning.plan(), forgetful.plan()
            left = [
                [frame for piece in (data[:split], data[split:]) for frame in engine.ingest(plan, decoder, channel, piece)]
                for engine, plan, decoder in zip((learning, forgetful), plans, decoders, strict=True)
            ]
            assert left[0] == left[1]
            assert all(decoder.buffered_bytes == 0 for decoder in decoders)
            by_shape += sum(lane.messages for lanes in plans[0].lanes.values() for lane in lanes.values() if lane is not None)
            tried += len(frames)
            assert outcome(ours, learning, plans[0]) == outcome(theirs, forgetful, plans[1])
        return by_shape, tried
    finally:
        await ours.__aexit__()
        await theirs.__aexit__()
