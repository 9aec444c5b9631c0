"""What is wrong with a consumer group, from what its brokers and members say. Pure.

A group consumes as one: members that listen to different things, queues that nobody reads, or a broker that does not know
a member lose or delay messages without an error anywhere.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gantry.model import MessageQueue
from gantry.model.heartbeat import BROADCASTING, SubscriptionData
from gantry.model.names import is_retry_topic
from gantry.protocol.remoting.body.consumer import Connection, MemberSubscription


class Severity(enum.Enum):
    """`PROBLEM`: messages are lost, late or doubled. `NOTE`: worth knowing."""

    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    text: str


@dataclass(slots=True)
class BrokerView:
    """One broker's word on a group; `members` is empty when nobody of it is connected there.

    `said` is what the members listen to, alike ones together. `positions` is (committed offset, end) a queue.
    """

    broker_name: str
    members: list[Connection] = field(default_factory=list)
    message_model: str = ""
    said: list[MemberSubscription] = field(default_factory=list)
    positions: dict[MessageQueue, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class GroupReport:
    """What was found; a group without a problem may have notes."""

    group: str
    members: list[Connection]
    said: list[MemberSubscription]
    backlog: int
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        return all(finding.severity is not Severity.PROBLEM for finding in self.findings)


def said_by(client_id: str, message_model: str, subscriptions: Iterable[SubscriptionData]) -> MemberSubscription:
    """What one member told of itself, in the form in which a broker tells it."""
    said = sorted(each.comparable() for each in subscriptions if not is_retry_topic(each.topic))
    return MemberSubscription([client_id], message_model, said)


def merged(said: Iterable[MemberSubscription]) -> list[MemberSubscription]:
    """Alike ones together, the most said first; members that name no topic choose their queues themselves and are left out."""
    together: dict[tuple[str, tuple[tuple[str, str, str], ...]], dict[str, None]] = {}
    for each in said:
        if each.subscriptions:
            key = (each.message_model, tuple(sorted(each.subscriptions)))
            together.setdefault(key, {}).update(dict.fromkeys(each.client_ids))
    found = [MemberSubscription(list(clients), model, list(topics)) for (model, topics), clients in together.items()]
    return sorted(found, key=lambda each: -len(each.client_ids))


def examine(group: str, views: Sequence[BrokerView], *, queue_counts: dict[str, int]) -> GroupReport:
    """`queue_counts` is the number of readable queues of each topic, over all brokers."""
    members: dict[str, Connection] = {}
    for view in views:
        for member in view.members:
            members.setdefault(member.client_id, member)
    said = merged(each for view in views for each in view.said)
    positions = {queue: place for view in views for queue, place in view.positions.items()}
    backlog = sum(max(end - max(committed, 0), 0) for committed, end in positions.values())
    findings = [
        *_offline(members, backlog),
        *_differing(said),
        *_unknown_to_brokers(views, members),
        *_without_queue(said, queue_counts),
        *_versions(members),
    ]
    return GroupReport(group, list(members.values()), said, backlog, findings)


def _offline(members: dict[str, Connection], backlog: int) -> list[Finding]:
    if members:
        return []
    severity = Severity.PROBLEM if backlog else Severity.NOTE
    return [Finding(severity, f"nobody of the group is connected; {backlog} messages wait")]


def _differing(said: list[MemberSubscription]) -> list[Finding]:
    if len(said) < 2:
        return []
    lines = [
        f"{', '.join(each.client_ids)}: {each.message_model} "
        + ", ".join(f"{topic} {kind} ({expression})" for topic, kind, expression in each.subscriptions)
        for each in said
    ]
    return [
        Finding(
            Severity.PROBLEM,
            "the members listen to different things, so messages reach members that do not want them and are lost to those "
            "that do. Give all members equal subscriptions, or groups of their own. " + "; ".join(lines),
        )
    ]


def _unknown_to_brokers(views: Sequence[BrokerView], members: dict[str, Connection]) -> list[Finding]:
    findings = []
    for view in views:
        unknown = sorted(members.keys() - {member.client_id for member in view.members})
        if unknown:
            findings.append(
                Finding(
                    Severity.PROBLEM,
                    f"broker {view.broker_name} does not know {', '.join(unknown)}: members that see different groups share "
                    "out the queues differently, some twice and some not at all. Look for a heartbeat that fails",
                )
            )
    return findings


def _without_queue(said: list[MemberSubscription], queue_counts: dict[str, int]) -> list[Finding]:
    findings = []
    if len(said) == 1 and said[0].message_model != BROADCASTING:
        count = len(said[0].client_ids)
        for topic, _, _ in said[0].subscriptions:
            queues = queue_counts.get(topic, 0)
            if not queues:
                findings.append(Finding(Severity.NOTE, f"topic {topic} has no route: nobody sent to it yet, or it was deleted"))
            elif queues < count:
                text = f"topic {topic} has {queues} queues and the group {count} members: {count - queues} get no queue"
                findings.append(Finding(Severity.NOTE, text))
    return findings


def _versions(members: dict[str, Connection]) -> list[Finding]:
    versions = sorted({(member.language, member.version) for member in members.values()})
    if len(versions) < 2:
        return []
    text = ", ".join(f"{language} {version}" for language, version in versions)
    return [Finding(Severity.NOTE, f"the members are clients of different kinds or versions: {text}")]
