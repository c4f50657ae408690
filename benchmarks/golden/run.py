"""The command: which files, which system, a table of deviations."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError

from benchmarks.golden.deviation import ATOL, LOSS_RTOL, RTOL, Deviation
from benchmarks.golden.pyramid import compare_pyramid
from benchmarks.golden.reference import Reference
from benchmarks.golden.tallformer import COMPARISONS
from tal.device import set_float32
from tal.errors import LongtalError

# Where the files of the repository lie.
FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"
# Parts of a file name -> system; the first that matches.
_NAMES = (
    ("cltdr", "cltdr"),
    ("tridet", "tridet"),
    ("actionformer", "actionformer"),
    ("af", "actionformer"),
    ("temporalmaxer", "temporalmaxer"),
    ("tmax", "temporalmaxer"),
    ("daotad", "daotad"),
    ("tcm", "tcm"),
    ("afsd", "afsd"),
)


def system_of(path: Path) -> str | None:
    """The system that a file name tells; its parts are cut at anything that is not a letter."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    for part, system in _NAMES:
        if part in words or (len(part) > 2 and part in path.stem.lower()):
            return system
    return None


def compare(
    path: Path, system: str, device: str = "cpu", precision: Literal["fp32", "tf32"] = "fp32"
) -> dict[str, Deviation]:
    """Deviations by output of one reference file; in IEEE's 32 bits unless told otherwise."""
    set_float32(precision)
    reference = Reference.read(path).to(device)
    special = COMPARISONS.get(system)
    return special(reference) if special is not None else compare_pyramid(system, reference)


def main(arguments: list[str]) -> int:
    """Compare a folder's files and print the table; the exit code (2: nothing to compare)."""
    if len(arguments) > 1:
        print("usage: python -m benchmarks.golden [DIR]", file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else FOLDER
    paths = sorted(folder.glob("*.safetensors")) if folder.is_dir() else [folder]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        print(f"no *.safetensors files in {folder}", file=sys.stderr)
        return 2
    width = 2 + max(22, *(len(path.name) for path in paths))
    print(
        f"{'file':<{width}}{'output':<14}{'tensors':>8}{'largest |a-b|':>16}{'relative':>12}{'of limit':>12}"
    )
    failed = sum([_report(path, width) for path in paths])
    print(
        "beyond tolerance" if failed else "all within tolerance",
        f"(rtol {RTOL:g}, atol {ATOL:g}, losses {LOSS_RTOL:g})",
    )
    return 1 if failed else 0


def _report(path: Path, width: int) -> int:
    """Print the deviations of one file; how many are beyond tolerance."""
    name, system = f"{path.name:<{width}}", system_of(path)
    if system is None:
        print(f"{name}unknown system: the name must hold one of {', '.join(part for part, _ in _NAMES)}")
        return 1
    try:
        deviations = compare(path, system)
    except (LongtalError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        print(f"{name}cannot be compared: {type(error).__name__}: {error}")
        return 1
    for output, deviation in deviations.items():
        verdict = "  BEYOND" if deviation.excess > 1 else ""
        print(
            f"{name}{output:<14}{deviation.count:>8}{deviation.absolute:>16.2e}"
            f"{deviation.relative:>12.1e}{deviation.excess:>12.4f}{verdict}"
        )
        for note in deviation.notes[:3]:
            print(f"{'':<{width}}{note}")
    return sum(deviation.excess > 1 for deviation in deviations.values())
