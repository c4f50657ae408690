"""One self-contained HTML page about a run or predictions; it loads nothing from the network."""

from pipelines.report.collect import Report, collect
from pipelines.report.page import render, render_document, write_report

__all__ = ["Report", "collect", "render", "render_document", "write_report"]
