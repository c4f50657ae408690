"""The work of `longtal store`: info, verify, repair, copy, and the videos' facts for an import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def store_info(path: Path) -> dict[str, Any]:
    """Facts about a store, JSON-ready: spec, generation, run, counts, sizes on disk, lock."""
    from featstore import FeatureStore
    from featstore.locking import is_held, read_holder
    from featstore.rebuild import reclaimable_rows

    with FeatureStore.open(path) as store:
        videos = store.videos()
        sizes = _sizes(path)
        states = videos["state"].value_counts().to_dict()
        complete = videos[videos["state"] == "complete"]
        return {
            "path": str(path),
            "generation": store.generation,
            "run_id": store.run_id,
            "videos": {state: int(states.get(state, 0)) for state in ("complete", "reserved", "failed")},
            "rows": int(complete["num_rows"].sum()),
            "hours": round(float(complete["duration_s"].fillna(0).sum()) / 3600, 3),
            "reclaimable_bytes": reclaimable_rows(store) * store.spec.row_bytes,
            "uncommitted_rows": store.uncommitted_rows,
            "writer": read_holder(path) if is_held(path) else None,
            **sizes,
            "spec": store.spec.to_dict(),
        }


def _sizes(path: Path) -> dict[str, int]:
    used = files = apparent = 0
    for file in path.rglob("*"):
        if file.is_file():
            status = file.stat()
            files, used, apparent = files + 1, used + status.st_blocks * 512, apparent + status.st_size
    return {"files": files, "bytes_on_disk": used, "bytes_with_holes": apparent}


def verify_store(path: Path, sample: float = 1.0) -> pd.DataFrame:
    """Stretches of rows whose checksum fails, one per line: video, start_row, stop_row."""
    from featstore import FeatureStore
    from featstore.verify import stretches

    with FeatureStore.open(path) as store:
        return stretches(store.verify(sample=sample))


def repair_store(path: Path) -> tuple[list[str], pd.DataFrame]:
    """Mend chunk files; returns their paths, and the rows to extract again."""
    from featstore import FeatureStore
    from featstore.layout import read_commit, read_header

    read_header(path)
    with FeatureStore.open(path, "r+", run=read_commit(path).run_id) as store:
        return store.mend_chunks(), store.damaged_rows()


def copy_store(path: Path, target: Path, run_id: str | None) -> Path:
    from featstore import FeatureStore

    with FeatureStore.open(path) as store:
        return store.copy_to(target, run_id=run_id)


def annotated_videos(path: Path) -> dict[str, dict[str, Any]]:
    """id -> fps and duration_s of an annotation file."""
    from tal.annotations import read_annotations

    return {
        video_id: {"fps": video.fps, "duration_s": video.duration_s}
        for video_id, video in read_annotations(path).videos.items()
    }


def human_bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
