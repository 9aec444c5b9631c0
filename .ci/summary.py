"""Adds up the reports of all test runs: `summary.py REPORT_FOLDER [FAILED_PART ...]`.

Prints one closing line `N passed, N failed` and exits 1 when a test or a part failed, or when nothing was run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def main() -> int:
    folder, failed_parts = Path(sys.argv[1]), sys.argv[2:]
    passed = failed = skipped = 0
    for report in sorted(folder.glob("*.xml")):
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            # What must fail and did (a canary) stands among the skipped ones.
            as_expected = len(suite.findall(".//testcase/skipped[@type='pytest.xfail']"))
            left_out = int(suite.get("skipped", 0)) - as_expected
            total = int(suite.get("tests", 0))
            print(f"{report.stem}: {total - bad - left_out} passed, {bad} failed, {left_out} skipped")
            passed, failed, skipped = passed + total - bad - left_out, failed + bad, skipped + left_out
    for part in failed_parts:
        print(f"part failed: {part}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped" if skipped else f"{passed} passed, {failed} failed")
    return 1 if failed or failed_parts or not passed else 0


sys.exit(main())
