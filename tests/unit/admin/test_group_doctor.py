"""What is said of a group, from what its brokers and members say."""

from __future__ import annotations

from gantry.admin.group_doctor import BrokerView, GroupReport, Severity, examine, merged, said_by
from gantry.model import MessageQueue
from gantry.model.heartbeat import SubscriptionData
from gantry.protocol.remoting.body.consumer import Connection, MemberSubscription


def subscription(topic: str, expression: str = "*", tags: tuple[str, ...] = ()) -> SubscriptionData:
    return SubscriptionData(topic=topic, sub_string=expression, tags_set=list(tags))


def connection(client_id: str, version: int = 513) -> Connection:
    return Connection(client_id=client_id, client_addr="127.0.0.1:1", language="JAVA", version=version)


def view(name: str, *clients: str, said: list[MemberSubscription] | None = None, end: int = 0) -> BrokerView:
    return BrokerView(
        name,
        [connection(client) for client in clients],
        "CLUSTERING",
        said if said is not None else [MemberSubscription(list(clients), "CLUSTERING", [("T", "TAG", "*")])],
        {MessageQueue("T", name, 0): (0, end)},
    )


def texts(report: GroupReport, severity: Severity) -> list[str]:
    return [finding.text for finding in report.findings if finding.severity is severity]


def test_a_group_in_order_is_healthy() -> None:
    report = examine("g", [view("a", "c1", "c2", end=7), view("b", "c1", "c2", end=5)], queue_counts={"T": 8})
    assert report.healthy
    assert report.findings == []
    assert report.backlog == 12
    assert [member.client_id for member in report.members] == ["c1", "c2"]


def test_members_that_differ_are_a_problem_told_with_names() -> None:
    said = [
        MemberSubscription(["c1", "c3"], "CLUSTERING", [("T", "TAG", "*")]),
        MemberSubscription(["c2"], "CLUSTERING", [("U", "TAG", "a || b")]),
    ]
    report = examine("g", [view("a", "c1", "c2", "c3", said=said)], queue_counts={"T": 8, "U": 8})
    assert not report.healthy
    (problem,) = texts(report, Severity.PROBLEM)
    assert "c1, c3: CLUSTERING T TAG (*); c2: CLUSTERING U TAG (a || b)" in problem


def test_the_same_tags_in_another_order_and_the_retry_topic_make_no_difference() -> None:
    one = said_by("c1", "CLUSTERING", [subscription("T", "a || b", ("a", "b")), subscription("%RETRY%g")])
    other = said_by("c2", "CLUSTERING", [subscription("T", "b||a", ("b", "a"))])
    assert merged([one, other]) == [MemberSubscription(["c1", "c2"], "CLUSTERING", [("T", "TAG", "a || b")])]
    nothing = said_by("c3", "CLUSTERING", [])
    assert len(merged([one, nothing])) == 1, "a consumer that chooses its queues itself names no topic"
    broadcasting = said_by("c4", "BROADCASTING", [subscription("T", "a || b", ("a", "b"))])
    assert len(merged([one, broadcasting])) == 2


def test_a_broker_that_does_not_know_a_member_is_a_problem() -> None:
    report = examine("g", [view("a", "c1", "c2"), view("b", "c1")], queue_counts={"T": 8})
    (problem,) = texts(report, Severity.PROBLEM)
    assert "broker b does not know c2" in problem


def test_more_members_than_queues_and_mixed_versions_are_notes() -> None:
    mixed = view("a", "c1", "c2", "c3")
    mixed.members[0].version = 399
    report = examine("g", [mixed], queue_counts={"T": 2})
    assert report.healthy
    notes = texts(report, Severity.NOTE)
    assert notes == [
        "topic T has 2 queues and the group 3 members: 1 get no queue",
        "the members are clients of different kinds or versions: JAVA 399, JAVA 513",
    ]
    gone = examine("g", [view("a", "c1")], queue_counts={"T": 0})
    assert texts(gone, Severity.NOTE) == ["topic T has no route: nobody sent to it yet, or it was deleted"]


def test_messages_that_wait_for_nobody_are_a_problem_and_an_empty_group_is_a_note() -> None:
    waiting = examine("g", [view("a", end=3)], queue_counts={})
    assert texts(waiting, Severity.PROBLEM) == ["nobody of the group is connected; 3 messages wait"]
    assert examine("g", [view("a")], queue_counts={}).healthy
