"""Java's .properties files, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.errors import ConfigError
from gantry.runtime.properties import decode_properties, format_properties, parse_properties

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_key = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("# a comment\n! another\n   # a third\n\n", {}),
        ("a=1\nb:2\nc 3\nd\t4\n", {"a": "1", "b": "2", "c": "3", "d": "4"}),
        ("a = 1\nb : 2\n  c   =   3", {"a": "1", "b": "2", "c": "3"}),
        ("a=b=c:d", {"a": "b=c:d"}),
        ("alone\nempty=\n", {"alone": "", "empty": ""}),
        ("=value", {"": "value"}),
        ("a=1\ra2=2\r\nb=3", {"a": "1", "a2": "2", "b": "3"}),
        ("a=one\\\n   two\\\r\n\tthree", {"a": "onetwothree"}),
        ("a=one\\\\\nb=2", {"a": "one\\", "b": "2"}),
        ("a=end\\", {"a": "end"}),
        ("a=x\\\n# not a comment", {"a": "x# not a comment"}),
        ("a\\ b\\=c\\:d=1", {"a b=c:d": "1"}),
        ("a=\\t\\n\\r\\f\\q\\u0041\\u20ac", {"a": "\t\n\r\fqA€"}),
        ("a=\\ud83d\\ude00", {"a": "😀"}),
        ("a=trailing  ", {"a": "trailing  "}),
        ("a=1\na=2", {"a": "2"}),
        ("namesrvAddr=127.0.0.1:9876;127.0.0.2:9876", {"namesrvAddr": "127.0.0.1:9876;127.0.0.2:9876"}),
        ("path=C\\:\\\\store", {"path": "C:\\store"}),
    ],
)
def test_reading(text: str, pairs: dict[str, str]) -> None:
    assert parse_properties(text) == pairs


@pytest.mark.parametrize("text", ["a=\\u12", "a=\\u", "a=\\uzzzz", "a=1\nb=\\u+123"])
def test_bad_escape_names_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=f"line {text.count(chr(10)) + 1}: "):
        parse_properties(text)


@given(st.dictionaries(_key, _text, max_size=8))
def test_what_is_written_is_read_back(pairs: dict[str, str]) -> None:
    text = format_properties(pairs, comment="two\nlines € ")
    assert text.isascii()
    assert parse_properties(text) == pairs
    assert list(parse_properties(text)) == list(pairs)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        pairs = parse_properties(text)
    except ConfigError:
        return
    assert all(isinstance(part, str) for pair in pairs.items() for part in pair)


def test_bytes() -> None:
    assert decode_properties("a=ü".encode()) == "a=ü"
    assert decode_properties("a=ü".encode("latin-1")) == "a=ü"
    assert decode_properties(b"\xef\xbb\xbfa=1") == "a=1"
