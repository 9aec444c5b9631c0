"""Names of the releases behind the version numbers of commands."""

from __future__ import annotations

from collections.abc import Iterator


def _releases() -> Iterator[str]:
    """Source: MQVersion.Version (5.5); a number is a name's place in this order."""
    yield "V3_0_0_SNAPSHOT"
    yield "V3_0_0_ALPHA1"
    yield from (f"V3_0_0_BETA{number}" for number in range(1, 6))
    for number in range(6, 10):
        yield from (f"V3_0_0_BETA{number}_SNAPSHOT", f"V3_0_0_BETA{number}")
    yield "V3_0_0_FINAL"
    for major in (3, 4, 5):
        for minor in range(10):
            first, last = (1, 15) if (major, minor) == (3, 0) else (major == 3 and minor > 2, 9)
            for patch in range(first, last + 1):
                yield from (f"V{major}_{minor}_{patch}_SNAPSHOT", f"V{major}_{minor}_{patch}")
    yield "HIGHER_VERSION"


NAMES = tuple(_releases())


def version_name(version: int) -> str:
    """`V5_5_0` for 513; numbers beyond the list are HIGHER_VERSION. Source: MQVersion.getVersionDesc (5.5)."""
    return NAMES[version] if 0 <= version < len(NAMES) else NAMES[-1]
