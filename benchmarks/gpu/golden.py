"""Section golden: the decoders against the reference tensors of the released code, on the device."""

from __future__ import annotations

from benchmarks.golden import compare, system_of
from benchmarks.gpu.results import Workplace
from tal.device import set_float32


def run(work: Workplace) -> None:
    """Every file in 32 bits; on CUDA once more in TF32, which is reported and held against nothing."""
    paths = sorted(work.golden.glob("*.safetensors")) if work.golden.is_dir() else []
    if not paths:
        work.results.check("golden.fp32", None, note=f"absent: no reference tensors in {work.golden}")
        return
    largest = 0.0
    for precision in ("fp32", "tf32") if work.on_cuda else ("fp32",):
        for path in paths:
            system = system_of(path)
            assert system is not None, f"{path.name}: its name does not tell a system"
            deviations = compare(path, system, work.device, precision)
            excess = max(deviation.excess for deviation in deviations.values())
            row = {
                "file": path.stem,
                "tf32": precision == "tf32",
                "excess": excess,
                "absolute": max(deviation.absolute for deviation in deviations.values()),
                "notes": [note for deviation in deviations.values() for note in deviation.notes],
            }
            work.results.add("golden", row)
            if precision == "fp32":
                largest = max(largest, excess)
    set_float32("fp32")
    work.results.check("golden.fp32", largest <= 1, largest, 1, "of tolerance")
