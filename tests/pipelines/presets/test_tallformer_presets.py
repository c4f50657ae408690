"""Every TALLFormer and AdaTAD preset loads, its notes are true to it, and it trains a step, reduced."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from pipelines.config import RunConfig, load_config, merge
from pipelines.presets import find_preset, list_parts, list_presets
from pipelines.train.optim import build_optimizer
from pipelines.train.step import sample_targets
from tal.inference.localize import localize
from tal.inference.video_scores import VideoScores
from tal.localizer import Localizer, LocalizerConfig
from tal.memory.augment import AugmentConfig
from tal.memory.clip_loader import ClipDataset, ClipReading, SampleFrames
from tal.memory.clip_sampling import num_sampled
from tal.memory.mixing import StoredRows
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import TrainingVideo, WindowSampler

PRESETS = sorted(name for name in list_presets() if name.startswith(("tallformer/", "adatad/")))
CHANNELS, CLASSES = 16, 3
# Everything that the paper's Tables 1 to 5 report of TALLFormer and of the baselines it ran itself.
TABLE_FIGURES = {
    1: ["52.8 mAP, 15 GB", "55.1 mAP, 34 GB", "53.3 mAP", "54.7 mAP", "44.3 mAP", "53.8 mAP"],
    2: ["52.7", "42.9", "31.9", "32.8", "56.3", "55.1", "59.0", "59.2"],
    3: ["53.9", "27.2", "59.0", "33.7", "59.2", "35.6", "56.3", "50.0", "52.0", "34.4"],
    4: ["36.5"],
    5: [
        "59.0",
        "59.4",
        "59.2",
        "60.0",
        "out of memory",
        "51.1",
        "52.6",
        "41.5",
        "49.7",
        "51.5",
        "52.8",
        "53.3",
    ],
}
# preset -> clips encoded of a window: floor(r N) of its N clips
SAMPLED = {
    "thumos14": 2,
    "thumos14-r30": 4,
    "thumos14-r40": 6,
    "thumos14-r60": 9,
    "thumos14-r100": 15,
    "thumos14-lt-frozen": 0,
    "activitynet": 9,
    "activitynet-12gb": 3,
    "activitynet-i3d": 8,
}


@cache
def preset(name: str) -> RunConfig:
    return load_config(name)


def at(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


def test_every_reported_figure_has_a_preset():
    described = " | ".join(preset(name).description for name in PRESETS)
    for table, figures in TABLE_FIGURES.items():
        missing = [figure for figure in figures if figure not in described]
        assert not missing, (table, missing)
    for data in ("thumos14", "activitynet", "hacs", "multithumos", "epic-verb", "epic-noun"):
        assert preset(f"tallformer/flagship-{data}").localizer.decoder.name == "cltdr_gmg"


def test_documentation_lists_every_preset():
    text = (Path(__file__).parents[3] / "docs" / "tallformer.md").read_text(encoding="utf-8")
    ours = [name for name in PRESETS if name.startswith("tallformer/")]
    assert not [name for name in ours if f"`{name.removeprefix('tallformer/')}`" not in text]


def layers(name):
    """(name, tree) of the files that a preset is put together from, in order, each without its parents."""
    own = yaml.safe_load(find_preset(name).read_text(encoding="utf-8"))
    parents = own.pop("extends", [])
    for parent in [parents] if isinstance(parents, str) else parents:
        yield from layers(parent)
    yield name, own


def value(tree, key):
    """What a tree says of a dotted key; None where it says nothing."""
    for part in key.split("."):
        tree = (tree or {}).get(part)
    return tree


@pytest.mark.parametrize("name", PRESETS)
def test_notes_belong_to_the_values(name):
    """A note names a key that there is, and no note is inherited by a preset that changes the value."""
    config = preset(name)
    assert config.description
    for key in config.notes:
        at(config, key)
    tree, noted = {}, {}
    for layer, own in layers(name):
        tree = merge(tree, own)
        for key in own.get("notes", {}):
            template = layer in list_parts() and value(own, key) is None  # of a value that the rows give
            noted[key] = None if template else value(tree, key)
    stale = [k for k in config.notes if noted[k] is not None and value(tree, k) != noted[k]]
    assert not stale


@pytest.mark.parametrize(("name", "clips"), SAMPLED.items())
def test_clips_of_a_window(name, clips):
    config = preset(f"tallformer/{name}")
    num_clips = config.encoder.grid.whole_clips(config.window.num_rows)
    assert num_sampled(num_clips, config.memory.ratio) == clips


def test_windows_last_as_long_as_the_paper_says():
    for name, seconds in {
        "thumos14": 32,
        "thumos14-i3d": 32,
        "thumos14-st-8s-8fps": 8,
        "thumos14-st-32s-2fps": 32,
        "thumos14-st-4s-15fps": 4,
        "thumos14-st-32s-8fps": 32,
        "thumos14-st-12s-15fps": 12,
        "thumos14-swint-ts8": 8,
        "thumos14-swint-ts16": 16,
        "thumos14-swint-ts24": 24,
        "thumos14-swint-ts40": 40,
    }.items():
        config = preset(f"tallformer/{name}")
        found = config.window.num_rows * config.encoder.frame_stride / config.data.fps
        clip_s = config.encoder.clip_frames / config.data.fps
        assert 0 <= found - seconds < clip_s
        assert config.inference.window_rows == config.window.num_rows


def reduced(config: RunConfig) -> LocalizerConfig:
    """The same modules with few channels."""
    localizer = config.localizer
    small = {
        "daotad": {"channels": 16, "mlp_channels": 16, "fpn_channels": 16},
        "afsd": {"channels": 16},
        "actionformer": {"embed_dim": 16, "head_dim": 16},
        "cltdr_gmg": {"embed_dim": 16, "head_dim": 16, "mlp_dim": 16, "norm_groups": 4},
    }[localizer.decoder.name]
    if getattr(localizer.decoder, "video_channels", 0):
        small["video_channels"] = CHANNELS
    values = localizer.model_dump()
    values["decoder"] |= small
    return LocalizerConfig.model_validate(values | {"width": 32})


class SmallEncoder(torch.nn.Module):
    """The shape of an encoder: mean colours of the frames of a row."""

    def __init__(self, grid):
        super().__init__()
        self.grid = grid
        self.colour = torch.nn.Linear(3, CHANNELS)
        self.preprocess = SimpleNamespace(normalise=lambda x: x.permute(0, 4, 1, 2, 3).float() / 255)

    def forward(self, frames):
        rows = frames.mean((3, 4)).unflatten(2, (-1, self.grid.frame_stride)).mean(-1)  # [M, 3, R]
        return self.colour(rows.transpose(1, 2)).transpose(1, 2)


def videos(config: RunConfig) -> list[TrainingVideo]:
    """Two videos, one of them shorter than a window, with segments of several lengths."""
    grid = config.encoder.grid.rows_at(config.data.fps)
    whole = config.window.mode == "whole"
    made = []
    for number, rows in enumerate(
        (config.window.num_rows * (1 if whole else 2), config.window.num_rows * 2 // 3)
    ):
        starts = np.linspace(0.02, 0.8, 12) * rows
        segments = np.stack([starts, starts + np.tile([2.5, rows / 40, rows / 12], 4)], axis=1)
        labels = np.arange(12) % CLASSES
        made.append(TrainingVideo(str(number), rows, config.data.fps, grid, segments, labels))
    return made


@pytest.mark.parametrize("name", PRESETS)
def test_one_step(name):
    """Windows, clips, mixing, localizer, losses, optimizer and inference of the preset fit together."""
    config = preset(name)
    torch.manual_seed(0)
    encoder = SmallEncoder(config.encoder.grid)
    rows_per_clip = encoder.grid.rows_per_clip if config.end_to_end else 0
    windows = WindowSampler(videos(config), 2, config.window, config.memory, 0, rows_per_clip)
    # the first epoch in which the encoder learns
    samples = windows.samples(config.memory.warmup_epochs, 0)
    every = config.memory.baseline == "stochastic_backprop"
    reading = ClipReading(encoder.grid, encoder.preprocess, AugmentConfig(), "auto", every)
    decoded = []
    for sample in samples:
        clips = tuple(sample.window.clips(rows_per_clip)) if every else sample.clips
        frames = torch.randint(0, 256, (len(clips), encoder.grid.clip_frames, 2, 2, 3), dtype=torch.uint8)
        decoded.append(SampleFrames(sample, frames, clips, None, 0.0))
    batch = ClipDataset(reading if rows_per_clip else None).collate(decoded)
    valid = torch.stack([torch.from_numpy(sample.window.valid) for sample in samples])
    stored = bool(config.data.store) and not every
    rows = torch.randn(*valid.shape, CHANNELS) * stored
    memory = StoredRows(rows, valid, valid & stored, torch.ones_like(valid).long())

    localizer = Localizer(reduced(config), CHANNELS, CLASSES, config.window.num_rows)
    network = MemoryNetwork(encoder, localizer, config.memory.baseline == "fresh_only").train()
    optimizer = build_optimizer(network, config.optim)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    targets = [sample_targets(sample, localizer.downsample) for sample in samples]
    output = network(memory, batch.clips, targets)
    output.losses["loss"].backward()
    optimizer.step()
    assert torch.isfinite(output.losses["loss"])
    changed = {
        key.split(".")[0]
        for key, value in network.state_dict().items()
        if not torch.equal(before[key], value)
    }
    assert changed == ({"encoder", "localizer"} if config.memory.ratio else {"localizer"})
    assert torch.equal(output.layout.mask[:, 0], valid)

    inference = config.inference.with_window(config.window.num_rows)
    length = min(config.window.num_rows, 128) if config.window.mode == "whole" else config.window.num_rows + 8
    grid = config.encoder.grid.rows_at(config.data.fps)
    found = localize(localizer, torch.randn(length, CHANNELS), grid, inference, length * grid.step_s)
    scores = VideoScores({"v": np.array([0.1, 0.7, 0.2])}) if inference.video_scores else None
    found = inference.named(found, "v", scores)
    assert (found["end_s"] > found["start_s"]).all()
    assert found["label_index"].between(0, CLASSES - 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["thumos14", "thumos14-swint", "pilot-swins-112-fbs2", "thumos14-i3d", "flagship-epic-verb"],
)
def test_real_encoder_gives_the_rows_that_the_preset_counts_on(name):
    """Full-size encoder with random weights, small pictures: forward, backward, frozen stages."""
    from tal.encoders import build_encoder

    config = preset(f"tallformer/{name}").encoder
    encoder = build_encoder(config.model_copy(update={"weights": None, "size": 64, "crop": 64}))
    encoder.train()
    pictures = torch.randint(0, 256, (1, config.clip_frames, 64, 64, 3), dtype=torch.uint8)
    rows = encoder(encoder.preprocess.normalise(pictures))
    assert rows.shape == (1, encoder.channels, config.grid.rows_per_clip)
    rows.square().mean().backward()
    learnt = [p for p in encoder.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert learnt
    assert (len(learnt) < len(list(encoder.parameters()))) == (config.frozen_stages > 0)
    if name == "thumos14":
        assert encoder.channels == preset("tallformer/activitynet").localizer.decoder.video_channels
