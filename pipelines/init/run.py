"""Put a project together: look, choose, write."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import RunConfig, nested, parse_config
from pipelines.data.check import CheckReport, Problem, check, find_clock
from pipelines.data.review_as_annotations import is_whole, read_review, without_unseen
from pipelines.data.videos import Opened
from pipelines.init.choices import LEAST_EPOCHS, Choice, Choices, Needs, choose
from pipelines.init.split import Split, split
from pipelines.init.survey import Survey, survey
from pipelines.init.yaml_text import yaml_text
from pipelines.shared.config_paths import PATH_KEYS, with_portable_paths
from pipelines.shared.files import require_new, write_text
from tal.annotations import AnnotationSet, read_annotations, write_annotations
from tal.annotations.corrections import Corrections, write_corrections
from tal.errors import ConfigError
from tal.shared.defaults import DEFAULT_ENCODER, ReaderName
from tal.shared.files import output_errors, require_folder

if TYPE_CHECKING:
    from pipelines.budget.estimate import Estimate

CONFIG_NAME = "longtal.yaml"
_TIMED_VIDEOS = 5
_FEW = 10  # actions of a class, below which learning it is luck


@dataclass(frozen=True)
class InitOptions:
    """What the user gives.

    Attributes
    ----------
    videos, annotations
        folder of the videos, and annotation file.
    out
        folder to make.
    encoder
        its name.
    seed
        of a new split.
    overwrite
        replace a project that is there.
    estimate
        say what the project will cost on this machine.
    device
        to estimate for: cpu, cuda, mps; None: the one that training takes.
    hours
        an estimate above this is noted, with what makes it shorter. It changes no setting.
    reader
        decodes the videos: auto, pyav, decord or torchcodec.
    """

    videos: Path
    annotations: Path
    out: Path
    encoder: str = DEFAULT_ENCODER
    seed: int = 0
    overwrite: bool = False
    estimate: bool = True
    device: str | None = None
    hours: float = 12.0
    reader: ReaderName = "auto"


@dataclass(frozen=True)
class Project:
    """What `init_project` wrote, from what, and what it says of it.

    Attributes
    ----------
    config, annotations
        the files written.
    store
        where the features will be.
    choices, survey, split
        the settings, and what they follow from.
    estimate
        what the project costs; None: not asked for, or it failed (a note says why).
    notes
        what to know before training.
    """

    config: Path
    annotations: Path
    store: Path
    choices: Choices
    survey: Survey
    split: Split
    estimate: Estimate | None
    notes: list[str] = field(default_factory=list)

    @property
    def commands(self) -> list[str]:
        """What to run next, in order."""
        folder = self.config.parent
        words: list[list[object]] = [
            ["train", "--config", self.config, "--out", folder / "run"],
            ["report", folder / "run", "--out", folder / "report.html"],
        ]
        return [shlex.join(["longtal", *map(str, command)]) for command in words]


def init_project(options: InitOptions) -> Project:
    """Look at the data, choose settings, write ``OUT/longtal.yaml`` and ``OUT/annotations.json``.

    The annotations written are those of the videos that can be used, in ActivityNet's form, with the split
    and the real durations: what is trained and measured on is there to be read. Those of a review also keep
    what was looked at, and only videos that were looked at in full are held out.

    Raises
    ------
    OutputExistsError
        when the project is there already.
    LongtalError
        what reading annotations raises, or when nothing can be used.
    """
    config_path, annotations_path = options.out / CONFIG_NAME, options.out / "annotations.json"
    require_new([config_path, annotations_path], options.overwrite)
    require_folder(options.out)
    annotations, said_of_review, review = _annotations(options.annotations)
    surveyed = survey(annotations, options.videos, options.reader)
    parts = split(surveyed.annotations, options.seed, _whole(review, surveyed))
    num_train = sum(v.subset == parts.train for v in parts.annotations.videos.values())
    choices = choose(surveyed, num_train, options.encoder, encoder_needs(options.encoder))
    settings = _data_choices(options, annotations_path, parts) | choices.by_key
    tree = nested({key: choice.value for key, choice in settings.items()})
    config = parse_config(tree, "the configuration that init chose")
    cost, said = _cost(config, options, surveyed, num_train) if options.estimate else (None, [])
    checked = check(options.annotations, options.videos, opened=Opened(surveyed.infos, surveyed.broken))
    notes = [*said, *said_of_review, *surveyed.annotations.notes, *surveyed.notes]
    notes += _notes(checked, surveyed, options)
    if not parts.validation:
        notes.append(
            "the training will not be measured: look at a video with actions in full (m in `longtal "
            "review`), then `longtal init` again with --overwrite"
        )
    with output_errors(annotations_path):
        # another clock is named in the notes, and stays to be seen in the file
        other_clock = find_clock(parts.annotations, surveyed.infos) is not None
        chosen = parts.annotations if other_clock else _with_durations(parts.annotations, surveyed)
        if review is None:
            write_annotations(chosen, annotations_path)
        else:
            write_corrections(_as_reviewed(chosen, review), annotations_path)
    head = _head(options, surveyed, cost, notes)
    write_text(config_path, yaml_text(head, _as_stated(settings, options.out)), options.overwrite)
    store = Path(config.data.store)
    return Project(config_path, annotations_path, store, choices, surveyed, parts, cost, notes)


def _annotations(path: Path) -> tuple[AnnotationSet, list[str], Corrections | None]:
    """Annotations, notes, and what they say beside where they are a review's."""
    annotations = read_annotations(path)
    review = read_review(path, annotations)
    if review is None:
        return annotations, [], None
    return *without_unseen(annotations, review), review


