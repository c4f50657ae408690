"""Extraction: videos -> rows in a feature store."""

from pipelines.extract.options import ExtractOptions
from pipelines.extract.report import ExtractReport
from pipelines.extract.run import extract

__all__ = ["ExtractOptions", "ExtractReport", "extract"]
