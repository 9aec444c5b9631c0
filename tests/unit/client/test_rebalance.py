"""Rebalance as transcripts: who holds which queue after each change. GANTRY_REWRITE=1 writes the answers anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.client.rebalance import STRATEGIES, plan_rebalance, strategy_named
from gantry.errors import ConfigError
from gantry.model import MessageQueue

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


class Group:
    """Interprets a transcript: `queues broker-a=4 broker-b=4`, `strategy AVG`, `join c1 c2`, `leave c1`."""

    def __init__(self) -> None:
        self.queues: list[MessageQueue] = []
        self.members: list[str] = []
        self.held: dict[str, list[MessageQueue]] = {}
        self.strategy = "AVG"

    def run(self, line: str) -> list[str]:
        command, *arguments = line.split()
        if command == "queues":
            counts = [argument.split("=") for argument in arguments]
            self.queues = sorted(MessageQueue("T", name, i) for name, count in counts for i in range(int(count)))
        elif command == "strategy":
            self.strategy = arguments[0]
        elif command == "join":
            self.members = sorted({*self.members, *arguments})
        elif command == "leave":
            self.members = [member for member in self.members if member not in arguments]
            for member in arguments:
                self.held.pop(member, None)
        else:
            raise ValueError(f"unknown command {command}")
        return [self._rebalance(member) for member in self.members]

    def _rebalance(self, member: str) -> str:
        wanted = strategy_named(self.strategy)(member, self.queues, self.members)
        plan = plan_rebalance(self.held.get(member, []), wanted)
        self.held[member] = wanted
        changes = "".join([f" -{_name(q)}" for q in plan.drop] + [f" +{_name(q)}" for q in plan.take])
        return f"{member}: {' '.join(map(_name, wanted)) or 'nothing'}{'  |' + changes if changes else ''}"


def _name(queue: MessageQueue) -> str:
    return f"{queue.broker_name.removeprefix('broker-')}{queue.queue_id}"


def _play(text: str) -> str:
    group, blocks = Group(), []
    for block in text.strip().split("\n\n"):
        commands = list(block.split("\n----")[0].splitlines())
        answer: list[str] = []
        for command in commands:
            if not command.startswith("#"):
                answer = group.run(command)
        blocks.append("\n".join([*commands, "----", *answer]))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text()
    played = _play(text)
    if os.environ.get("GANTRY_REWRITE") == "1":
        path.write_text(played)
    assert played == text


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 2


@given(
    queue_count=st.integers(0, 40),
    member_count=st.integers(1, 12),
    strategy=st.sampled_from(sorted(STRATEGIES)),
)
def test_every_queue_has_exactly_one_reader_and_shares_are_even(queue_count: int, member_count: int, strategy: str) -> None:
    queues = [MessageQueue("T", "b", i) for i in range(queue_count)]
    members = sorted(f"c{i}" for i in range(member_count))
    shares = [STRATEGIES[strategy](member, queues, members) for member in members]
    assert sorted(queue for share in shares for queue in share) == queues
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_client_outside_the_group_gets_nothing(strategy: str) -> None:
    assert STRATEGIES[strategy]("stranger", [MessageQueue("T", "b", 0)], ["c1"]) == []


def test_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="AVG, AVG_BY_CIRCLE"):
        strategy_named("BEST")
