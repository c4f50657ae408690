"""Detections as files that other tools read.

`json` (the ActivityNet result form) and `csv` are one file for all videos, as is `boris`;
`srt`, `vtt` and `eaf` are one for each video.
"""

from pipelines.exports.write import FORMATS, ExportError, write_exports

__all__ = ["FORMATS", "ExportError", "write_exports"]
