"""Fresh and stored rows in one window: equalities with the plain graph, for every decoder."""

import pytest
import torch
from torch import nn

from tal.decoders import Targets, list_decoders
from tal.encoders.streaming import encode_clips
from tal.localizer import Localizer, LocalizerConfig
from tal.localizer.age import AgeEmbedding
from tal.memory.mixing import ClipPlaces, StoredRows, lay_out, mix
from tal.memory.network import ClipFrames, MemoryNetwork, used_length

CHANNELS, CLIP, ROWS, WINDOW = 8, 4, 2, 32  # two frames a row, two rows a clip, 16 clips a window

SMALL = {
    "actionformer": {"embed_dim": 16, "head_dim": 16, "levels": 4, "heads": 2, "window": 5},
    "temporalmaxer": {"embed_dim": 16, "head_dim": 16, "levels": 4},
    "tridet": {"embed_dim": 16, "head_dim": 16, "levels": 4},
    "cltdr_gmg": {"embed_dim": 16, "head_dim": 16, "levels": 4},
    "daotad": {"channels": 16},
    "afsd": {"channels": 32, "labels": "segment"},
}


class TinyPreprocess:
    def normalise(self, frames):
        return frames.permute(0, 4, 1, 2, 3).to(torch.get_default_dtype()) / 127.5 - 1


class TinyEncoder(nn.Module):
    """Frames [M, 3, L, H, W] -> rows [M, C, L / 2]: every frame by itself, two averaged."""

    preprocess = TinyPreprocess()

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, CHANNELS, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, frames):
        x = self.conv(frames).tanh().mean((3, 4))  # [M, C, L]
        return x.unflatten(2, (-1, 2)).mean(3)


def localizer(name="actionformer", **kwargs):
    torch.manual_seed(1)
    decoder = {"name": name, **SMALL.get(name, {})}
    return Localizer(LocalizerConfig(decoder=decoder, width=16, **kwargs), CHANNELS, 3, WINDOW)


@pytest.fixture
def world():
    """An encoder, all frames of two windows, its rows as the store, and targets."""
    torch.manual_seed(0)
    encoder = TinyEncoder()
    frames = torch.randint(0, 256, (2, WINDOW * 2, 6, 6, 3), dtype=torch.uint8)
    valid = torch.ones(2, WINDOW, dtype=torch.bool)
    valid[1, 27:] = False
    targets = [
        Targets(torch.tensor([[3.0, 9.0], [12.5, 20.0]]), torch.tensor([0, 2])),
        Targets(torch.tensor([[5.0, 18.0]]), torch.tensor([1])),
    ]
    return encoder, frames, valid, targets


def clips_at(world, chosen):
    """`ClipFrames` of (sample, clip) pairs."""
    _, frames, _, _ = world
    cut = [frames[b, k * CLIP : (k + 1) * CLIP] for b, k in chosen]
    places = ClipPlaces(
        torch.tensor([b for b, _ in chosen], dtype=torch.long),
        torch.tensor([k * ROWS for _, k in chosen], dtype=torch.long),
    )
    return ClipFrames(torch.stack(cut), places, torch.ones(len(chosen), dtype=torch.bool))


def whole_window(encoder, world):
    """Rows [B, C, T] of everything, clip by clip, without the memory's code."""
    _, frames, _, _ = world
    rows = []
    for b in range(2):
        parts = [encode_clips(encoder, frames[b, None, s : s + CLIP])[0] for s in range(0, WINDOW * 2, CLIP)]
        rows.append(torch.cat(parts))
    return torch.stack(rows).transpose(1, 2)


def stored(rows, valid, age=7):
    return StoredRows(
        rows.detach().transpose(1, 2), valid, torch.ones_like(valid), torch.full(valid.shape, age)
    )


