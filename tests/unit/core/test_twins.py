"""Which twins there are, and that they are used all or none."""

from __future__ import annotations

import importlib
from importlib import invalidate_caches
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from gantry._core import ACCEL, COMPILED_AS_THEY_STAND, TWINS, missing_twins

ROOT = Path(__file__).resolve().parents[3]


def test_every_compiled_module_is_built_and_listed() -> None:
    sources = {str(path.relative_to(ROOT / "src/gantry").with_suffix("")) for path in (ROOT / "src/gantry").rglob("*_c.pyx")}
    assert sources == set(TWINS)
    setup = (ROOT / "setup.py").read_text()
    for name in TWINS:
        assert f'"gantry.{name.replace("/", ".")}"' in setup


def test_every_module_with_types_beside_it_is_compiled_as_it_stands() -> None:
    package = ROOT / "src/gantry"
    typed = {path.relative_to(package).with_suffix("") for path in package.rglob("*.pxd") if path.with_suffix(".py").exists()}
    assert {str(path) for path in typed} == set(COMPILED_AS_THEY_STAND)


@pytest.mark.parametrize("name", COMPILED_AS_THEY_STAND)
def test_what_is_compiled_as_it_stands_is_not_older_than_its_source(name: str) -> None:
    """Otherwise an edit has no effect, and nobody knows why: build again."""
    module = importlib.import_module("gantry." + name.replace("/", "."))
    source = ROOT / "src/gantry" / f"{name}.py"
    assert module.__file__ is not None
    if ACCEL == "python":
        assert Path(module.__file__) == source
    else:
        assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES))
        built = Path(module.__file__).stat().st_mtime
        assert max(source.stat().st_mtime, source.with_suffix(".pxd").stat().st_mtime) <= built


def test_a_half_built_core_is_told(tmp_path: Path) -> None:
    """As after an update without a build: one old module is there, a new one is not."""
    modules = TWINS + COMPILED_AS_THEY_STAND
    for name in COMPILED_AS_THEY_STAND:
        source = tmp_path / f"{name}.py"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.touch()
    assert missing_twins(str(tmp_path)) == list(modules)
    for name in modules[:-1]:
        file = tmp_path / (name + EXTENSION_SUFFIXES[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    invalidate_caches()
    assert missing_twins(str(tmp_path)) == [modules[-1]]
