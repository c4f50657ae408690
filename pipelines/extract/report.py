"""What an extraction did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tal.errors import VideoError


@dataclass
class ExtractReport:
    """What an extraction did. ``failed``: id -> reason; ``realtime``: seconds of video a second of work.

    ``num_rows`` and ``video_s`` are those of ``done``; ``kept``: complete before.
    """

    store: Path
    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    num_rows: int = 0
    video_s: float = 0.0
    wall_s: float = 0.0

    @property
    def realtime(self) -> float:
        return self.video_s / self.wall_s if self.wall_s else 0.0

    def failures(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.failed.items()), columns=["video", "reason"])


def require_some(report: ExtractReport) -> None:
    """VideoError when the store holds nothing after all."""
    if not report.done and not report.kept:
        first = next(iter(report.failed.values()), "no videos")
        raise VideoError(f"no video could be extracted; the first: {first}")