def _whole(review: Corrections | None, surveyed: Survey) -> set[str] | None:
    """Videos that a review says everything of; None where annotations do of all."""
    if review is None:
        return None
    return {k for k, info in surveyed.infos.items() if is_whole(review.videos[k], info.duration_s)}


def _as_reviewed(chosen: AnnotationSet, review: Corrections) -> Corrections:
    """Videos of a review with their subsets, and all that it says of them."""
    videos = {
        k: replace(review.videos[k], subset=v.subset, duration_s=v.duration_s)
        for k, v in chosen.videos.items()
    }
    return Corrections(chosen.labels, videos)


def _cost(
    config: RunConfig, options: InitOptions, surveyed: Survey, num_train: int
) -> tuple[Estimate | None, list[str]]:
    """The estimate, and notes on it. It informs: a busy machine measures badly, so no setting follows it."""
    from pipelines.budget.estimate import DataSizes, estimate
    from pipelines.budget.probe_process import ProbeError

    num_classes = len(surveyed.annotations.labels)
    sizes = DataSizes(surveyed.durations_s, num_train, num_classes, _some(surveyed.paths))
    try:
        cost = estimate(config, sizes, options.device)
    except ProbeError as error:
        return None, [f"no estimate of time and memory, training may fail in the same way: {error}"]
    return cost, cost_notes(cost, options.hours)


def cost_notes(cost: Estimate, hours: float) -> list[str]:
    """What to say of a project that does not fit into memory, or takes longer than ``hours``."""
    from pipelines.budget.estimate import rough_time

    if cost.total_s is None:
        return [
            f"a training step does not fit into this machine's memory ({cost.device}): `longtal plan` finds "
            "what does; smaller pictures (encoder.size, encoder.crop) need less"
        ]
    if cost.total_s <= 3600 * hours:
        return []
    fitting = cost.epochs_within(3600 * hours)
    shorter = f"`--set train.epochs={fitting}` fits"
    if fitting < LEAST_EPOCHS:
        shorter = f"not even {min(LEAST_EPOCHS, cost.epochs)} epochs fit"
    return [
        f"{cost.epochs} epochs take about {rough_time(cost.total_s)} on this machine ({cost.device}), "
        f"extraction included: more than {hours:g} h. {shorter}; smaller pictures (encoder.size, "
        "encoder.crop), a lower data.fps, another encoder or a GPU make it faster"
        + ("; the machine was busy with other work, it may well take less" if cost.busy else "")
    ]


