"""Broken and hostile files, tried on everything that reads files of users; `python -m benchmarks.fuzz`."""
