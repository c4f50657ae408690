"""A folder that has, very small, every file that README and docs speak of, under the names used there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import yaml
from click.testing import CliRunner

import cli
from pipelines.config import parse_config, save_resolved
from pipelines.extract import ExtractOptions, extract
from tal.annotations import read_annotations, write_annotations
from tal.annotations.corrections import Corrections, Judgement, VideoCorrections, write_corrections
from tests.pipelines.tiny_run import ENCODER, FPS, make_data, make_store, tiny_config

SUBSETS = ("training", "training", "validation", "validation", "test", "test")


def make_world(world: Path) -> None:
    """Videos, annotations in many formats, stores, a trained run, predictions, a report."""
    _videos(world)
    _annotations(world)
    _stores(world)
    _run(world)
    _predictions(world)


def longtal(*words: object) -> None:
    """Run a command that must succeed."""
    result = CliRunner().invoke(cli.cli, [str(word) for word in words])
    assert result.exit_code == 0, (words, result.output, result.exception)


def link(world: Path, old: str, *names: str) -> None:
    """Other names for a file or folder."""
    for name in names:
        (world / name).parent.mkdir(parents=True, exist_ok=True)
        (world / name).symlink_to(os.path.relpath(world / old, (world / name).parent))


def _videos(world: Path) -> None:
    made = world / "made"
    make_data(made, train=2, validation=4)
    database = json.loads((made / "annotations.json").read_text())["database"]
    (world / "clips").mkdir()
    renamed = {}
    for number, ((old, video), subset) in enumerate(zip(sorted(database.items()), SUBSETS, strict=True)):
        new = f"video_{number:04d}"
        shutil.move(made / "videos" / f"{old}.mp4", world / "clips" / f"{new}.mp4")
        renamed[new] = video | {"subset": subset}
    shutil.rmtree(made)
    (world / "anno.json").write_text(json.dumps({"version": "1", "taxonomy": [], "database": renamed}))
    link(world, "clips", "videos", "DIR/videos", "own/videos")
    link(world, "clips/video_0003.mp4", "holiday.mp4", "NEW.mp4", "clip.mp4", "in.mp4", "more/another.mkv")


def _annotations(world: Path) -> None:
    names = ("annotations.json", "truth.json", "a.json", "demo/annotations.json", "DIR/annotations.json")
    link(world, "anno.json", *names, "project/annotations.json", "hapt/annotations.json")
    whole = read_annotations(world / "anno.json")
    write_annotations(whole, world / "labels.csv", "table")
    write_annotations(whole, world / "thumos14_txt", "thumos14")
    seen = {
        k: VideoCorrections(
            k,
            v.subset,
            v.duration_s,
            actions=tuple(Judgement(s, "added") for s in v.segments),
            reviewed=((0.0, v.duration_s),),
        )
        for k, v in whole.videos.items()
        if v.subset != "validation"  # which is measured on
    }
    write_corrections(Corrections(whole.labels, seen), world / "corrections.json")
    write_annotations(whole.subset("validation"), world / "observations.tsv", "boris")
    write_annotations(whole.subset("validation"), world / "corrected", "eaf")
    for part, subset in (("train", "training"), ("validation", "validation")):
        write_annotations(whole.subset(subset), world / f"EPIC_100_{part}.csv", "epic100")
    flat = {k: {"annotations": [], "duration_second": v.duration_s} for k, v in whole.videos.items()}
    for name, video in whole.videos.items():
        flat[name]["annotations"] = [
            {"segment": [s.start_s, s.end_s], "label": s.label} for s in video.segments
        ]
    (world / "anet_anno_action.json").write_text(json.dumps(flat))
    lines = [f"{k},60,{v.duration_s},8.0,8.0,{v.subset},60" for k, v in whole.videos.items()]
    head = "video,numFrame,seconds,fps,rfps,subset,featureFrame"
    (world / "mouse_labels.csv").write_text(",background,walk\n0,1,0\n1,0,1\n2,0,1\n")
    (world / "video_info_new.csv").write_text("\n".join([head, *lines]) + "\n")


def _stores(world: Path) -> None:
    (world / "tiny").mkdir()
    link(world, "clips", "tiny/videos")
    made = make_store(world / "tiny", dtype="float16")  # as `extract` makes it
    shutil.move(made, world / "gym.zarr")
    link(world, "gym.zarr", "features.zarr", "hapt.zarr", "project/features.zarr")
    for part in range(2):
        data = {"videos": str(world / "clips"), "store": str(world / f"part{part}.zarr"), "fps": FPS}
        run = parse_config({"data": data, "encoder": ENCODER})
        extract(run, ExtractOptions(workers=0, part=part, parts=2))
    longtal("store", "pack", world / "gym.zarr", world / "packed.zarr")
    longtal("store", "push", world / "gym.zarr", world / "pushed.zarr")
    longtal("store", "export", world / "gym.zarr", world / "hapt" / "features")


def _run(world: Path) -> None:
    config = tiny_config(
        world,
        data={
            "annotations": str(world / "anno.json"),
            "videos": str(world / "clips"),
            "store": str(world / "gym.zarr"),
        },
        train={"epochs": 1, "validate_from": 0},
        localizer={"row_loss": 0.2},
    )
    (world / "project").mkdir(exist_ok=True)
    save_resolved(config, world / "project", "longtal.yaml")
    assert yaml.safe_load((world / "project" / "longtal.yaml").read_text())
    longtal("train", "--config", world / "project" / "longtal.yaml", "--out", world / "runs" / "gym")
    link(world, "runs/gym", "project/run", "runs/demo", "runs/first", "runs/hapt", "RUN")


def _predictions(world: Path) -> None:
    longtal(
        "predict",
        world / "clips",
        world / "holiday.mp4",
        "--model",
        world / "runs" / "gym",
        "--out",
        world / "found",
    )
    names = ("predictions.json", "val.json", "test.json", "A.json", "B.json", "demo/predictions.json")
    link(world, "found/predictions.json", *names)
    arguments = ("--annotations", world / "a.json", "--subset", "validation", "-p", world / "val.json")
    longtal("evaluate", *arguments, "--calibrate", world / "thresholds.json")
    longtal("report", world / "found", "--out", world / "report.html")
    link(world, "report.html", "page.html")
