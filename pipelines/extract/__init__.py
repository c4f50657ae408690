"""Extraction: videos -> rows in a feature store."""

from pipelines.extract.config import ExtractConfig
from pipelines.extract.report import ExtractReport
from pipelines.extract.run import extract

__all__ = ["ExtractConfig", "ExtractReport", "extract"]
