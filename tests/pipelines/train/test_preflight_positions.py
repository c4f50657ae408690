"""Actions that no position learns: the counts against every window and the decoder's own targets."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.config import parse_config
from pipelines.train import train
from pipelines.train.data import planned_videos
from pipelines.train.findings import Findings
from pipelines.train.preflight.positions import faster, rate_factor, survey, without_position
from pipelines.train.preflight.short_actions import check_lengths
from tal.annotations import AnnotationSet
from tal.annotations.types import Segment, VideoAnnotation
from tal.decoders import Targets
from tal.grid import ClipGrid, FeatureGrid
from tal.localizer import Localizer, LocalizerConfig
from tal.memory.config import WindowConfig
from tal.memory.sampler import TrainingVideo
from tests.pipelines.tiny_run import Killed, killed_at, tiny_config
from tests.tal.decoders.cases import CASES

LABELS = ("clap", "jump", "walk")
# every family of decoders, one whose finest level is not the input's, one whose points are 4 rows apart
CONFIGS = {
    **{name: LocalizerConfig(decoder=CASES[name]) for name in ("actionformer", "cltdr_gmg")},
    **{name: LocalizerConfig(decoder=CASES[name]) for name in ("temporalmaxer-ota", "daotad", "afsd")},
    "coarse": LocalizerConfig(decoder=CASES["actionformer"].model_copy(update={"first_level": 1})),
    "downsampled": LocalizerConfig(downsample=4, width=16, decoder=CASES["afsd"]),
}


def make_localizer(name):
    torch.manual_seed(0)
    return Localizer(CONFIGS[name], 12, len(LABELS), 40)


def random_video(seed, rows=100, count=14):
    """Actions from a fiftieth of a row to 30 rows, some within others."""
    rng = np.random.default_rng(seed)
    length = 10 ** rng.uniform(-1.7, 1.5, count)
    start = rng.uniform(-0.5, rows - 0.5 - length)
    labels = rng.integers(0, len(LABELS), count)
    grid = FeatureGrid(2.0, 1, 1)
    return TrainingVideo("v", rows, 2.0, grid, np.stack([start, start + length], 1), labels)


def learnt_anywhere(video, window, localizer):
    """bool [N]: actions with a positive in one of all windows that there are."""
    learnt = np.zeros(len(video.segments), bool)
    down, kept, targets, masks = localizer.downsample, [], [], []
    for first in range(max(1, video.num_rows - window.num_rows + 1)):
        stop = min(first + window.num_rows, video.num_rows)
        low = np.maximum(video.segments[:, 0], first - 0.5)
        high = np.minimum(video.segments[:, 1], stop - 0.5)
        inside = np.flatnonzero(high - low >= window.trunc_threshold * np.diff(video.segments)[:, 0] - 1e-9)
        shown = (np.stack([low, high], 1)[inside] - first) / down
        kept.append(inside)
        targets.append(Targets(torch.from_numpy(shown).float(), torch.from_numpy(video.labels[inside])))
        masks.append(torch.arange(-(-window.num_rows // down)) < -(-(stop - first) // down))
    for inside, counts in zip(
        kept, localizer.decoder.positives(torch.stack(masks)[:, None], targets), strict=True
    ):
        learnt[inside[counts.numpy() > 0]] = True
    return learnt


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_rows", [40, 128], ids=["long video", "short video"])
def test_what_no_window_learns_is_found(name, num_rows):
    window = WindowConfig(num_rows=num_rows, crop_ratio=(1.0, 1.0))
    localizer, some = make_localizer(name), 0
    for seed in range(2):
        video = random_video(seed)
        lost = without_position(video, window, localizer)
        assert lost[~learnt_anywhere(video, window, localizer)].all(), seed
        # one that has no others beside it needs no luck with what a window shows of them
        for index in range(len(video.segments)):
            one = alone(video, index)
            expected = learnt_anywhere(one, window, localizer)
            assert without_position(one, window, localizer).tolist() == (~expected).tolist(), (seed, index)
            some += not expected[0]
    assert some or name == "daotad", "nothing was lost: this says nothing"


def alone(video, index):
    return replace(video, segments=video.segments[[index]], labels=video.labels[[index]])


@pytest.mark.parametrize("name", CONFIGS)
def test_classes_are_counted_and_the_rate_is_enough(name):
    window, localizer = WindowConfig(num_rows=64), make_localizer(name)
    videos = [random_video(seed) for seed in range(2)]
    found = survey(videos, window, localizer, LABELS)
    for number, label in enumerate(LABELS):
        lost = sum(int(without_position(v, window, localizer)[v.labels == number].sum()) for v in videos)
        entry = next((u for u in found.classes if u.label == label), None)
        assert lost == (entry.count if entry else 0)
        if entry:
            assert entry.total == sum(int((v.labels == number).sum()) for v in videos)
    assert sum(u.short for u in found.classes) == sum(int(short.sum()) for short in found.short)
    if not found.videos:
        return
    factor = rate_factor(found, window, localizer)
    assert factor is not None and factor > 1
    short = [k for k in zip(found.videos, found.short, strict=True)]
    after = [without_position(faster(v, factor), window, localizer) & lost for v, lost in short]
    assert sum(int(a.sum()) for a in after) <= 0.1 * sum(int(lost.sum()) for _, lost in short)


def annotated(segments):
    video = VideoAnnotation("v", "training", tuple(Segment(*s) for s in segments), 60.0)
    return AnnotationSet({"v": video}, LABELS, source="a.json")


def warned(segments, name="actionformer", **data):
    config = parse_config(
        {"data": {"fps": 5.0, **data}, "encoder": {"name": "i3d", "clip_frames": 16, "frame_stride": 4}}
    )
    findings, localizer = Findings(), make_localizer(name)
    videos = planned_videos(annotated(segments), ClipGrid(16, 4), config.data)
    check_lengths(config, videos, LABELS, localizer, findings)
    return findings, videos, localizer, config


def test_claps_of_a_tenth_of_a_row_are_named_with_a_rate_that_does(caplog):
    # rows are 0.8 s; the middle of row k is at 0.8 k + 0.4 s
    claps = [(0.8 * k, 0.8 * k + 0.08, "clap") for k in range(3, 60, 4)]
    jumps = [(5.0, 9.0, "jump"), (20.0, 20.1, "jump"), (30.0, 33.0, "jump")]
    findings, videos, localizer, config = warned(claps + jumps)
    findings.settle()
    (text,) = [record.getMessage() for record in caplog.records]
    assert "1 of 3 classes CANNOT BE LEARNT: 15 of 15 'clap' (15 too short, at most 0.08 s)" in text
    assert "1 of 3 'jump' (1 too short, at most 0.1 s)" in text and "now 0.8 s" in text
    fps = float(text.split("data.fps=")[1].split()[0])
    assert fps > 40, "an action of 0.08 s needs rows every 0.08 s, frames every 0.02"
    again = planned_videos(
        annotated(claps + jumps), ClipGrid(16, 4), config.data.model_copy(update={"fps": fps})
    )
    before = without_position(videos[0], config.window, localizer)
    after = without_position(again[0], config.window, localizer)
    assert after.sum() <= 0.1 * before.sum()


def test_actions_behind_shorter_ones_are_not_called_short(caplog):
    findings, *_ = warned([(8.0, 10.5, "walk"), (8.2, 10.3, "jump")])
    findings.settle()
    (text,) = [record.getMessage() for record in caplog.records]
    assert "1 of 1 'walk' (1 behind shorter ones at the same place)" in text and "rate" not in text


def test_actions_that_no_window_shows_are_said(caplog):
    config = parse_config({"window": {"num_rows": 16, "trunc_threshold": 0.75}})
    findings = Findings()
    videos = planned_videos(annotated([(0.0, 55.0, "walk")]), ClipGrid(4, 4), config.data)
    check_lengths(config, videos, LABELS, make_localizer("actionformer"), findings)
    findings.settle()
    (text,) = [record.getMessage() for record in caplog.records]
    assert text.startswith("1 training actions are learnt nowhere") and "window.num_rows" in text


def test_a_run_warns_before_its_first_step(data, tmp_path, caplog, monkeypatch):
    tree = json.loads((data / "annotations.json").read_text())
    for video in tree["database"].values():
        video["annotations"].append({"label": "clap", "segment": [0.13, 0.15]})
    (tmp_path / "claps.json").write_text(json.dumps(tree))
    keys = {"annotations": str(tmp_path / "claps.json"), "videos": str(data / "videos"), "fps": 8.0}
    keys["store"] = str(data / "store.zarr")
    config = tiny_config(data, data=keys, train={"epochs": 1})
    killed_at(monkeypatch, 1)
    with pytest.raises(Killed):
        train(config, tmp_path / "run")
    lines = [record.getMessage() for record in caplog.records]
    assert any("CANNOT BE LEARNT: 6 of 6 'clap'" in line for line in lines)
