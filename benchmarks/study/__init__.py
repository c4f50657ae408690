"""Comparisons of several trainings, each made by one command: `longtal study NAME`."""
