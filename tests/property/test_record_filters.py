"""A filter over stored records answers as the same filter over the message's properties."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gantry.broker.consumer_filter import ExpressionFilter
from gantry.protocol.filter.sql92 import SqlFilter
from gantry.protocol.message.properties import decode_properties
from gantry.protocol.message.record import RecordView, StoreMessage, encode_record, record_properties

HOSTS = st.sampled_from([("10.0.0.1", 1), ("2001:db8::1", 2)])
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "aa", "xa", ""])
PAIRS = st.lists(st.tuples(NAMES, st.sampled_from(["", "5", "7", "x", "a", "ä"])), max_size=8)
FEW = SqlFilter("a > 5 OR b = 'x' OR c IS NULL AND aa CONTAINS 'ä'")
MANY = SqlFilter("(a > 5 OR b = 'x' OR c IS NULL AND aa CONTAINS 'ä') AND (d IS NULL OR e IS NULL OR xa IS NOT NULL)")


@settings(deadline=None, max_examples=300)
@given(HOSTS, HOSTS, st.sampled_from(["T", "T" * 127, "T" * 128, "T" * 300]), st.binary(max_size=20), PAIRS, st.booleans())
def test_records_and_properties(
    born: tuple[str, int], stored: tuple[str, int], topic: str, body: bytes, pairs: list[tuple[str, str]], old_writer: bool
) -> None:
    text = "".join(f"{name}\x01{value}\x02" for name, value in pairs)
    properties = (text[:-1] if old_writer else text).encode()
    message = StoreMessage(topic=topic, queue_id=0, body=body, properties=properties, born_host=born, store_host=stored)
    record = encode_record(message, queue_offset=0, physical_offset=0, store_timestamp=1)
    for form in (record, memoryview(record)):
        assert record_properties(form) == RecordView(form).properties == properties
        for compiled in (FEW, MANY):
            assert ExpressionFilter(compiled).matches_record(form) is compiled.matches(decode_properties(properties))


def test_the_filters_go_both_ways() -> None:
    assert len(FEW.names) == 4
    assert len(MANY.names) > 4