@pytest.fixture
def float64():
    """Norms of small maps enlarge the rounding of two summations; in double, equal stays equal."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("decoder", list_decoders())
def test_gradient_is_that_of_a_plain_graph_with_stored_rows_as_constants(float64, world, decoder):
    encoder, _, valid, targets = world
    old = torch.randn(2, CHANNELS, WINDOW)
    chosen = [(0, 1), (0, 9), (1, 0), (1, 12)]
    network = MemoryNetwork(
        encoder,
        localizer(decoder, downsample=2, tcm={"layers": 1, "heads": 2, "drop_path": 0.0, "start": "random"}),
    ).eval()
    output = network(stored(old, valid), clips_at(world, chosen), targets)
    network.zero_grad()
    output.losses["loss"].backward()
    got = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}

    network.zero_grad()
    fresh = whole_window(encoder, world)
    is_fresh = torch.zeros(2, 1, WINDOW, dtype=torch.bool)
    for b, k in chosen:
        is_fresh[b, 0, k * ROWS : (k + 1) * ROWS] = True
    features = torch.where(is_fresh, fresh, old) * valid[:, None]
    plain = network.localizer
    outputs = plain(features, valid[:, None])
    loss = plain.losses(outputs, targets)["loss"]
    loss.backward()
    torch.testing.assert_close(output.losses["loss"], loss)
    assert any(name.startswith("encoder.") for name in got)
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(got[name], parameter.grad, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("decoder", list_decoders())
def test_all_clips_fresh_is_the_plain_encoder_and_none_fresh_is_inference(world, decoder):
    encoder, _, valid, targets = world
    network = MemoryNetwork(encoder, localizer(decoder)).eval()
    rows = whole_window(encoder, world)
    outputs = network.localizer(rows * valid[:, None], valid[:, None])
    expected = network.localizer.losses(outputs, targets)

    everything = [(b, k) for b in range(2) for k in range(WINDOW // ROWS)]
    garbage = stored(torch.full_like(rows, float("1e3")), valid)
    fresh = network(garbage, clips_at(world, everything), targets)
    from_store = network(stored(rows, valid), None, targets)
    for name, value in expected.items():
        torch.testing.assert_close(fresh.losses[name], value, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(from_store.losses[name], value, atol=1e-5, rtol=1e-5)
    assert from_store.to_write is None


def test_mix_puts_rows_by_position_masks_and_ages():
    rows = torch.arange(2 * 6 * 1.0).view(2, 6, 1)
    valid = torch.tensor([[True] * 6, [True] * 5 + [False]])
    written = valid.clone()
    written[0, 5] = False
    before = StoredRows(rows, valid, written, torch.full((2, 6), 3))
    fresh = torch.tensor([[100.0, 101.0, 102.0, 103.0], [200.0, 201.0, 202.0, 203.0]])[..., None]
    # the second clip sticks out of the window at both ends of what is valid
    places = ClipPlaces(torch.tensor([0, 1]), torch.tensor([1, 4]))
    layout = lay_out(before, places, 4)
    features = mix(rows, layout.mask, fresh, layout.sample, layout.position, layout.row)
    assert features[0, 0].tolist() == [0, 100, 101, 102, 103, 0]  # never written, not fresh: nothing
    assert features[1, 0].tolist() == [6, 7, 8, 9, 200, 0]
    assert layout.mask[0, 0].tolist() == [True] * 5 + [False]
    assert layout.mask[1, 0].tolist() == [True] * 5 + [False]
    assert layout.age[0].tolist() == [3, 0, 0, 0, 0, 3]
    assert layout.fresh[1].tolist() == [False] * 4 + [True, False]
    assert layout.stored[0].tolist() == [True] + [False] * 5
    assert layout.replaced.tolist() == [True] * 5 + [False]  # behind the video's end there was nothing
    alone = lay_out(before, places, 4, fresh_only=True)
    assert alone.mask[1, 0].tolist() == [False] * 4 + [True, False]


def test_stochastic_backprop_encodes_all_and_learns_from_some(world):
    encoder, _, valid, targets = world
    network = MemoryNetwork(encoder, localizer()).eval()
    everything = [(b, k) for b in range(2) for k in range(WINDOW // ROWS)]
    clips = clips_at(world, everything)
    learn = torch.zeros(len(everything), dtype=torch.bool)
    learn[[2, 20]] = True
    some = ClipFrames(clips.frames, clips.places, learn)
    nothing = stored(torch.zeros(2, CHANNELS, WINDOW), valid)
    one = network(nothing, some, targets)
    network.zero_grad()
    one.losses["loss"].backward()
    got = encoder.conv.weight.grad.clone()
    rows = whole_window(encoder, world)
    with_memory = network(stored(rows, valid), clips_at(world, [everything[2], everything[20]]), targets)
    network.zero_grad()
    with_memory.losses["loss"].backward()
    torch.testing.assert_close(one.losses["loss"], with_memory.losses["loss"])
    torch.testing.assert_close(got, encoder.conv.weight.grad, atol=1e-6, rtol=1e-4)


def test_canonical_rows_come_from_the_clean_pictures(world):
    encoder, _, valid, targets = world
    network = MemoryNetwork(encoder, localizer())
    chosen = [(0, 3), (1, 5)]
    clean = clips_at(world, chosen)
    noisy = ClipFrames(255 - clean.frames, clean.places, clean.learn, clean.frames)
    output = network(stored(torch.zeros(2, CHANNELS, WINDOW), valid), noisy, targets)
    torch.testing.assert_close(output.to_write, encode_clips(encoder, clean.frames))
    assert not output.to_write.requires_grad and encoder.training


def test_age_embedding_changes_nothing_before_it_is_learnt_and_tells_ages_apart():
    embed = AgeEmbedding(4)
    x = torch.randn(1, 4, 6)
    age = torch.tensor([[0, 1, 2, 3, 4, 70000]])
    assert torch.equal(embed(x, age), x)
    assert AgeEmbedding.bucket(age).tolist() == [[0, 1, 2, 2, 3, 17]]
    nn.init.normal_(embed.table.weight)
    assert torch.equal(embed(x, torch.zeros_like(age)), embed(x, None))


@pytest.mark.parametrize("decoder", list_decoders())
def test_every_decoder_learns_from_ages_and_takes_windows_longer_than_learnt(world, decoder):
    _, _, valid, targets = world
    tcm = {"layers": 1, "heads": 2, "drop_path": 0.0, "start": "random"}
    options = {"age_embedding": True, "downsample": 2, "tcm": tcm}
    network = localizer(decoder, **options).eval()
    torch.manual_seed(2)
    features, mask = torch.randn(2, CHANNELS, WINDOW), valid[:, None]
    age = torch.arange(2 * WINDOW).view(2, WINDOW)
    ageless = network.losses(network(features, mask), targets)["loss"]
    aged = network.losses(network(features, mask, age), targets)["loss"]
    torch.testing.assert_close(aged, ageless)  # nothing is learnt yet
    aged.backward()
    table = network.age.table.weight
    assert (table.grad.abs().sum(1) > 0).tolist() == [k < 7 for k in range(len(table))]  # ages up to 63
    with torch.no_grad():
        table.sub_(table.grad)
        assert network.losses(network(features, mask, age), targets)["loss"] != aged
        # three times the window that the position bias was learnt for
        long = torch.cat([features, torch.randn(2, CHANNELS, 2 * WINDOW)], 2)
        known = torch.cat([mask, torch.ones(2, 1, 2 * WINDOW, dtype=torch.bool)], 2)
        found = network.candidates(network(long, known))
    assert network.tcm.layers[0].bias.max_positions == WINDOW // 2
    assert all(torch.isfinite(c.segments).all() and torch.isfinite(c.scores).all() for c in found)
    assert max(float(c.segments.max()) for c in found) > WINDOW / 2


def test_common_padding_is_cut_to_one_of_sixteen_lengths():
    lengths = set()
    for last in range(161):
        mask = torch.zeros(2, 1, 160, dtype=torch.bool)
        mask[0, 0, :last] = True
        lengths.add(length := used_length(mask, 4))
        assert last <= length <= last + 12 and length % 4 == 0
    assert len(lengths) <= 16 and max(lengths) == 160
