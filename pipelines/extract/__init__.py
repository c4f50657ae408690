"""Extraction: videos -> rows in a feature store."""

from pipelines.extract.config import ExtractConfig
from pipelines.extract.run import ExtractReport, extract

__all__ = ["ExtractConfig", "ExtractReport", "extract"]
