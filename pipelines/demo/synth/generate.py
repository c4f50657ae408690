"""The data set: video files, annotations.json, and synth.json, which holds the settings."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from featstore.documents import read_json
from pipelines.demo.synth.actions import LABELS
from pipelines.demo.synth.config import SynthConfig
from pipelines.demo.synth.render import render
from pipelines.demo.synth.script import VideoPlan, plan
from pipelines.shared.files import OutputExistsError, write_text
from tal.annotations import AnnotationSet, Segment, VideoAnnotation, write_annotations
from tal.shared.files import output_errors
from tal.video.writer import VideoWriter

# Changes whenever equal settings no longer give equal videos.
GENERATOR = 2


@dataclass(frozen=True)
class SynthReport:
    """The content of the folder: paths and counts."""

    folder: Path
    videos: Path
    annotations: Path
    made: int
    reused: int
    segments: int
    subsets: dict[str, int]
    seconds: float
    wall_s: float


def synthesize(
    out: str | Path,
    config: SynthConfig,
    processes: int | None = None,
    on_video: Callable[[str], None] | None = None,
) -> SynthReport:
    """Write ``out/videos/*.mp4``, ``out/annotations.json`` and ``out/synth.json``.

    The bytes depend on ``config`` only, not on ``processes`` (None: one per core). Finished videos of equal
    settings are reused, so an interrupted call goes on where it stopped.

    Raises
    ------
    OutputExistsError
        the folder holds something made from other settings; nothing is touched.
    """
    started = time.perf_counter()
    out = Path(out)
    _claim(out, config)
    videos = out / "videos"
    with output_errors(videos):
        videos.mkdir(parents=True, exist_ok=True)
    plans = plan(config)
    todo = [p for p in plans if not (videos / f"{p.id}.mp4").exists()]
    for done in _render_all(config, todo, videos, processes or os.cpu_count() or 1):
        if on_video is not None:
            on_video(done)
    annotations = out / "annotations.json"
    truth = describe(config, plans)
    if not annotations.exists():
        write_annotations(truth, annotations)
    if not (hidden := out / "synth.json").exists() or "videos" not in read_json(hidden, OutputExistsError):
        write_text(hidden, json.dumps(_provenance(config, plans), indent=1), overwrite=True)
    return SynthReport(
        folder=out,
        videos=videos,
        annotations=annotations,
        made=len(todo),
        reused=len(plans) - len(todo),
        segments=sum(e.labelled for p in plans for e in p.events),
        subsets=truth.subsets,
        seconds=sum(p.num_frames for p in plans) / config.fps,
        wall_s=time.perf_counter() - started,
    )


def describe(config: SynthConfig, plans: list[VideoPlan]) -> AnnotationSet:
    """The labelled actions as annotations."""
    videos = {
        p.id: VideoAnnotation(
            id=p.id,
            subset=p.subset,
            segments=tuple(Segment(e.start_s, e.end_s, e.action) for e in p.events if e.labelled),
            duration_s=p.num_frames / config.fps,
            fps=config.fps,
            num_frames=p.num_frames,
        )
        for p in plans
    }
    return AnnotationSet(videos, LABELS, source="annotations.json")


def _claim(out: Path, config: SynthConfig) -> None:
    """Write synth.json first: it marks the files in the folder as those of these settings."""
    path = out / "synth.json"
    settings = {"generator": GENERATOR, "settings": config.model_dump()}
    if path.exists():
        try:
            earlier = read_json(path, OutputExistsError)
        except OutputExistsError:
            earlier = None
        if not isinstance(earlier, dict) or {k: earlier.get(k) for k in settings} != settings:
            raise OutputExistsError(
                f"{out} holds a data set made with other settings (see {path.name} there): give another --out"
            )
        return
    if (out / "annotations.json").exists() or (out / "videos").exists():
        raise OutputExistsError(
            f"{out} holds annotations or videos that `synth` did not make: give another --out"
        )
    write_text(path, json.dumps(settings, indent=1))


def _provenance(config: SynthConfig, plans: list[VideoPlan]) -> dict[str, object]:
    """Settings, and what annotations do not tell: persons and unlabelled actions."""
    return {
        "generator": GENERATOR,
        "settings": config.model_dump(),
        "videos": {
            p.id: {
                "person": p.person,
                "unlabelled": [
                    {"action": e.action, "segment": [e.start_s, e.end_s]} for e in p.events if not e.labelled
                ],
            }
            for p in plans
        },
    }


def _render_all(config: SynthConfig, plans: list[VideoPlan], videos: Path, processes: int) -> Iterator[str]:
    if processes <= 1 or len(plans) <= 1:
        return (make_video(config, p, videos) for p in plans)
    return _in_processes(config, plans, videos, min(processes, len(plans)))


def _in_processes(config: SynthConfig, plans: list[VideoPlan], videos: Path, processes: int) -> Iterator[str]:
    # spawn: a forked child would inherit the locks of the progress bar's thread
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = [pool.submit(make_video, config, p, videos) for p in plans]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def make_video(config: SynthConfig, video: VideoPlan, videos: Path) -> str:
    """Draw and write one video; returns its id. It appears under its name only when it is whole."""
    with VideoWriter(videos / f"{video.id}.mp4", config.fps, gop=round(config.fps)) as writer:
        for picture in render(config, video):
            writer.add(picture)
    return video.id
