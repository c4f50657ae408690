"""`check` and `extract` say the same of every make of file, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from featstore import FeatureStore
from pipelines.config import parse_config
from pipelines.data.check import check
from pipelines.extract import ExtractOptions, extract
from tal.annotations.videos import list_videos
from tests.tal.video.video_corpus import Make, has_encoder, make_video
from tests.tal.video.zoo import QUICK, REST

pytestmark = pytest.mark.usefixtures("one_thread")
FPS = 12.0


def make_folder(makes: tuple[Make, ...], folder: Path) -> None:
    """Each make whole, cut at 30 % and at 90 %, and with bytes changed in its middle."""
    folder.mkdir()
    for make in makes:
        assert has_encoder(make.codec)
        whole = make_video(make, folder)
        data = whole.read_bytes()
        for name, share in (("head", 0.3), ("most", 0.9)):
            whole.with_stem(f"{whole.stem}_{name}").write_bytes(data[: int(share * len(data))])
        middle = slice(len(data) // 2, len(data) // 2 + max(64, len(data) // 8))
        other = bytes(255 - byte for byte in data[middle])
        whole.with_stem(f"{whole.stem}_middle").write_bytes(
            data[: middle.start] + other + data[middle.stop :]
        )
    for number, junk in enumerate((b"", b"no video at all\n" * 9)):
        (folder / f"junk{number}.mp4").write_bytes(junk)


def test_check_and_extract_agree(tmp_path: Path) -> None:
    makes, folder, store = (*QUICK, *REST), tmp_path / "videos", tmp_path / "s.zarr"
    make_folder(makes, folder)
    tree = {
        "data": {"videos": str(folder), "store": str(store), "fps": FPS},
        "encoder": {"name": "timm:test_resnet", "clip_frames": 4, "size": 32, "crop": 32},
        "memory": {"ratio": 0.0},
    }
    quick, whole = check(None, folder), check(None, folder, decode=True)
    unreadable = {p.video: p.detail for p in quick.problems if p.check == "unreadable"}
    undecodable = {p.video: p.detail for p in whole.problems if p.check == "undecodable"}
    report = extract(parse_config(tree), ExtractOptions(device="cpu"))
    failed = dict(report.failed)
    assert len(failed) + len(report.done) == len(list_videos(folder))
    # what the look refuses, extraction refuses with the same words
    assert {k: failed.get(k) for k in unreadable} == unreadable
    # and what passes both looks is extracted, whole
    assert set(failed) <= set(unreadable) | set(undecodable)
    with FeatureStore.open(store) as opened:
        assert set(opened.video_ids) == set(report.done)
        for make in makes:
            if (name := make.name) in report.done:
                assert name not in unreadable and name not in undecodable, name
    assert "junk0" in unreadable and "junk1" in unreadable
