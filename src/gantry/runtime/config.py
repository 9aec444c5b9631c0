"""Configuration, declared once per key: official name, sentence, type, unit, default, bounds, reloadable.

class NamesrvConfig(Config):
    listen_port: int = key("listenPort", 9876, doc="Port to listen on.", minimum=0, maximum=65535)

config = NamesrvConfig.from_properties(parse_properties(text))
config.listen_port, config.unknown                     # keys this version does not know are kept, and warned about
config.update("listenPort", "9877")                    # at run time: reloadable keys only
"""

from __future__ import annotations

import logging
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from gantry.errors import ConfigError

log = logging.getLogger(__name__)

_INT = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_INT64 = (-(1 << 63), (1 << 63) - 1)
_SECRET_NAME = re.compile(r"secret|passw|credential|access.?key|token|authenticationuser", re.IGNORECASE)
MASK = "******"


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """The declaration of one key. `default` is a value, or a function of no arguments that makes one."""

    name: str
    default: Any
    doc: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    shape: str = ""
    reloadable: bool = False
    secret: bool = False
    attribute: str = ""
    kind: type = str
    optional: bool = False

    def parse(self, text: str) -> Any:
        """The typed value of a text. Raises: ConfigError with the key, the text and what is allowed."""
        stripped = text.strip()
        if self.optional and not stripped:
            return None
        value: Any
        if self.kind is bool:
            if stripped.lower() not in ("true", "false"):
                raise self._refuse(text)
            return stripped.lower() == "true"
        if self.kind is int:
            if not _INT.fullmatch(stripped):
                raise self._refuse(text)
            value = int(stripped)
        elif self.kind is float:
            if not _FLOAT.fullmatch(stripped):
                raise self._refuse(text)
            value = float(stripped)
        else:
            value = stripped
        return self.check(value)

    def check(self, value: Any) -> Any:
        """The value itself when it is of the key's type and in bounds. Raises: ConfigError otherwise."""
        if value is None:
            if self.optional:
                return None
            raise self._refuse("nothing")
        actual: type = type(value)
        if self.kind is float and actual is int:
            value = float(value)
        elif actual is not self.kind:
            raise self._refuse(repr(value))
        if self.kind is int and not _INT64[0] <= value <= _INT64[1]:
            raise self._refuse(str(value))
        if self.kind in (int, float) and (
            value != value
            or (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
        ):
            raise self._refuse(str(value))
        if self.choices and value not in self.choices:
            raise self._refuse(value)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise self._refuse(value)
        if self.kind is str and ("\n" in value or "\r" in value or "\0" in value):
            # Such a value would write a second key into the file it is saved to.
            raise self._refuse(repr(value))
        return value

    def format(self, value: Any) -> str:
        """The text form that parse() reads back."""
        if value is None:
            return ""
        if self.kind is bool:
            return "true" if value else "false"
        return str(value)

    def allowed(self) -> str:
        """What the key takes, as a phrase."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind in (int, float):
            kind = "a whole number" if self.kind is int else "a number"
            if self.minimum is not None and self.maximum is not None:
                kind += f" from {self.minimum} to {self.maximum}"
            elif self.minimum is not None:
                kind += f", at least {self.minimum}"
            elif self.maximum is not None:
                kind += f", at most {self.maximum}"
            return f"{kind} ({self.unit})" if self.unit else kind
        return self.shape or "one line of text"

    def _refuse(self, shown: str) -> ConfigError:
        if self.secret:
            shown = MASK
        return ConfigError(f"{self.name}={shown} is not allowed: {self.allowed()} is expected")


def key(
    name: str,
    default: Any,
    *,
    doc: str = "",
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Iterable[str] = (),
    pattern: str = "",
    shape: str = "",
    reloadable: bool = False,
    secret: bool = False,
) -> Any:
    """Declare a key as a class attribute of a Config; its annotation (int, float, bool, str, or `| None`) is its type.

    `pattern` is what a text must match as a whole, and `shape` the phrase that says so.
    `name` is the official spelling; `reloadable` puts the key on the allow list of run-time updates; a `secret` is
    masked wherever configuration is shown.
    """
    return ConfigKey(
        name=name,
        default=default,
        doc=doc,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        choices=tuple(choices),
        pattern=pattern,
        shape=shape,
        reloadable=reloadable,
        secret=secret,
    )


class Config:
    """Base of all configuration classes; see the module. Subclasses inherit the keys of their bases.

    Attributes are checked when they are set, so a Config never holds a value out of its bounds.
    """

    _keys: ClassVar[dict[str, ConfigKey]] = {}
    _by_attribute: ClassVar[dict[str, ConfigKey]] = {}

    unknown: dict[str, str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keys: dict[str, ConfigKey] = {}
        for base in reversed(cls.__mro__[1:]):
            keys.update(getattr(base, "_keys", {}) if "_keys" in base.__dict__ else {})
        declared = {name: value for name, value in cls.__dict__.items() if isinstance(value, ConfigKey)}
        hints = typing.get_type_hints(cls) if declared else {}
        for attribute, declaration in declared.items():
            if attribute not in hints:
                raise TypeError(f"{cls.__name__}.{attribute} needs an annotation")
            kind, optional = _kind_of(hints[attribute], f"{cls.__name__}.{attribute}")
            complete = replace(declaration, attribute=attribute, kind=kind, optional=optional)
            if not callable(complete.default):
                complete.check(complete.default)
            # An override of an inherited attribute takes its place, under whichever name.
            keys = {name: k for name, k in keys.items() if k.attribute != attribute}
            if complete.name in keys:
                raise TypeError(f"{cls.__name__}: {complete.name} is declared twice")
            keys[complete.name] = complete
            delattr(cls, attribute)
        cls._keys = keys
        cls._by_attribute = {k.attribute: k for k in keys.values()}

    def __init__(self, **values: Any) -> None:
        """Defaults, and `values` by attribute name. Raises: ConfigError for a value out of bounds."""
        self.unknown = {}
        for declaration in self._keys.values():
            if declaration.attribute in values:
                value = values.pop(declaration.attribute)
            else:
                value = declaration.default() if callable(declaration.default) else declaration.default
            setattr(self, declaration.attribute, value)
        if values:
            raise TypeError(f"{type(self).__name__} has no attribute {', '.join(sorted(values))}")

    def __setattr__(self, name: str, value: Any) -> None:
        declaration = self._by_attribute.get(name)
        if declaration is not None:
            value = declaration.check(value)
        elif name != "unknown" and not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no key {name}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={v}" for n, v in self.to_properties(mask_secrets=True).items())
        return f"{type(self).__name__}({shown})"

    @classmethod
    def keys(cls) -> Mapping[str, ConfigKey]:
        """All declarations by official name, in order of declaration."""
        return types.MappingProxyType(cls._keys)

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], *, strict: bool = False) -> Self:
        """A configuration from the pairs of a file.

        Keys this class does not declare are kept in `unknown`, with a warning; `strict` refuses them instead.
        Raises: ConfigError for the first bad value.
        """
        config = cls()
        config.apply(properties, strict=strict)
        return config

    def apply(self, properties: Mapping[str, str], *, strict: bool = False) -> None:
        """Set many keys by their texts, before the start; all or none. Raises: ConfigError."""
        parsed: list[tuple[str, Any]] = []
        unknown: dict[str, str] = {}
        for name, text in properties.items():
            declaration = self._keys.get(name)
            if declaration is None:
                unknown[name] = text
            else:
                parsed.append((declaration.attribute, declaration.parse(text)))
        if unknown and strict:
            raise ConfigError(f"unknown keys: {', '.join(sorted(unknown))}")
        for attribute, value in parsed:
            setattr(self, attribute, value)
        if unknown:
            log.warning("configuration keys without effect here: %s", ", ".join(sorted(unknown)))
            self.unknown.update(unknown)

    def update(self, name: str, text: str) -> None:
        """Set one key at run time, by its official name; see update_all."""
        self.update_all({name: text})

    def update_all(self, properties: Mapping[str, str]) -> None:
        """Set keys at run time; all or none.

        Only reloadable keys may be: an allow list, so that no request reaches a path or a port.
        Raises: ConfigError for a key that is unknown or not reloadable, or for a bad value.
        """
        parsed: list[tuple[str, Any]] = []
        for name, text in properties.items():
            declaration = self._keys.get(name)
            if declaration is None:
                raise ConfigError(f"{name} is no configuration key")
            if not declaration.reloadable:
                raise ConfigError(f"{name} cannot be changed while the process runs")
            parsed.append((declaration.attribute, declaration.parse(text)))
        for attribute, value in parsed:
            setattr(self, attribute, value)

    def to_properties(self, *, mask_secrets: bool = False) -> dict[str, str]:
        """All keys with their texts in order of declaration, then the unknown ones.

        Of those nobody says whether they are secret: `mask_secrets` masks the ones whose name sounds like it.
        """
        texts: dict[str, str] = {}
        for declaration in self._keys.values():
            value = getattr(self, declaration.attribute)
            masked = mask_secrets and declaration.secret and value
            texts[declaration.name] = MASK if masked else declaration.format(value)
        for name, text in self.unknown.items():
            texts[name] = MASK if mask_secrets and text and _SECRET_NAME.search(name) else text
        return texts


def _kind_of(hint: Any, where: str) -> tuple[type, bool]:
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [a for a in typing.get_args(hint) if a is not type(None)]
        optional = len(parts) < len(typing.get_args(hint))
        if len(parts) != 1:
            raise TypeError(f"{where}: {hint} is not a type a key can have")
        hint = parts[0]
    if hint not in (int, float, bool, str):
        raise TypeError(f"{where}: {hint} is not a type a key can have")
    return hint, optional
