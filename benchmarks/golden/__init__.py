"""Compare the decoders with reference tensors written by the released code bases.

    python -m benchmarks.golden [DIR]

Reads every *.safetensors file of DIR (tests/golden by default). The file's name tells the system (cltdr,
tridet, af, tmax, daotad, tcm), its metadata the configuration. Prints the largest deviation by output and
exits with 1 when one is beyond tolerance.
"""

from benchmarks.golden.run import FOLDER, compare, main, system_of

__all__ = ["FOLDER", "compare", "main", "system_of"]
