"""What a store says, to compare two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featstore import FeatureStore

VIDEOS = ("id", "state", "num_rows", "num_frames", "fps", "duration_s", "reason")
LEDGER = ("time_s", "step", "writes", "crc32c")


def everything(store: Path) -> dict[str, object]:
    """All that a sound store says, but when it was written."""
    found: dict[str, object] = {}
    with FeatureStore.open(store) as opened:
        assert opened.verify().empty
        found["videos"] = opened.videos().sort_values("id")[list(VIDEOS)].to_csv(index=False)
        for video_id in opened.video_ids:
            count = opened.video(video_id).num_rows
            ledger = opened.ledger(video_id, 0, count)
            found[video_id] = [opened.read(video_id, 0, count).tobytes()]
            found[video_id] += [np.asarray(ledger[name]).tobytes() for name in LEDGER]
    return found
