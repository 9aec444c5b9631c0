"""Trace entries: as the official encoder writes them, and read back."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.errors import RemoteProtocolError
from gantry.protocol.message.trace import ConsumeReturnType, Trace, TraceKind, TraceMessageType, decode_traces

WORDS = st.text(st.characters(blacklist_characters="\x01\x02", blacklist_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(0, 1 << 40)
FIELDS = {
    TraceKind.PUB: {
        "time_ms", "region", "group", "topic", "tags", "keys", "store_host", "body_length", "cost_ms", "message_type",
        "offset_msg_id", "success",
    },
    TraceKind.SUB_BEFORE: {"time_ms", "region", "group", "request_id", "retry_times", "keys"},
    TraceKind.SUB_AFTER: {"request_id", "cost_ms", "success", "keys", "context_code", "time_ms", "group"},
    TraceKind.END_TRANSACTION: {
        "time_ms", "region", "group", "topic", "tags", "keys", "store_host", "message_type", "transaction_id",
        "transaction_state", "from_check",
    },
    TraceKind.RECALL: {"time_ms", "region", "group", "topic", "success"},
}  # fmt: skip


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    kind = draw(st.sampled_from(list(TraceKind)))
    values: dict[str, object] = {"kind": kind, "msg_id": draw(WORDS)}
    for field in dataclasses.fields(Trace):
        if field.name not in FIELDS[kind]:
            continue
        if field.name == "message_type":
            values[field.name] = draw(st.sampled_from(list(TraceMessageType)))
        elif field.name == "context_code":
            values[field.name] = draw(st.sampled_from(list(ConsumeReturnType)))
        elif isinstance(field.default, bool):
            values[field.name] = draw(st.booleans())
        else:
            values[field.name] = draw(NUMBERS if isinstance(field.default, int) else WORDS)
    return Trace(**values)  # type: ignore[arg-type]


@given(st.lists(traces(), max_size=5))
def test_what_is_written_is_read(written: list[Trace]) -> None:
    assert decode_traces("".join(trace.encode() for trace in written)) == written


def test_a_send_as_the_official_client_writes_it() -> None:
    text = (
        "Pub\x011700000000000\x01DefaultRegion\x01shop\x01Orders\x017F01\x01drinks\x01k1 k2\x01127.0.0.1:10911\x0110\x013\x010"
        "\x01C0A8\x01true\x02"
    )
    (trace,) = decode_traces(text)
    assert trace.encode() == text
    assert trace.all_keys() == ["7F01", "k1", "k2"]
    assert (trace.topic, trace.body_length, trace.cost_ms, trace.success) == ("Orders", 10, 3, True)
    old = text.replace("\x01C0A8", "")
    assert decode_traces(old)[0].offset_msg_id == ""
    newer = text.replace("\x01true\x02", "\x01true\x01192.0.2.1\x02")
    assert decode_traces(newer) == [trace]


def test_kinds_to_come_are_passed_over_and_broken_entries_told() -> None:
    assert decode_traces("Sleep\x01a\x01b\x02") == []
    assert decode_traces("") == []
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        decode_traces("Pub\x01soon\x02")
