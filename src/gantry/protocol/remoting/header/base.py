"""How a request or response header is declared: once, wire name beside our name.

    class PullMessageRequestHeader(RequestHeader, code=RequestCode.PULL_MESSAGE):
        consumer_group: str = wire("consumerGroup")
        queue_id: int = wire("queueId", bits=32)
        sub_version: int | None = wire("subVersion", default=None)

Both serializations carry these as text in the extension fields; the declaration gives type, width and whether the field
must be there.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from typing import Any, ClassVar, NamedTuple, Self, dataclass_transform

from gantry.errors import HeaderFieldError
from gantry.protocol.remoting.codes import RequestCode

_MISSING: Any = dataclasses.MISSING
# What annotations say in nearly every header. Resolving them one by one through typing takes a tenth of a broker's start.
_KIND_BY_TEXT: dict[Any, type] = {
    text: kind for kind in (str, int, bool) for text in (kind.__name__, f"{kind.__name__} | None")
}
_SURELY_FITS = {32: 10, 64: 19}
"""By width: a text of fewer digits is a number that fits."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")


def wire(name: str, *, default: Any = _MISSING, bits: int = 64) -> Any:
    """One field: its wire name, its default (none: required), and for integers its signed width in bits."""
    if default is _MISSING:
        return dataclasses.field(metadata={"wire": name, "bits": bits})
    return dataclasses.field(default=default, metadata={"wire": name, "bits": bits})


class FieldSpec(NamedTuple):
    """What the codecs and the documentation read of one field."""

    attribute: str
    wire_name: str
    kind: type
    bits: int
    required: bool
    default: Any


@dataclass_transform(kw_only_default=True, field_specifiers=(wire,))
class Header:
    """Base of all headers. `CODE` is the request's code, None for the headers of responses."""

    CODE: ClassVar[RequestCode | None] = None
    FIELDS: ClassVar[tuple[FieldSpec, ...]] = ()
    _complete: ClassVar[bool] = True

    def __init_subclass__(cls, code: RequestCode | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if code is not None:
            cls.CODE = code
        # There are a hundred headers, of which a process uses a few: what dataclass writes for a class is written when the
        # first one of it is made. Fields are told from the declaration alone.
        cls._complete = False
        own = tuple(
            FieldSpec(
                attribute=name,
                wire_name=item.metadata["wire"],
                kind=_KIND_BY_TEXT.get(text) or _kind(typing.get_type_hints(cls)[name]),
                bits=item.metadata["bits"],
                required=item.default is _MISSING,
                default=None if item.default is _MISSING else item.default,
            )
            for name, text in inspect.get_annotations(cls).items()
            if isinstance(item := cls.__dict__.get(name), dataclasses.Field)
        )
        names = {spec.attribute for spec in own}
        cls.FIELDS = (*(spec for spec in cls.FIELDS if spec.attribute not in names), *own)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if not cls._complete:
            cls._finish()
        return super().__new__(cls)

    @classmethod
    def _finish(cls) -> None:
        """Gives the class its __init__; the classes it is made of come first, as dataclass wants it."""
        for base in reversed(cls.__mro__):
            if issubclass(base, Header) and not base.__dict__.get("_complete", True):
                dataclasses.dataclass(kw_only=True, repr=False, eq=False)(base)
                base._complete = True

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, spec.attribute) == getattr(other, spec.attribute) for spec in self.FIELDS)

    def __repr__(self) -> str:
        fields = ", ".join(f"{spec.attribute}={getattr(self, spec.attribute)!r}" for spec in self.FIELDS)
        return f"{type(self).__qualname__}({fields})"

    @classmethod
    def decode(cls, ext_fields: dict[str, str] | None) -> Self:
        """Reads the fields declared; unknown ones are left alone.

        Raises: HeaderFieldError naming the field that is missing or has no value of its type.
        """
        source = ext_fields or {}
        header = cls.__new__(cls)
        # As __init__ would set them; there is a header a request, and a call with keywords costs as much as reading them.
        values = header.__dict__
        for spec in cls.FIELDS:
            attribute, wire_name, kind, _, required, default = spec
            text = source.get(wire_name)
            if text is None:
                if required:
                    raise HeaderFieldError(field=wire_name, value=None, reason="the request must carry it")
                values[attribute] = default
            else:
                values[attribute] = text if kind is str else _parse(spec, text)
        return header

    def encode(self) -> dict[str, str]:
        """Extension fields, None left out, in the order of declaration."""
        fields: dict[str, str] = {}
        for spec in self.FIELDS:
            value = getattr(self, spec.attribute)
            if value is None:
                continue
            if value is True:
                fields[spec.wire_name] = "true"
            elif value is False:
                fields[spec.wire_name] = "false"
            else:
                fields[spec.wire_name] = value if spec.kind is str else str(int(value))
        return fields


class RequestHeader(Header):
    """Header of a request; declares its code."""


class ResponseHeader(Header):
    """Header of a response."""


def _kind(hint: Any) -> type:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (member for member in typing.get_args(hint) if member is not type(None))
    if hint not in (str, int, bool):
        raise TypeError(f"header fields are str, int or bool, not {hint}")
    return typing.cast(type, hint)


def _parse(spec: FieldSpec, text: str) -> Any:
    if spec.kind is bool:
        # Java's Boolean.parseBoolean: everything but "true" is false, so no value is refused.
        return text.lower() == "true"
    if len(text) < _SURELY_FITS.get(spec.bits, 0) and text.isascii() and text.isdecimal():
        return int(text)
    if not _INTEGER.match(text):
        raise HeaderFieldError(field=spec.wire_name, value=text, reason=f"expected an integer of {spec.bits} bits")
    number = int(text)
    limit = 1 << (spec.bits - 1)
    if not -limit <= number < limit:
        raise HeaderFieldError(field=spec.wire_name, value=text, reason=f"does not fit {spec.bits} bits")
    return number
