"""AdaTAD's presets: the rows that were published, each with its twins through the memory."""

from functools import cache

import numpy as np
import pytest
import torch

from pipelines.config import load_config
from pipelines.presets import list_presets
from pipelines.train.optim import build_optimizer
from pipelines.train.step import sample_targets
from tal.encoders import build_encoder
from tal.encoders.build import create_encoder
from tal.localizer import Localizer
from tal.memory.clip_loader import ClipDataset, ClipReading, SampleFrames
from tal.memory.clip_sampling import num_sampled
from tal.memory.mixing import StoredRows
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import WindowSampler
from tests.pipelines.presets.test_resolved import leaves
from tests.pipelines.presets.test_tallformer_presets import CLASSES, layers, reduced, videos

BASES = sorted(n for n in list_presets() if n.startswith("adatad/") and "memory" not in n)
# published row -> blocks of the network, those with adapters, frames of a window, positions of the decoder
PUBLISHED = {
    "thumos14-s": (12, 12, 768, 384),
    "thumos14-b": (12, 12, 768, 384),
    "thumos14-l": (24, 24, 768, 384),
    "thumos14-h": (32, 32, 768, 384),
    "thumos14-g": (40, 40, 768, 384),
    "thumos14-g-224": (40, 20, 1536, 768),
    "multithumos-s": (12, 12, 768, 384),
    "multithumos-b": (12, 12, 768, 384),
    "multithumos-l": (24, 24, 768, 384),
    "multithumos-h": (32, 32, 768, 384),
    "multithumos-g": (40, 40, 768, 384),
    "multithumos-g-224": (40, 20, 1536, 768),
    "activitynet-s": (12, 12, 768, 192),
    "activitynet-b": (12, 12, 768, 192),
    "activitynet-l": (24, 24, 768, 192),
    "activitynet-h": (32, 32, 768, 192),
    "activitynet-g": (40, 40, 768, 192),
    "activitynet-g-224": (40, 20, 768, 192),
    "epic-verb-l": (24, 24, 6144, 768),
    "epic-noun-l": (24, 24, 6144, 768),
}
# what a pyramid has from its data, whichever it is
PYRAMID = (
    "embed_dim",
    "head_dim",
    "embed_layers",
    "stem_layers",
    "levels",
    "max_positions",
    "topk_per_level",
    "regression_ranges",
    "regression_weight",
    "initial_normaliser",
    "label_smoothing",
    "absolute_position",
)


@cache
def preset(name):
    return load_config(name)


def test_the_published_rows_are_there():
    assert sorted(f"adatad/{name}" for name in PUBLISHED) == BASES


@pytest.mark.parametrize("name", BASES)
def test_every_value_has_a_source(name):
    """Whatever these files set is noted, itself or its section; what follows from another value is not."""
    follows = {"window_rows", "overlap", "min_score", "accumulate"}
    config, own = preset(name), set()
    for layer, tree in layers(name):
        if layer.startswith(("adatad/", "encoder/adatad", "data/adatad", "decoder/adatad")):
            tree = {k: v for k, v in tree.items() if k not in ("extends", "description", "notes")}
            own |= {path.replace("/", ".") for path in leaves(tree)}
    noted = {key for key, note in config.notes.items() if note}
    unnoted = [
        key
        for key in own
        if key.rsplit(".", 1)[-1] not in follows
        and not any(key == note or key.startswith(f"{note}.") for note in noted)
        and key not in ("data.protocol", "data.target")
    ]
    assert not unnoted


