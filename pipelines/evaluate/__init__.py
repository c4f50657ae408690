"""Predictions against annotations: numbers, tables, figures."""
