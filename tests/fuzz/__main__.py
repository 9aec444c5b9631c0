"""Coverage-guided fuzzing of one target: `python -m tests.fuzz records --seconds 1800 [--corpus FOLDER]`.

A target is a module of this folder with `check(data)`, which raises when something is wrong, and `seeds()`. What new
inputs were found stays in the corpus folder, and an input that fails beside it: `--replay FILE` runs that one alone, without
atheris. On the pure core, whose coverage can be seen.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from importlib import import_module
from pathlib import Path

TARGETS = ("frames", "headers", "records", "properties", "subscription_expressions", "sql_expressions", "store_files")
INPUT_BYTES_MAX = 4096
INPUT_SECONDS_MAX = 10
"""S4: no input costs much; a slower one is a failure."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=Path("gantry-data/fuzz"))
    parser.add_argument("--replay", type=Path)
    options = parser.parse_args()
    os.environ["GANTRY_CORE"] = "python"
    if options.replay is not None:
        import_module(f"tests.fuzz.{options.target}").check(options.replay.read_bytes())
        return

    import atheris

    with atheris.instrument_imports(include=["gantry"]):
        target = import_module(f"tests.fuzz.{options.target}")
    corpus = options.corpus / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed[:INPUT_BYTES_MAX])
    settings = {
        "max_total_time": options.seconds,
        "max_len": INPUT_BYTES_MAX,
        "len_control": 0,
        "timeout": INPUT_SECONDS_MAX,
        "artifact_prefix": f"{options.corpus}/{options.target}-",
        "verbosity": 1,
        "print_final_stats": 1,
    }
    atheris.Setup(["fuzz", *(f"-{name}={value}" for name, value in settings.items()), str(corpus)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
