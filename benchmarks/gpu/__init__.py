"""The acceptance of the CUDA path, one command: `python -m benchmarks.gpu --out gpu.json`.

A section a file, `run(work)`, listed in `benchmarks.gpu.sections`; each runs in a process of its own with a
deadline of its own, and what it has found is in the report also when it crashes or is killed. On a CPU the
sections run at a toy size, and what only CUDA can show is said to be not run.
"""
