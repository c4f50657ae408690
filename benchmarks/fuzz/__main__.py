"""Hostile files by the thousand, and the table of what came of them: `python -m benchmarks.fuzz`.

Counted for each target: inputs, those refused with a message, those accepted, crashes (anything but a
`LongtalError`: a traceback, too much memory, no answer) and inputs that made the process touch a file outside
their folder. The last two must be 0.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.fuzz.tally import run
from benchmarks.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=300, help="inputs a target")
    parser.add_argument("--only", default="", help="targets whose name holds this")
    options = parser.parse_args()
    print(f"| {'target':34} | inputs | refused | accepted | crashes | outside | longest |")
    print(f"|{'-' * 36}|-------:|--------:|---------:|--------:|--------:|--------:|")
    bad = 0
    for target in TARGETS:
        if options.only not in target.name:
            continue
        t = run(target, options.examples)
        counts = (
            f"{t.inputs:6d} | {t.refused:7d} | {t.accepted:8d} | {len(t.crashes):7d} | {len(t.outside):7d}"
        )
        print(f"| {t.target:34} | {counts} | {t.longest_s:5.2f} s |", flush=True)
        bad += len(t.crashes) + len(t.outside)
        for line in sorted({line.split(": ", 1)[-1]: line for line in (*t.crashes, *t.outside)}.values())[
            :20
        ]:
            print(f"    {line!r}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
