"""Which twins there are, and that they are used all or none."""

from __future__ import annotations

from importlib import invalidate_caches
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from gantry._core import TWINS, missing_twins

ROOT = Path(__file__).resolve().parents[3]


def test_every_compiled_module_is_built_and_listed() -> None:
    sources = {str(path.relative_to(ROOT / "src/gantry").with_suffix("")) for path in (ROOT / "src/gantry").rglob("*_c.pyx")}
    assert sources == set(TWINS)
    setup = (ROOT / "setup.py").read_text()
    for name in TWINS:
        assert f'"gantry.{name.replace("/", ".")}"' in setup


def test_a_half_built_core_is_told(tmp_path: Path) -> None:
    """As after an update without a build: one old module is there, a new one is not."""
    assert missing_twins(str(tmp_path)) == list(TWINS)
    for name in TWINS[:-1]:
        file = tmp_path / (name + EXTENSION_SUFFIXES[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    invalidate_caches()
    assert missing_twins(str(tmp_path)) == [TWINS[-1]]
