"""Comparisons of several trainings, each made by one command: `python -m benchmarks.study NAME`."""
