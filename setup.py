"""The optional compiled core: built where Cython and a C compiler are, left out in silence where not.

Everything else is declared in pyproject.toml. `GANTRY_BUILD_CORE=0` skips the build, `=1` makes its failure an error.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

wanted = os.environ.get("GANTRY_BUILD_CORE", "auto")

TWINS = (
    "gantry._core._leaf_c",
    "gantry.runtime._cached_read_c",
    "gantry.store._pending_keys_c",
    "gantry.store._append_c",
    "gantry.store._bulk_dispatch_c",
    "gantry.broker.hot._headers_c",
    "gantry.broker.hot._pull_c",
    "gantry.broker.hot._transactions_c",
    "gantry.broker.hot._hot_c",
)


class OptionalBuild(build_ext):
    """A machine without a compiler, or with one that fails, gets the pure package; which one is in use, `gantry version` says.

    `Extension(optional=True)` alone does not do it: a compiler that is not there at all is an OSError, not its kind of error.
    """

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            if wanted == "1":
                raise
            print(f"gantry: the compiled core is left out, the pure one is complete: {error}")

    def copy_extensions_to_source(self) -> None:
        try:
            super().copy_extensions_to_source()
        except OSError as error:
            if wanted == "1":
                raise
            print(f"gantry: the compiled core is left out: {error}")


def extensions() -> list[Extension]:
    if wanted == "0":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if wanted == "1":
            raise
        return []
    twins = [extension(name, "pyx") for name in TWINS]
    # A .pxd beside a module of the same name: the module is compiled as it stands; its own hints are no C types.
    plain = [
        extension(".".join(types.with_suffix("").parts[1:]), "py")
        for types in sorted(Path("src").rglob("*.pxd"))
        if types.with_suffix(".py").exists()
    ]
    options = {"language_level": 3, "quiet": True, "include_path": ["src"]}
    return [*cythonize(twins, **options), *cythonize(plain, compiler_directives={"annotation_typing": False}, **options)]


def extension(name: str, suffix: str) -> Extension:
    return Extension(
        name,
        [f"src/{name.replace('.', '/')}.{suffix}"],
        include_dirs=["src"],
        depends=["src/gantry/_core/fast_bytes.h"],
        optional=wanted != "1",
        extra_compile_args=["-O2"],
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
