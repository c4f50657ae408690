"""The benchmark of the review's page runs and prints a line for each change."""

import subprocess
import sys

from tests.pipelines.browser import needs_chromium
from tests.test_design_docs import ROOT


@needs_chromium
def test_it_measures_every_change():
    command = [sys.executable, "-m", "benchmarks.review_page", "--segments=40", "--seconds=60", "--times=1"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = {line[:22].strip(): line[22:].split() for line in printed.splitlines()[2:]}
    assert {"accept", "nudge an edge", "new segment", "delete", "undo"} <= set(rows)
    for page, server, both, ratio in (map(float, row) for row in rows.values()):
        assert 0 < page < 5000 and both >= page and server >= 0 and ratio >= 0
