"""Faults that are there before the first step are found before it, before an extraction too, all at once."""

import json
import shutil

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from cli import cli
from featstore import FeatureSpec, FeatureStore
from pipelines.extract import run as extraction
from pipelines.train import train
from pipelines.train.ensure_store import ensure_store
from pipelines.train.findings import Findings, NotReadyError
from pipelines.train.preflight import make_ready
from pipelines.train.preflight import run as preflight
from pipelines.train.step import TrainStep
from tal.errors import (
    AnnotationError,
    ConfigError,
    EvaluationError,
    LongtalError,
    OutputError,
    VideoError,
    WeightsError,
)
from tests.pipelines.tiny_run import tiny_config

FILES = {"annotations": "annotations.json", "videos": "videos", "store": "store.zarr"}


@pytest.fixture(autouse=True)
def no_step(monkeypatch):
    """Nothing is trained or extracted here."""

    def never(*_, **__):
        raise AssertionError("this began although something is wrong")

    monkeypatch.setattr(TrainStep, "run", never)
    monkeypatch.setattr(extraction, "encode_stream", never)


def changed(data, tmp_path, change):
    """Annotations after ``change(database)``."""
    tree = json.loads((data / "annotations.json").read_text())
    change(tree["database"])
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(tree))
    return str(path)


def config_of(folder, **sections):
    paths = {name: str(folder / file) for name, file in FILES.items()}
    return tiny_config(folder, data={**paths, "fps": 8.0, **sections.pop("data", {})}, **sections)


def no_validation_actions(database):
    for video in database.values():
        if video["subset"] == "validation":
            video["annotations"] = []


def other_validation_classes(database):
    for video in database.values():
        if video["subset"] == "validation":
            video["annotations"][0]["label"] = "elsewhere"


def no_training_actions(database):
    for video in database.values():
        if video["subset"] == "training":
            video["annotations"] = []


@pytest.mark.parametrize("extracted", [True, False], ids=["rows are there", "before the extraction"])
@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (
            no_validation_actions,
            EvaluationError,
            r"has no action in any .* --set data\.val_subset= \(empty\)",
        ),
        (
            other_validation_classes,
            EvaluationError,
            r"no action of a class that is learnt: it has 'elsewhere'",
        ),
        (no_training_actions, AnnotationError, r"nothing to learn: subset 'training'"),
    ],
)
def test_subsets_without_actions(data, tmp_path, change, kind, said, extracted):
    where = {} if extracted else {"store": str(tmp_path / "new.zarr")}
    config = config_of(data, data={"annotations": changed(data, tmp_path, change), **where})
    with pytest.raises(LongtalError, match=said) as caught:
        begin(config, tmp_path)
    problems = getattr(caught.value, "problems", (caught.value,))
    assert isinstance(problems[0], kind)
    assert not (tmp_path / "run").exists() and not (tmp_path / "new.zarr").exists()


def begin(config, tmp_path):
    """What the command does."""
    ready = ensure_store(config, "c.yaml", [], tmp_path / "run")
    return train(config, tmp_path / "run", ready=ready)


@pytest.mark.parametrize("extracted", [True, False], ids=["rows are there", "before the extraction"])
@pytest.mark.parametrize(
    ("sections", "kind", "said"),
    [
        ({"encoder": {"weights": "nosuch.pt"}}, WeightsError, "nosuch.pt: no such weights file"),
        ({"train": {"batch_size": 7}}, ConfigError, "more than the 6 training videos"),
        ({"train": {"val_tiou": [0.5, 1.5]}}, EvaluationError, "tIoU thresholds"),
        ({"inference": {"video_scores": "nosuch.json"}}, AnnotationError, "nosuch.json"),
        ({"window": {"mode": "whole", "num_rows": 16}}, ConfigError, "window.mode is `whole`"),
        ({"inference": {"long": "chunks", "window_rows": 8}}, ConfigError, "chunks"),
        ({"data": {"videos": "nowhere"}}, VideoError, "nowhere: does not exist"),
    ],
)
def test_settings_that_would_fail_later(data, tmp_path, sections, kind, said, extracted):
    if "long" in sections.get("inference", {}):
        sections["localizer"] = {"decoder": {"name": "daotad", "channels": 16, "num_heads": 2}}
    if not extracted:
        sections = {**sections, "data": {"store": str(tmp_path / "new.zarr"), **sections.get("data", {})}}
    with pytest.raises(kind, match=said):
        begin(config_of(data, **sections), tmp_path)
    assert not (tmp_path / "run").exists() and not (tmp_path / "new.zarr").exists()


