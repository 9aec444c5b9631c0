"""Official mqadmin says the same of our cluster as of the official one, command by command.

The script runs once on each cluster, both at the same time; then every step is a test. GANTRY_MQADMIN_GOLDEN=1 compares
with the recorded transcripts instead of a live official cluster, GANTRY_RECORD=1 records them anew, and
GANTRY_MQADMIN_TOPOLOGY=official-namesrv or official-broker puts a mixed cluster in the place of ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from .. import artifacts
from ..cluster import TOPOLOGIES, Cluster
from .compare import allowed_by, differences
from .masks import ALLOWED, BROKER_KEYS_NOT_OURS_FILE
from .script import SCRIPT
from .sessions import SessionFailed
from .transcript import SETTINGS, Entry, Run, dump, load

GOLDEN = Path(__file__).resolve().parents[2] / "vectors" / "mqadmin"
RECORD = os.environ.get("GANTRY_RECORD") == "1"
TOPOLOGY = os.environ.get("GANTRY_MQADMIN_TOPOLOGY", "gantry")
FROM_GOLDEN = os.environ.get("GANTRY_MQADMIN_GOLDEN") == "1" and not RECORD

PRINTED_LINES_MAX = 40

STEPS = [(section.name, step.name) for section in SCRIPT for step in section.steps if not step.action]

# Starting four JVMs and two clusters, and the waits of the official broker, take about a minute.
pytestmark = [pytest.mark.xdist_group("mqadmin"), pytest.mark.timeout(300)]


@dataclass
class Transcript:
    """What came of the steps of one cluster; `failure` says why later ones are missing."""

    entries: dict[tuple[str, str], Entry]
    failure: str = ""

    def entry(self, section: str, step: str) -> Entry:
        if (section, step) not in self.entries:
            pytest.fail(f"the script did not come this far: {self.failure}", pytrace=False)
        return self.entries[section, step]

    def text(self, section: str) -> str:
        return dump(entry for entry in self.entries.values() if entry.section == section)


def _live(topology: str, folder: Path) -> Transcript:
    transcript = Transcript({})
    try:
        with Cluster(TOPOLOGIES[topology], folder, settings=SETTINGS) as cluster:
            for entry in Run(cluster, folder / "mqadmin").sections(SCRIPT):
                transcript.entries[entry.section, entry.step] = entry
    except (SessionFailed, RuntimeError, OSError) as problem:
        transcript.failure = f"{type(problem).__name__}: {problem}"
    return transcript


def _recorded() -> Transcript:
    entries = (
        entry
        for section in SCRIPT
        for entry in load(section.name, (GOLDEN / f"{section.name}.txt").read_text(encoding="utf-8"))
    )
    return Transcript({(entry.section, entry.step): entry for entry in entries})


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Transcript, Transcript]]:
    """The official transcript and ours."""
    try:
        artifacts.find_tool("javac")
        artifacts.server_jars()
    except artifacts.MissingTool as missing:
        pytest.skip(str(missing))
    with ThreadPoolExecutor(2) as pool:
        ours = pool.submit(_live, TOPOLOGY, tmp_path_factory.mktemp("mqadmin-ours"))
        official = None if FROM_GOLDEN else pool.submit(_live, "official", tmp_path_factory.mktemp("mqadmin-official"))
        yield (official.result() if official else _recorded()), ours.result()


@pytest.mark.parametrize(("section", "step"), STEPS, ids=[f"{section}-{step}" for section, step in STEPS])
def test_mqadmin_sees_no_difference(transcripts: tuple[Transcript, Transcript], section: str, step: str) -> None:
    theirs, own = (transcript.entry(section, step) for transcript in transcripts)
    unexpected = [difference for difference in differences(theirs.value, own.value) if allowed_by(step, difference) is None]
    if unexpected:
        shown = "\n".join(str(difference) for difference in unexpected)
        printed = "\n".join(own.raw.strip().splitlines()[:PRINTED_LINES_MAX])
        pytest.fail(f"mqadmin {own.command}\n{shown}\n--- ours printed\n{printed}", pytrace=False)


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda allowed: f"{allowed.step}-{allowed.path}")
@pytest.mark.skipif(TOPOLOGY != "gantry", reason="a mixed cluster differs less")
def test_allowed_difference_is_still_needed(transcripts: tuple[Transcript, Transcript], allowed: object) -> None:
    official, ours = transcripts
    for key in official.entries.keys() & ours.entries.keys():
        for difference in differences(official.entries[key].value, ours.entries[key].value):
            if allowed_by(key[1], difference) is allowed:
                return
    pytest.fail("both clusters agree here: take it off the list of allowed differences", pytrace=False)


@pytest.mark.parametrize("section", [section.name for section in SCRIPT])
def test_official_cluster_is_as_recorded(transcripts: tuple[Transcript, Transcript], section: str) -> None:
    official, _ = transcripts
    path = GOLDEN / f"{section}.txt"
    if official.failure:
        pytest.fail(official.failure, pytrace=False)
    if RECORD:
        GOLDEN.mkdir(parents=True, exist_ok=True)
        path.write_text(official.text(section), encoding="utf-8")
        if section == "cluster" and TOPOLOGY == "gantry":
            theirs, own = (each.entry(section, "getBrokerConfig").value["out"]["<broker>"] for each in transcripts)
            BROKER_KEYS_NOT_OURS_FILE.write_text("".join(f"{key}\n" for key in sorted(theirs.keys() - own.keys())))
    recorded = load(section, path.read_text(encoding="utf-8"))
    now = [entry for entry in official.entries.values() if entry.section == section]
    assert [(entry.step, entry.command) for entry in now] == [(entry.step, entry.command) for entry in recorded]
    changed = [
        f"{entry.step}: {difference}"
        for entry, before in zip(now, recorded, strict=True)
        for difference in differences(entry.value, before.value)
    ]
    if changed:
        shown = "\n".join(changed).replace("ours:    ", "recorded:")
        pytest.fail(f"settings of the cluster or the script changed? GANTRY_RECORD=1 records anew\n{shown}", pytrace=False)
