"""The official jars, the official Go module and the driver programs, made once and kept outside the repository.

The cache is `$GANTRY_INTEROP_CACHE`, by default `~/.cache/gantry-interop`. Each entry is a folder that appears under its
final name only when it is complete, and whose name holds a digest of what it was made from; a file lock keeps parallel
test workers from making the same entry twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER_VERSION = "5.5.0"
CLIENT_VERSIONS = ("5.5.0", "4.9.7")
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
STEP_TIMEOUT_S = 900


class MissingTool(RuntimeError):
    """A program that the suite needs is not on this machine; the text says which and what installs it."""


class BuildFailed(RuntimeError):
    """Maven, javac or go said no; the text carries what they printed."""


def cache_dir() -> Path:
    """Where jars, classes and binaries are kept between runs."""
    return Path(os.environ.get("GANTRY_INTEROP_CACHE") or Path.home() / ".cache" / "gantry-interop")


def find_tool(name: str) -> str:
    """Absolute path of `java`, `javac`, `mvn` or `go`; JAVA_HOME and the usual Go folder are searched as well."""
    found = shutil.which(name)
    if found:
        return found
    homes = [os.environ.get("JAVA_HOME"), os.environ.get("GOROOT"), "/usr/local/go", "/usr/lib/go"]
    for home in filter(None, homes):
        candidate = Path(home) / "bin" / name
        if os.access(candidate, os.X_OK):
            return str(candidate)
    package = {"mvn": "maven", "go": "golang"}.get(name, "default-jdk-headless")
    raise MissingTool(f"{name} is not installed (Debian package {package}); tests/interop/prepare.py installs it")


def client_jars(version: str) -> Path:
    """Folder with the jars of the official Java client."""
    return _maven("client", version)


def server_jars(version: str = SERVER_VERSION) -> Path:
    """Folder with the jars of the official name server, broker and mqadmin."""
    return _maven("server", version)


def java_driver(version: str) -> list[str]:
    """The class path (as arguments for `java`) that runs the driver program on client `version`."""
    jars = client_jars(version)
    sources = sorted((HERE / "java" / "driver").glob("*.java"))
    sources += sorted((HERE / "java" / f"compat{version.partition('.')[0]}").glob("*.java"))

    def build(target: Path) -> None:
        options = ["-nowarn", "-Xlint:-options", "--release", "11", "-encoding", "UTF-8"]
        _run([find_tool("javac"), *options, "-cp", f"{jars}/*", "-d", str(target), *map(str, sources)])

    classes = _made(f"java-driver-{version}", _digest(sources, version), build)
    return ["-cp", f"{classes}:{jars}/*", "Driver"]


def java_classes(name: str, sources: list[Path], jars: Path) -> Path:
    """Folder with `sources` compiled against the jars of the folder `jars`."""

    def build(target: Path) -> None:
        options = ["-nowarn", "-Xlint:-options", "--release", "11", "-encoding", "UTF-8"]
        _run([find_tool("javac"), *options, "-cp", f"{jars}/*", "-d", str(target), *map(str, sources)])

    return _made(name, _digest(sources, jars.name), build)


def go_driver() -> Path:
    """The driver program over the official Go client, built."""
    source = HERE / "go"
    sources = sorted(p for p in source.iterdir() if p.suffix in {".go", ".mod", ".sum"})

    def build(target: Path) -> None:
        env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOTOOLCHAIN": "local"}
        _run([find_tool("go"), "build", "-trimpath", "-o", str(target / "driver"), "."], cwd=source, env=env)

    return _made("go-driver", _digest(sources, ""), build) / "driver"


def _maven(kind: str, version: str) -> Path:
    pom = HERE / "java" / f"{kind}.pom.xml"

    def build(target: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(HERE / "java" / "target")
        _run(
            [find_tool("mvn"), "-B", "-q", "-f", str(pom), COPY_DEPENDENCIES, f"-Drocketmq.version={version}",
             "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
        )  # fmt: skip
        # The stripped class paths of other systems' native libraries only cost start-up time.
        for jar in target.glob("*.jar"):
            if any(mark in jar.name for mark in ("osx-", "macos", "riscv64", "windows")):
                jar.unlink()

    return _made(f"{kind}-jars-{version}", _digest([pom], version), build)


def _made(name: str, digest: str, build: Callable[[Path], None]) -> Path:
    root = cache_dir()
    final = root / f"{name}-{digest}"
    if final.is_dir():
        return final
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{name}.lock"):
        if not final.is_dir():
            partial = root / f"{name}-{digest}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            build(partial)
            partial.rename(final)
    return final


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _digest(files: list[Path], salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=STEP_TIMEOUT_S
    )
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
