"""The queue of brokers that leave."""

from __future__ import annotations

from gantry.namesrv.unregistration_queue import UnregistrationQueue
from tests.unit.namesrv.rig import unregistration


def test_the_queue_is_bounded_and_emptied_as_a_whole() -> None:
    queue = UnregistrationQueue(2)
    assert queue.submit(unregistration("a"))
    assert queue.submit(unregistration("b"))
    assert not queue.submit(unregistration("c"))
    assert queue.submit(unregistration("a")), "the same broker waits once"
    assert [one.broker_name for one in queue.drain()] == ["a", "b"]
    assert len(queue) == 0
    assert queue.submit(unregistration("c"))
