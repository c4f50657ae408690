"""One section in a process of its own: `python -m benchmarks.gpu.child`, asked by the runner.

stdin: one line of JSON, {"module", "device", "folder", "golden", "results"}.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks.gpu.results import Results, Workplace
from tal.device import choose_device


def main() -> None:
    request = json.loads(sys.stdin.readline())
    device = request["device"]
    choose_device(device)  # what names no device is meant for this one
    results = Results(Path(request["results"]), device != "cpu")
    work = Workplace(device, Path(request["folder"]), Path(request["golden"]), results, device == "cpu")
    importlib.import_module(request["module"]).run(work)


if __name__ == "__main__":
    main()