def test_all_of_it_is_said_at_once(data, tmp_path):
    config = config_of(
        data,
        data={
            "annotations": changed(data, tmp_path, no_validation_actions),
            "store": str(tmp_path / "s.zarr"),
        },
        encoder={"weights": "nosuch.pt"},
        train={"val_tiou": [], "batch_size": 8},
        inference={"video_scores": "scores.json"},
    )
    (tmp_path / "afile").write_text("")
    with pytest.raises(NotReadyError) as caught:
        ensure_store(config, "c.yaml", [], tmp_path / "afile" / "run")
    kinds = {type(problem) for problem in caught.value.problems}
    assert kinds == {OutputError, EvaluationError, WeightsError}
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 things keep this run from its first step:"
    assert [line[:5] for line in lines[1:]] == ["  1. ", "  2. ", "  3. ", "  4. "]


def test_the_command_says_it_and_does_nothing(data, tmp_path):
    config = config_of(data, data={"annotations": changed(data, tmp_path, no_validation_actions)})
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    more = ["--set", "train.batch_size=8", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli, ["train", "--config", str(path), *more], standalone_mode=False)
    assert isinstance(result.exception, NotReadyError)
    assert "nothing can be measured" in str(result.exception) and "batch_size 8" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_videos_that_are_not_there_are_counted_by_reason(data, tmp_path, caplog):
    shutil.copytree(data / "videos", tmp_path / "videos")
    (tmp_path / "videos" / "v00.mp4").unlink()
    shutil.copytree(data / "store.zarr", tmp_path / "s.zarr")
    with FeatureStore.open(tmp_path / "s.zarr", mode="r+") as store:
        for name, reason in (("v01", "cut short"), ("v07", "no pictures")):
            store.reopen(name)
            store.fail(name, reason)
        store.commit()
    config = config_of(data, data={"videos": str(tmp_path / "videos"), "store": str(tmp_path / "s.zarr")})
    ready = make_ready(config, tmp_path / "run")
    assert [v.id for v in ready.data.train] == ["v02", "v03", "v04", "v05"]
    lines = [record.getMessage() for record in caplog.records]
    gone = f"1 no file in {tmp_path / 'videos'} (v00)"
    assert f"2 of 6 training videos are left out: {gone}; 1 failed in extraction (v01)" in lines
    counted = "their actions count as missed"
    assert f"1 of 2 validation videos are left out: 1 failed in extraction (v07); {counted}" in lines


def test_scores_are_there_for_every_validation_video(data, tmp_path):
    scores = {"v06": {"up": 0.5, "down": 0.5}}
    (tmp_path / "scores.json").write_text(json.dumps({"results": scores}))
    config = config_of(data, inference={"video_scores": str(tmp_path / "scores.json")})
    with pytest.raises(AnnotationError, match=r"no scores for 1 of 2 validation videos \(v07\)"):
        make_ready(config, tmp_path / "run")


def test_imported_rows_that_do_not_fit_are_refused(data, tmp_path):
    path = tmp_path / "imported.zarr"
    spec = FeatureSpec("x", "imported", 4, clip_frames=4, frame_stride=4, fps=8.0)
    assert spec.imported
    with FeatureStore.create(path, spec) as store:
        for number in range(8):
            store.add_video(f"v{number:02d}", 90, 8.0)  # 45 s; the videos have 7 to 10
            store.write(f"v{number:02d}", 0, np.zeros((90, 4), np.float32), step=0)
            store.complete(f"v{number:02d}")
        store.commit()
    config = config_of(data, data={"videos": "", "store": str(path)}).model_copy(update={"encoder": None})
    with pytest.raises(ConfigError, match=r"the rows do not fit their videos: 8 of 8 videos: rows end at 45"):
        make_ready(config, tmp_path / "run")


def test_several_processes_share_a_step(data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="not a multiple of 4 processes"):
        make_ready(config_of(data), tmp_path / "run")


def test_annotations_are_read_once_and_the_encoder_is_built_once(data, tmp_path, monkeypatch):
    calls = []
    for name in ("read_run_annotations", "build_encoder"):
        real = getattr(preflight, name)
        monkeypatch.setattr(
            preflight, name, lambda *a, _r=real, _n=name, **k: calls.append(_n) or _r(*a, **k)
        )
    with pytest.raises(AssertionError, match="this began"):  # at the first step
        begin(config_of(data), tmp_path)
    assert sorted(calls) == ["build_encoder", "read_run_annotations"]


def test_a_fault_that_two_checks_meet_is_said_once_and_many_are_not_all_listed():
    findings = Findings()
    for number in (1, 1, *range(2, 31)):
        with findings.collected():
            raise ConfigError(f"fault {number}")
    with pytest.raises(NotReadyError) as caught:
        findings.settle()
    lines = str(caught.value).splitlines()
    assert len(caught.value.problems) == 30 and lines[-1] == "  … and 10 more" and len(lines) == 22
