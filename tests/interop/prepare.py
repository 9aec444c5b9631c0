#!/usr/bin/env python3
"""Fetches and builds everything the interop tests need, so that the tests themselves only run.

Installs the Debian packages of Java, Maven and Go where they are missing (needs root), then fills the cache of
`artifacts.py`. Safe to run again: what is there already is kept.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
artifacts = importlib.import_module("interop.artifacts")

PACKAGES = {"java": "default-jdk-headless", "javac": "default-jdk-headless", "mvn": "maven", "go": "golang-go"}


def missing_packages() -> list[str]:
    """Debian packages that bring the tools not found here."""
    missing = set()
    for tool, package in PACKAGES.items():
        try:
            artifacts.find_tool(tool)
        except artifacts.MissingTool:
            missing.add(package)
    return sorted(missing)


def main() -> int:
    packages = missing_packages()
    if packages:
        print(f"installing {' '.join(packages)}", flush=True)
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    steps: list[tuple[str, Callable[[], object]]] = [("official server jars", artifacts.server_jars)]
    for version in artifacts.CLIENT_VERSIONS:
        steps.append((f"Java client {version} and its driver", lambda version=version: artifacts.java_driver(version)))
    steps.append(("Go client and its driver", artifacts.go_driver))
    for what, make in steps:
        began = time.monotonic()
        make()
        print(f"{what}: ready ({time.monotonic() - began:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
