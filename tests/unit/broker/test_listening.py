"""Members of one group that listen to different things: found at the heartbeat, told, refused where that is asked."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.broker.client_manager.listening import GroupListening, Listening, describe_conflict
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.header.get_consumer_connection_list import GetConsumerConnectionListRequestHeader
from tests.unit.broker.admin_rig import AdminRig

G = "group-a"
KINDS = [Listening("CLUSTERING", ((name, "TAG", "*"),)) for name in "TUV"]


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.sampled_from(KINDS))), max_size=40))
def test_it_equals_a_dictionary_of_members(steps: list[tuple[int, Listening | None]]) -> None:
    """Any order of members that come, change and go."""
    listening, model = GroupListening(), dict[int, Listening]()
    for member, says in steps:
        others = {known for other, known in model.items() if other != member}
        if says is None:
            listening.remove(member)
            model.pop(member, None)
        else:
            assert listening.differs(member, says) == bool(others - {says})
            new = says not in (others | ({model[member]} if member in model else set()))
            assert listening.update(member, f"c{member}", says) == new
            model[member] = says
        assert listening.conflicting == (len(set(model.values())) > 1)
        found = {says: set(clients) for says, clients in listening.variants()}
        wanted: dict[Listening, set[str]] = {}
        for member_id, value in model.items():
            wanted.setdefault(value, set()).add(f"c{member_id}")
        assert found == wanted


def test_the_line_stays_short_however_many_differ() -> None:
    many = [(Listening("CLUSTERING", ((f"T{n}", "TAG", "x" * 10_000),)), [f"c{m}" for m in range(1_000)]) for n in range(50)]
    assert len(describe_conflict(many)) < 2_000


async def test_members_that_differ_are_told_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with AdminRig() as rig:
        first, second = rig.peer("c1"), rig.peer("c2")
        await first.beat(consumers={G: ["T"]})
        assert "listen to different things" not in caplog.text
        for _ in range(3):
            assert (await second.beat(consumers={G: ["U"]})).code == 0
            await first.beat(consumers={G: ["T"]})
        told = [record for record in caplog.records if "listen to different things" in record.message]
        assert len(told) == 1
        assert "c1: CLUSTERING T (*); c2: CLUSTERING U (*)" in told[0].message
        assert rig.context.consumers.conflicting_groups() == [G]
        answer = await rig.ask_json(GetConsumerConnectionListRequestHeader(consumer_group=G, member_subscriptions=True))
        assert answer["memberSubscriptions"] == [
            {"clientIds": ["c1"], "messageModel": "CLUSTERING", "subscriptions": [["T", "TAG", "*"]]},
            {"clientIds": ["c2"], "messageModel": "CLUSTERING", "subscriptions": [["U", "TAG", "*"]]},
        ]
        plain = await rig.ask_json(GetConsumerConnectionListRequestHeader(consumer_group=G))
        assert "memberSubscriptions" not in plain
        await second.beat(consumers={G: ["T"]})
        assert rig.context.consumers.conflicting_groups() == []


async def test_with_reject_the_one_who_differs_is_not_taken_in_and_his_other_groups_are() -> None:
    async with AdminRig(subscription_conflict_policy="reject") as rig:
        first, second = rig.peer("c1"), rig.peer("c2")
        assert (await first.beat(consumers={G: ["T"]})).code == 0
        refused = await second.beat(consumers={G: ["U"], "group-b": ["U"]}, producers=("p",))
        assert refused.code == ResponseCode.NO_PERMISSION
        assert refused.remark is not None
        assert refused.remark.startswith(f"group {G} does not take c2 in: its members listen to something else (c1: ")
        consumers = rig.context.consumers
        members = {group: info.client_ids() for group, info in consumers.groups().items()}
        assert members == {G: ["c1"], "group-b": ["c2"]}
        assert rig.context.producers.group_online("p")
        assert (await second.beat(consumers={G: ["T"]})).code == 0
        assert consumers.groups()[G].client_ids() == ["c1", "c2"]


async def test_with_reject_a_member_that_changes_its_mind_leaves_and_the_only_one_may() -> None:
    async with AdminRig(subscription_conflict_policy="reject") as rig:
        first, second = rig.peer("c1"), rig.peer("c2")
        await first.beat(consumers={G: ["T"]})
        await second.beat(consumers={G: ["T"]})
        assert (await second.beat(consumers={G: ["T", "U"]})).code == ResponseCode.NO_PERMISSION
        assert rig.context.consumers.groups()[G].client_ids() == ["c1"]
        assert (await first.beat(consumers={G: ["T", "U"]})).code == 0
