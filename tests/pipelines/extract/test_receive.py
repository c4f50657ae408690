"""Rows reach the store once, however often their video is begun."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from featstore import FeatureSpec, FeatureStore
from pipelines.extract.receive import Receiver, uninterrupted
from tal.video.pool import Finished
from tests.pipelines.extract.stored import everything
from tests.pipelines.interrupting import interruptible

_SPEC = FeatureSpec("e", weights="w", channels=4, clip_frames=8, frame_stride=2, fps=5.0)
_ROWS = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
_END = Finished("v", num_frames=20)


def new_store(path: Path) -> FeatureStore:
    store = FeatureStore.create(path, _SPEC)
    store.add_videos([{"id": "v", "num_rows": 10, "num_frames": 20}])
    store.commit()
    return store


def receiver(store: FeatureStore) -> Receiver:
    return Receiver(store, store.video("v"), Path("v.mp4"))


def add(to: Receiver, stop: int, rows: np.ndarray = _ROWS) -> None:
    """Clips of four rows, the last of which reaches beyond the end."""
    for start in range(0, stop, 4):
        padded = np.concatenate([rows[start : start + 4], rows])[:4]
        to.add(start, padded)


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, object]:
    with new_store(tmp_path / "plain.zarr") as store:
        through = receiver(store)
        add(through, 10)
        assert through.end(_END) == ""
        store.commit()
    return everything(tmp_path / "plain.zarr")


@pytest.mark.parametrize("committed", [True, False])
def test_a_video_that_is_begun_again_equals_one_that_was_not(
    tmp_path: Path, plain: dict[str, object], committed: bool
) -> None:
    """Whether the process died, and another takes over what was committed, or only the video's actor did."""
    path = tmp_path / "again.zarr"
    with new_store(path) as store:
        half = receiver(store)
        add(half, 8)
        if committed:
            store.commit()
            assert store.video_ids == [], "rows of half a video are not a video"
    with FeatureStore.open(path, "r+") as store:
        again = receiver(store)
        add(again, 8)
        add(again, 4)  # its actor died twice more
        add(again, 10)
        assert again.end(_END) == ""
        store.commit()
    assert everything(path) == plain


def test_only_what_differs_is_written_again(tmp_path: Path, plain: dict[str, object]) -> None:
    path = tmp_path / "s.zarr"
    other = _ROWS.copy()
    other[5:7] += 1
    with new_store(path) as store:
        add(receiver(store), 10, other)
        store.commit()
        again = receiver(store)
        add(again, 10)
        assert again.end(_END) == ""
        store.commit()
        assert store.ledger("v")["writes"].tolist() == [1] * 5 + [2] * 2 + [1] * 3
        np.testing.assert_array_equal(store.read("v", 0, 10), _ROWS.astype(np.float16))


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_rows_that_are_not_finite_fail_their_video(tmp_path: Path, value: float) -> None:
    with new_store(tmp_path / "s.zarr") as store:
        bad = receiver(store)
        add(bad, 8)
        bad.add(8, np.full((4, 4), value, np.float32))
        assert "not finite as float16" in bad.end(_END)
        assert store.video("v").state == "failed" and "not finite" in store.video("v").reason


def test_another_length_than_was_registered_fails_a_video(tmp_path: Path) -> None:
    with new_store(tmp_path / "s.zarr") as store:
        short = receiver(store)
        add(short, 8)
        assert "has 15 frames, 20 when it was registered" in short.end(Finished("v", num_frames=15))


def test_an_interrupt_waits_for_the_end_of_a_write() -> None:
    through = []

    def write() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            through.append("all of it")

    with interruptible(), pytest.raises(KeyboardInterrupt):
        write()
    assert through == ["all of it"]
