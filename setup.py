"""The optional compiled core: built where Cython and a C compiler are, left out in silence where not.

Everything else is declared in pyproject.toml. `GANTRY_BUILD_CORE=0` skips the build, `=1` makes its failure an error.
"""

import os

from setuptools import Extension, setup

wanted = os.environ.get("GANTRY_BUILD_CORE", "auto")


def extensions() -> list[Extension]:
    if wanted == "0":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if wanted == "1":
            raise
        return []
    modules = [
        Extension("gantry._core._leaf_c", ["src/gantry/_core/_leaf_c.pyx"], optional=wanted != "1", extra_compile_args=["-O2"]),
    ]
    return list(cythonize(modules, language_level=3, quiet=True))


setup(ext_modules=extensions())
