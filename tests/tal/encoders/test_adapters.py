"""Adapters: the formula, the start, what learns and what rests; a row depends on its own clip alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tal.encoders import Encoder, EncoderConfig, build_encoder, feature_spec
from tal.encoders.adapters.bottleneck import Bottleneck
from tal.encoders.adapters.low_rank import merged
from tal.encoders.base import is_adapter
from tal.errors import ConfigError, WeightsError
from tal.shared.weights import contiguous
from tests.tal.encoders.tiny import clips, config, plain

TRANSFORMERS = ("hf:videomae", "hf:vjepa2", "swin3d_t", "timm:test_vit")
NETWORKS = (*TRANSFORMERS, "timm:test_resnet", "timm:test_efficientnet")
CASES = [(n, k) for n in NETWORKS for k in ("temporal", "plain", "lora") if k != "lora" or n in TRANSFORMERS]


def adapted(name: str, kind: str = "temporal", **more: object) -> Encoder:
    changes = {key: more.pop(key) for key in ("frozen_stages", "checkpointing") if key in more}
    return build_encoder(config(name, adapter={"kind": kind, **more}, **changes))


def shaken(encoder: Encoder) -> Encoder:
    """Adapters as training leaves them: none of their tensors is zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if is_adapter(name):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return encoder


def by_hand(adapter: Bottleneck, x: Tensor, kernel: int) -> Tensor:
    """The formula in loops: x [B, T, S, C]."""
    state = adapter.state_dict()
    batch, steps, places, _ = x.shape
    out = x.clone()
    for b in range(batch):
        for s in range(places):
            z = []
            for t in range(steps):
                v = x[b, t, s]
                if "norm.weight" in state:
                    v = (v - v.mean()) / (v.var(unbiased=False) + 1e-5).sqrt()
                    v = v * state["norm.weight"] + state["norm.bias"]
                z.append(F.gelu(state["down.weight"] @ v + state["down.bias"]))
            for t in range(steps):
                w = z[t]
                if kernel:
                    mixed = state["depthwise.bias"].clone()
                    for k in range(kernel):
                        at = t + k - kernel // 2
                        if 0 <= at < steps:
                            mixed = mixed + state["depthwise.weight"][:, 0, k] * z[at]
                    w = w + state["pointwise.weight"] @ mixed + state["pointwise.bias"]
                out[b, t, s] += state["scale"] * (state["up.weight"] @ w + state["up.bias"])
    return out