@pytest.mark.parametrize("name", BASES)
def test_the_twins_differ_in_memory_and_decoder_alone(name):
    base = leaves(preset(name).model_dump(mode="json"))
    memory, cltdr = (
        leaves(preset(name + end).model_dump(mode="json")) for end in ("-memory", "-memory-cltdr")
    )
    changed = {k for k in base.keys() | memory.keys() if base.get(k) != memory.get(k)}
    assert {k for k in changed if not k.startswith(("notes", "description"))} == {
        "memory/ratio",
        "memory/write_back",
    }
    assert memory["memory/ratio"] == 0.15 and base["memory/ratio"] == 1.0
    changed = {k for k in memory.keys() | cltdr.keys() if memory.get(k) != cltdr.get(k)}
    assert all(k.startswith(("notes", "description", "localizer/decoder/")) for k in changed)
    # another decoder's section begins anew: what the data ask of any pyramid has to be in it again
    first, second = (preset(name + end).localizer.decoder for end in ("", "-memory-cltdr"))
    assert (first.name, second.name) == ("actionformer", "cltdr_gmg")
    for key in PYRAMID:
        assert getattr(first, key) == getattr(second, key), key


@pytest.mark.parametrize(("name", "shape"), PUBLISHED.items())
def test_the_network_has_adapters_where_the_release_has_them(name, shape):
    blocks, adapted, frames, positions = shape
    config = preset(f"adatad/{name}")
    with torch.device("meta"):
        encoder = create_encoder(config.encoder.model_copy(update={"weights": None}))
        encoder.add_adapters()
    assert len(encoder.stages()) - 1 == blocks and len(encoder.adapters) == adapted
    learning = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert learning and all(n.startswith("adapters.") for n in learning)
    assert config.window.num_rows * config.encoder.frame_stride == frames
    assert config.window.num_rows // config.localizer.downsample == positions
    assert config.localizer.decoder.max_positions == positions
    num_clips = config.encoder.grid.whole_clips(config.window.num_rows)
    assert num_sampled(num_clips, 0.15) == int(0.15 * num_clips)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("decoder", ["", "-cltdr"])
def test_a_step_through_the_memory_moves_adapters_and_decoder_alone(decoder):
    """VideoMAE-S at 32 px, random weights."""
    config = preset(f"adatad/thumos14-s-memory{decoder}")
    small = {"weights": None, "size": 32, "crop": 32, "checkpointing": False}
    encoder = build_encoder(config.encoder.model_copy(update=small), seed=0)
    window = config.window.model_copy(update={"num_rows": 64})
    rows_per_clip = encoder.grid.rows_per_clip
    localizer = Localizer(reduced(config), encoder.channels, CLASSES, 64)
    network = MemoryNetwork(encoder, localizer).train()
    optimizer = build_optimizer(network, config.optim, config.adapter_lr_multiplier)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    for turn in range(2):  # adapters' way back begins with the second step: Up starts at zero
        samples = WindowSampler(videos(config), 2, window, config.memory, turn, rows_per_clip).samples(0, 0)
        reading = ClipReading(encoder.grid, encoder.preprocess, config.augment, "auto")
        rng = np.random.default_rng(turn)
        decoded = [
            SampleFrames(
                s,
                torch.from_numpy(rng.integers(0, 256, (len(s.clips), 16, 32, 32, 3), np.uint8)),
                s.clips,
                None,
                0.0,
            )
            for s in samples
        ]
        batch = ClipDataset(reading).collate(decoded)
        assert batch.clips is not None and len(batch.clips.frames) == 2  # floor(.15 x 8) of each window
        valid = torch.stack([torch.from_numpy(s.window.valid) for s in samples])
        stored = StoredRows(
            torch.randn(*valid.shape, encoder.channels), valid, valid, torch.ones_like(valid).long()
        )
        optimizer.zero_grad()
        network(stored, batch.clips, [sample_targets(s, 1) for s in samples]).losses["loss"].backward()
        optimizer.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(before[k], v)}
    moved = {k for k in changed if k.startswith("encoder.")}
    assert moved and all(k.startswith("encoder.adapters.") for k in moved)
    assert any(".up." in k for k in moved) and any(".down." in k for k in moved)
    assert any(k.startswith("localizer.") for k in changed)
