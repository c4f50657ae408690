"""One self-contained HTML page about a run or predictions; it loads nothing from the network."""

from pipelines.report.page import render, render_document, write_report
from pipelines.report.run import Report, collect

__all__ = ["Report", "collect", "render", "render_document", "write_report"]