@pytest.mark.parametrize(("kernel", "norm"), [(3, False), (5, True), (0, False)])
def test_the_bottleneck_is_the_papers_formula(kernel: int, norm: bool) -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(6, 3, kernel, norm)
    for parameter in adapter.parameters():
        parameter.data = torch.randn(parameter.shape)
    x = torch.randn(2, 4, 3, 6)
    with torch.no_grad():
        torch.testing.assert_close(adapter(x), by_hand(adapter, x, kernel), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_rows_at_the_start_are_the_plain_encoders(name: str, kind: str) -> None:
    encoder, frames = adapted(name, kind), clips(name)
    with torch.no_grad():
        assert torch.equal(encoder(frames), plain(name)(frames))
        assert encoder.weights_sha256 == plain(name).weights_sha256
        assert encoder.adapter_sha256 == ""
        rows = shaken(encoder)(frames)
    assert (rows - plain(name)(frames)).abs().max() > 1e-4
    assert len(encoder.adapter_sha256) == 64
    assert torch.isfinite(rows).all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_row_depends_on_its_own_clip_alone(name: str, kind: str) -> None:
    encoder, frames = shaken(adapted(name, kind)), clips(name, 3)
    changed = frames.clone()
    changed[1] += 1
    with torch.no_grad():
        rows, others = encoder(frames), encoder(changed)
    assert torch.equal(rows[[0, 2]], others[[0, 2]]) and not torch.equal(rows[1], others[1])


@pytest.mark.parametrize("name", [n for n in NETWORKS if n.startswith("timm:")])
def test_temporal_adapters_give_a_per_frame_network_motion(name: str) -> None:
    """The first picture's row changes with the second picture."""

    def encoder(kind: str) -> Encoder:
        settings = {"frame_stride": 1, "temporal_shift": False}
        return shaken(build_encoder(config(name, adapter={"kind": kind}, **settings)))

    frames = clips(name)
    changed = frames.clone()
    changed[:, :, 1] += 1
    temporal, single = encoder("temporal"), encoder("plain")
    with torch.no_grad():
        assert not torch.equal(temporal(frames)[:, :, 0], temporal(changed)[:, :, 0])
        torch.testing.assert_close(single(frames)[:, :, 0], single(changed)[:, :, 0])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_adapters_alone_learn_and_all_else_rests(name: str, kind: str) -> None:
    encoder = shaken(adapted(name, kind))
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder.train()
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    encoder(clips(name)).square().mean().backward()
    assert not [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None]
    optimizer.step()
    changed = {k for k, v in encoder.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(is_adapter(k) for k in changed)
    assert encoder.resting == {k for k in before if not is_adapter(k)}
    assert not any(m.training for m in encoder.model.modules() if not list(m.children()))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_nothing_below_the_first_adapter_carries_gradient(name: str) -> None:
    encoder = adapted(name, frozen_stages=1)
    stages = encoder.stages()
    seen: dict[int, bool] = {}

    def note(number: int) -> object:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            x = output[0] if isinstance(output, tuple) else output
            seen[number] = x.requires_grad

        return hook

    for number, parts in enumerate(stages):
        last = next(p for p in reversed(parts) if isinstance(p, nn.Module))
        last.register_forward_hook(note(number))
    encoder.train()
    encoder(clips(name))
    assert seen == {number: number > 1 for number in range(len(stages))}
    with pytest.raises(ConfigError, match=r"blocks behind encoder\.frozen_stages 1"):
        adapted(name, frozen_stages=1, blocks=99)


def test_the_last_blocks_alone_and_learning_stages() -> None:
    encoder = adapted("hf:videomae", blocks=1, learning_stages=1)
    learning = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert {n.split(".")[1] for n in learning if is_adapter(n)} == {"0"}
    own = {n for n in learning if not is_adapter(n)}
    assert own and all(".encoder.layer.1." in f".{n}" for n in own)
    assert not encoder.resting & learning
    encoder.train()
    modes = {n: m.training for n, m in encoder.named_modules() if "encoder.layer." in n}
    assert {n.split("layer.")[1][0] for n, on in modes.items() if on} == {"1"}
    with pytest.raises(ConfigError, match="that is more"):
        adapted("hf:videomae", learning_stages=2, frozen_stages=1)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_low_rank_parts_are_merged_into_their_weights(name: str) -> None:
    encoder, frames = shaken(adapted(name, "lora")), clips(name)
    state = merged(encoder.state_dict())
    other = build_encoder(config(name))
    other.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(other(frames), encoder(frames), atol=1e-5, rtol=1e-5)


def test_checkpointing_changes_nothing() -> None:
    encoder, frames = shaken(adapted("hf:videomae")).train(), clips("hf:videomae")
    encoder(frames).square().mean().backward()
    second = adapted("hf:videomae", checkpointing=True).train()
    second.load_state_dict(encoder.state_dict())
    second(frames).square().mean().backward()
    for (key, a), (_, b) in zip(encoder.named_parameters(), second.named_parameters(), strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, msg=key)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes no adapters"):
        adapted("r2plus1d_18")
    with pytest.raises(ConfigError, match="no attention in its blocks"):
        adapted("timm:test_resnet", "lora")
    with pytest.raises(ValueError, match="kernel must be odd, not 4"):
        EncoderConfig.model_validate({"adapter": {"kernel": 4}})


def window_wide(adapter: Bottleneck, tokens: Tensor) -> Tensor:
    """AdaTAD's own: the convolution over all clips of a window, [n, T, S, C] -> the same."""
    whole = tokens.flatten(0, 1)[None]  # [1, n * T, S, C]
    return adapter(whole).unflatten(1, tokens.shape[:2])[0]


def test_only_the_borders_of_clips_differ_from_adatads_window() -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(6, 3, 3, norm=False)
    for parameter in adapter.parameters():
        parameter.data = torch.randn(parameter.shape)
    tokens = torch.randn(4, 8, 2, 6)
    with torch.no_grad():
        local, wide = adapter(tokens), window_wide(adapter, tokens)
    torch.testing.assert_close(local[:, 1:-1], wide[:, 1:-1])
    torch.testing.assert_close(local[0, 0], wide[0, 0])
    assert not torch.allclose(local[1:, 0], wide[1:, 0])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_adapters_go_on_from_what_they_had_learnt(tmp_path: Path, name: str, kind: str) -> None:
    encoder, frames, file = shaken(adapted(name, kind)), clips(name), tmp_path / "learnt.safetensors"
    published = {k: v for k, v in merged(encoder.state_dict()).items() if k not in encoder.resting}
    save_file(contiguous(published), file)
    again = build_encoder(config(name, adapter={"kind": kind}, adapter_weights=str(file)))
    with torch.no_grad():
        torch.testing.assert_close(again(frames), encoder(frames), atol=1e-5, rtol=1e-5)
    assert again.weights_sha256 == encoder.weights_sha256
    assert feature_spec(again, 5.0).differences(feature_spec(encoder, 5.0)).keys() == {"extra"}
    # a low-rank part's weight is no longer as published
    taken_in = {k for k in encoder.resting if k.endswith(".original")}
    assert encoder.resting - again.resting == taken_in and bool(taken_in) == (kind == "lora")
    save_file(contiguous({**published, "model.more": torch.zeros(1)}), file)
    with pytest.raises(WeightsError, match=r"unexpected: model\.more"):
        build_encoder(config(name, adapter={"kind": kind}, adapter_weights=str(file)))


def test_learnt_adapters_need_adapters() -> None:
    with pytest.raises(ValueError, match="needs the adapters"):
        config("timm:test_vit", adapter_weights="learnt.safetensors")