def _some(paths: Mapping[str, Path]) -> list[Path]:
    """Files to time decoding with, spread over the data set."""
    files = list(paths.values())
    return files[:: max(1, len(files) // _TIMED_VIDEOS)][:_TIMED_VIDEOS]


def encoder_needs(name: str) -> Needs:
    """What an encoder asks for; per-frame encoders take clips of any length.

    Raises
    ------
    ConfigError
        for a name that is not an encoder's.
    """
    from tal.encoders.registry import find_entry, find_family

    entry = find_entry(name)
    if name.startswith("timm:"):
        return Needs()
    if entry is None:
        raise ConfigError(
            f"no encoder {name!r}; `longtal encoders` lists them, any timm:MODEL works, and hf:NAME"
        )
    by_adapters = find_family(name)[0].by_adapters
    return Needs(entry.clip_frames, entry.frame_stride, by_adapters, entry.crop_multiple)


def _data_choices(options: InitOptions, annotations: Path, parts: Split) -> dict[str, Choice]:
    return {
        "data.annotations": Choice(str(annotations.resolve()), f"made from {options.annotations}"),
        "data.videos": Choice(str(options.videos.resolve()), ""),
        "data.store": Choice(
            str((options.out / "features.zarr").resolve()),
            "the long memory: `longtal train` fills it first, or `longtal extract` does",
        ),
        "data.reader": Choice(options.reader, "auto is pyav; the others' pictures differ a little"),
        "data.train_subset": Choice(parts.train, f"the split is {parts.reason}"),
        "data.val_subset": Choice(parts.validation, ""),
    }


def _as_stated(settings: Mapping[str, Choice], folder: Path) -> dict[str, Choice]:
    """The settings as a file in the folder states them: paths inside the project are relative to it."""
    stated = with_portable_paths(nested({key: choice.value for key, choice in settings.items()}), folder)
    result = dict(settings)
    for key in PATH_KEYS:
        if key in settings:
            section, name = key.split(".")
            result[key] = replace(settings[key], value=stated[section][name])
    return result


def _with_durations(annotations: AnnotationSet, surveyed: Survey) -> AnnotationSet:
    videos = {
        video_id: replace(video, duration_s=round(surveyed.infos[video_id].duration_s, 3))
        for video_id, video in annotations.videos.items()
    }
    return replace(annotations, videos=videos)


def _notes(checked: CheckReport, surveyed: Survey, options: InitOptions) -> list[str]:
    """What `check` found, a line per kind, and classes that are too small."""
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in checked.problems:
        kinds.setdefault((problem.severity, problem.check), []).append(problem)
    notes = []
    for (severity, kind), problems in kinds.items():
        first = problems[0]
        where = f"{len(problems)}, such as {first.video}: " if first.video else ""
        notes.append(f"{severity}, {kind}: {where}{first.detail}")
    if notes:
        inputs = ["--annotations", str(options.annotations), "--videos", str(options.videos)]
        reader = ["--reader", options.reader] if options.reader != "auto" else []
        command = shlex.join(["longtal", "check", *inputs, *reader])
        notes.append(f"all of it: {command}")
    if surveyed.missing or surveyed.broken:
        notes.append(
            f"{len(surveyed.missing) + len(surveyed.broken)} videos without a usable file are left out"
        )
    if few := [label for label, count in surveyed.class_counts.items() if count < _FEW]:
        notes.append(
            f"{len(few)} classes have fewer than {_FEW} actions, too few to count on: {', '.join(few[:8])}"
        )
    return notes


def _head(options: InitOptions, surveyed: Survey, cost: Estimate | None, notes: list[str]) -> list[str]:
    """The comment at the top of the file: the data in figures, the costs, what is wrong."""
    actions, durations = surveyed.action_s, surveyed.durations_s
    low, middle, high = (float(q) for q in np.quantile(actions, (0.1, 0.5, 0.9)))
    counts = sorted(surveyed.class_counts.items(), key=lambda item: (-item[1], item[0]))
    classes = ", ".join(f"{label} {count}" for label, count in counts)
    lines = [
        f"Made by `longtal init` for the videos in {options.videos}. Change what you like; `longtal train` "
        "checks it.",
        "",
        f"{len(durations)} videos, {durations.sum() / 3600:.2f} h, {durations.min():.0f} to "
        f"{durations.max():.0f} s; {len(actions)} actions, of which four in five last {low:.2f} to "
        f"{high:.2f} s, half of them less than {middle:.2f} s.",
        f"{len(counts)} classes with their actions: {classes}",
    ]
    if cost is not None:
        lines += ["", "Estimated:", *cost.lines()]
    return lines + (["", "To know:", *notes] if notes else []) + [""]
