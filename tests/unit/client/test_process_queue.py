from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gantry.client.process_queue import NO_OFFSET, FlowLimits, ProcessQueue
from gantry.model import MessageExt


def message(offset: int, size: int = 1) -> MessageExt:
    return MessageExt(topic="T", body=b"x" * size, queue_offset=offset)


def test_nothing_to_commit_before_the_first_message() -> None:
    assert ProcessQueue().commit_offset() == NO_OFFSET


def test_commit_stays_at_the_first_unfinished_message() -> None:
    table = ProcessQueue()
    messages = [message(offset) for offset in range(10, 15)]
    table.put(messages)
    assert table.finish(messages[1:3]) == 10
    assert table.finish(messages[:1]) == 13
    assert table.finish(messages[3:]) == 15
    assert table.count == 0
    assert table.size == 0


def test_offset_already_held_is_not_handed_out_twice() -> None:
    table = ProcessQueue()
    table.put([message(1), message(2)])
    taken = table.take(1)
    assert [m.queue_offset for m in table.put([message(1), message(2), message(3)])] == [3]
    assert [m.queue_offset for m in taken] == [1]
    assert table.count == 3


def test_orderly_messages_put_back_come_first_again() -> None:
    table = ProcessQueue()
    table.put([message(offset) for offset in range(4)])
    first = table.take(2)
    table.put_back(first)
    assert [m.queue_offset for m in table.take(3)] == [0, 1, 2]
    assert table.running_count == 3
    assert table.commit_offset() == 0


def test_room_ends_at_each_limit() -> None:
    limits = FlowLimits(count_max=3, size_max=100, span_max=50)
    table = ProcessQueue()
    table.put([message(0), message(1)])
    assert table.has_room(limits)
    table.put([message(2)])
    assert not table.has_room(limits)
    table = ProcessQueue()
    table.put([message(0, size=100)])
    assert not table.has_room(limits)
    table = ProcessQueue()
    table.put([message(0), message(51)])
    assert not table.has_room(limits)
    assert table.has_room(limits, orderly=True)


@given(st.data())
def test_commit_never_passes_an_unfinished_message(data: st.DataObject) -> None:
    table, unfinished, next_offset = ProcessQueue(), {}, data.draw(st.integers(0, 5))
    put_any, running = False, []
    for _ in range(data.draw(st.integers(1, 30))):
        action = data.draw(st.sampled_from(["put", "take", "finish", "back"]))
        if action == "put":
            fresh = [message(next_offset + i) for i in range(data.draw(st.integers(1, 4)))]
            next_offset += len(fresh)
            put_any = True
            unfinished.update({m.queue_offset: m for m in table.put(fresh)})
        elif action == "take":
            running += table.take(data.draw(st.integers(1, 3)))
        elif running:
            chosen = running.pop(data.draw(st.integers(0, len(running) - 1)))
            if action == "finish":
                table.finish([chosen])
                del unfinished[chosen.queue_offset]
            else:
                table.put_back([chosen])
        expected = min(unfinished) if unfinished else (next_offset if put_any else NO_OFFSET)
        assert table.commit_offset() == expected
        assert table.count == len(unfinished)
        assert table.size == sum(len(m.body) for m in unfinished.values())
