"""VideoMAE and V-JEPA 2 against the library's own networks, tiny and random: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEModel,
    VJEPA2Config,
    VJEPA2Model,
)

from tal.encoders import Encoder, EncoderConfig, build_encoder, self_contained
from tal.encoders.registry import find_entry
from tal.encoders.videomae import position_table
from tal.errors import ConfigError, WeightsError
from tests.tal.encoders.tiny import VIDEOMAE, VJEPA2

PREDICTOR = {"pred_hidden_size": 12, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}


def settings(tree: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {k: v for k, v in {**tree, **more}.items() if k != "model_type"}


def random_(network: torch.nn.Module) -> Any:
    """Weights of which none is zero or one, so that each tensor that is left out or mixed up shows."""
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def encoder_of(name: str, crop: int = 32, **more: Any) -> Encoder:
    given = {"weights": "pretrained", "clip_frames": 8, "frame_stride": 2, "size": 64, "crop": crop, **more}
    return build_encoder(EncoderConfig.model_validate({"name": name, **given}))


def frames(length: int = 8, side: int = 32) -> Tensor:
    return torch.randn(2, 3, length, side, side, generator=torch.Generator().manual_seed(0))


def pooled(tokens: Tensor, steps: int) -> Tensor:
    """[B, steps * n, C] -> [B, C, steps], in a loop."""
    per_step = tokens.shape[1] // steps
    rows = [tokens[:, i * per_step : (i + 1) * per_step].mean(1) for i in range(steps)]
    return torch.stack(rows, dim=2)


@pytest.fixture
def videomae(tmp_path: Path) -> tuple[Path, Any]:
    torch.manual_seed(0)
    network = random_(VideoMAEModel(VideoMAEConfig(**settings(VIDEOMAE))))
    network.save_pretrained(tmp_path / "mae")
    return tmp_path / "mae", network


@pytest.mark.parametrize("normed", [True, False])
def test_videomae_rows_are_the_librarys_tokens_pooled(tmp_path: Path, normed: bool) -> None:
    network = random_(VideoMAEModel(VideoMAEConfig(**settings(VIDEOMAE, use_mean_pooling=not normed))))
    network.save_pretrained(tmp_path)
    encoder, x = encoder_of(f"hf:{tmp_path}"), frames()
    with torch.no_grad():
        tokens = network(x.transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(encoder(x), pooled(tokens, 4), atol=1e-5, rtol=1e-5)


def test_videomae_at_another_size_resizes_the_pretrainings_table(videomae: tuple[Path, Any]) -> None:
    path, network = videomae
    encoder, x = encoder_of(f"hf:{path}", crop=48), frames(side=48)

    def reference(table: Tensor) -> Tensor:
        """The library's blocks on tokens with this position table [1, n, C]."""
        tokens = network.embeddings.patch_embeddings.projection(x).flatten(2).transpose(1, 2) + table
        return pooled(network.encoder(tokens).last_hidden_state, 4)

    native = network.embeddings.position_embeddings  # [1, 4 * 4 * 4, C]
    steps = [F.interpolate(s.T.reshape(1, -1, 4, 4), (6, 6), mode="bicubic") for s in native[0].split(16)]
    resized = torch.cat([s.flatten(2).transpose(1, 2) for s in steps], dim=1)
    fresh = VideoMAEModel(VideoMAEConfig(**settings(VIDEOMAE, image_size=48))).embeddings.position_embeddings
    with torch.no_grad():
        rows = encoder(x)
        torch.testing.assert_close(rows, reference(resized), atol=1e-5, rtol=1e-5)
        assert (rows - reference(fresh)).abs().max() > 0.01


def test_position_table_is_the_librarys_at_native_size() -> None:
    theirs = VideoMAEModel(VideoMAEConfig(**settings(VIDEOMAE))).embeddings.position_embeddings[0]
    torch.testing.assert_close(position_table(4, 4, 4, 24), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("length", "crop"), [(8, 32), (6, 32), (10, 48)])
def test_vjepa2_rows_are_the_librarys_tokens_pooled(tmp_path: Path, length: int, crop: int) -> None:
    kept = random_(VJEPA2Model(VJEPA2Config(**settings(VJEPA2), **PREDICTOR)))
    kept.save_pretrained(tmp_path)
    resized = VJEPA2Model.from_pretrained(tmp_path, crop_size=crop).eval()
    encoder, x = encoder_of(f"hf:{tmp_path}", crop=crop, clip_frames=length), frames(length, crop)
    with torch.no_grad():
        tokens = resized(x.transpose(1, 2), skip_predictor=True).last_hidden_state
        torch.testing.assert_close(encoder(x), pooled(tokens, length // 2), atol=1e-5, rtol=1e-5)
        if crop != 32:  # the library takes another size without a word, and gives other features
            wrong = kept(x.transpose(1, 2), skip_predictor=True).last_hidden_state
            assert (encoder(x) - pooled(wrong, length // 2)).abs().max() > 1e-3


def original(state: dict[str, Tensor], mmaction: bool) -> dict[str, Tensor]:
    """The library's names and tensors as the original release, or mmaction, writes them."""
    names = {
        "embeddings.patch_embeddings.projection": "patch_embed.projection"
        if mmaction
        else "patch_embed.proj",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.layers.0.0" if mmaction else "mlp.fc1",
        "output.dense": "mlp.layers.1" if mmaction else "mlp.fc2",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
    }
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.replace("encoder.layer.", "blocks.")
        for theirs, ours in names.items():
            if theirs in name:
                name = name.replace(theirs, ours)
                break
        if name.endswith("attention.query.weight"):
            rest = [state[key.replace("query", other)] for other in ("key", "value")]
            name, value = name.replace("attention.attention.query", "attn.qkv"), torch.cat([value, *rest])
        name = name.replace("attention.attention.query.bias", "attn.q_bias")
        name = name.replace("attention.attention.value.bias", "attn.v_bias")
        if ".attention." not in name:
            result[("backbone." if mmaction else "") + name] = value
    return result


def test_original_and_mmaction_checkpoints_give_the_same_rows(
    videomae: tuple[Path, Any], tmp_path: Path
) -> None:
    path, network = videomae
    state = {k: v.clone() for k, v in network.state_dict().items()}
    unused = {"head.weight": torch.zeros(5, 24), "fc_norm.weight": torch.ones(24)}
    table = {"pos_embed": torch.zeros(1, 64, 24)}
    first, second = original(state, mmaction=False), original(state, mmaction=True)
    assert len(first) == len(second) == len(state) - 2 * 2  # in each block query, key, value are one
    pretraining = {f"encoder.{k}": v for k, v in first.items()} | {
        "decoder.blocks.0.norm1.bias": torch.ones(2)
    }
    torch.save({"module": {**first, **unused}}, tmp_path / "original.pth")
    torch.save({"model": {**pretraining, "mask_token": torch.zeros(1)}}, tmp_path / "pretraining.pth")
    cls_head = {"cls_head.fc_cls.weight": torch.zeros(5, 24)}
    torch.save({"state_dict": {**second, **cls_head}}, tmp_path / "mmaction.pth")
    save_file({f"model.{k}": v for k, v in {**first, **table}.items()}, tmp_path / "v2.safetensors")
    x = frames()
    expected = encoder_of(f"hf:{path}")(x)
    for name in ("original.pth", "pretraining.pth", "mmaction.pth", "v2.safetensors"):
        assert torch.equal(encoder_of(f"hf:{path}", weights=str(tmp_path / name))(x), expected), name


def test_older_files_and_whole_models_of_the_library_are_read(tmp_path: Path) -> None:
    classifier = random_(VideoMAEForVideoClassification(VideoMAEConfig(**settings(VIDEOMAE))))
    classifier.save_pretrained(tmp_path)
    x = frames()
    with torch.no_grad():
        expected = pooled(classifier.videomae(x.transpose(1, 2)).last_hidden_state, 4)
    rows = encoder_of(f"hf:{tmp_path}")(x)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    older = {k.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): v for k, v in state.items()}
    save_file({k.replace(".attention.q_bias", ".q_bias"): v for k, v in older.items()}, file)
    with pytest.raises(WeightsError, match="missing"):  # a bias at a place that no file has
        encoder_of(f"hf:{tmp_path}")
    save_file(older, file)
    assert torch.equal(encoder_of(f"hf:{tmp_path}")(x), rows)
    pretraining = random_(
        VideoMAEForPreTraining(VideoMAEConfig(**settings(VIDEOMAE, use_mean_pooling=False)))
    )
    pretraining.save_pretrained(tmp_path / "pretraining")
    with torch.no_grad():
        expected = pooled(pretraining.videomae(x.transpose(1, 2)).last_hidden_state, 4)
    rows = encoder_of(f"hf:{tmp_path / 'pretraining'}")(x)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)


def test_a_file_in_parts_and_statistics_of_the_pictures(videomae: tuple[Path, Any]) -> None:
    path, network = videomae
    whole = encoder_of(f"hf:{path}")(frames())
    (path / "model.safetensors").unlink()
    network.save_pretrained(path, max_shard_size="20KB")
    assert (path / "model.safetensors.index.json").is_file()
    statistics = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]}
    (path / "preprocessor_config.json").write_text(json.dumps(statistics))
    encoder = encoder_of(f"hf:{path}")
    assert torch.equal(encoder(frames()), whole)
    assert (encoder.preprocess.mean, encoder.preprocess.std) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    index = path / "model.safetensors.index.json"
    tree = json.loads(index.read_text())
    tree["weight_map"] = dict.fromkeys(tree["weight_map"], "../mae/model-00001-of-00002.safetensors")
    index.write_text(json.dumps(tree))
    with pytest.raises(WeightsError, match="is not there"):
        encoder_of(f"hf:{path}")


def test_opengvlabs_configuration_is_read(tmp_path: Path) -> None:
    network = random_(VideoMAEModel(VideoMAEConfig(**settings(VIDEOMAE))))
    v2 = {"img_size": 32, "patch_size": 8, "num_frames": 8, "tubelet_size": 2, "embed_dim": 24, "depth": 2}
    v2 |= {"num_heads": 2, "mlp_ratio": 2, "use_mean_pooling": True}
    tree = {"model_type": "VideoMAEv2_Base", "model_config": v2, "auto_map": {"AutoModel": "evil.Code"}}
    (tmp_path / "config.json").write_text(json.dumps(tree))
    state = original({k: v.clone() for k, v in network.state_dict().items()}, mmaction=False)
    save_file({f"model.{k}": v for k, v in state.items()}, tmp_path / "model.safetensors")
    with torch.no_grad():
        expected = pooled(network(frames().transpose(1, 2)).last_hidden_state, 4)
    torch.testing.assert_close(encoder_of(f"hf:{tmp_path}")(frames()), expected, atol=1e-5, rtol=1e-5)


def test_sides_that_a_configuration_gives_as_pairs_are_described(tmp_path: Path) -> None:
    tree = {"model_type": "videomae", "image_size": [224, 224], "patch_size": [14, 14], "hidden_size": 24}
    (tmp_path / "config.json").write_text(json.dumps(tree))
    entry = find_entry(f"hf:{tmp_path}")
    assert entry is not None and (entry.crop, entry.crop_multiple) == (224, 14)


def test_what_cannot_be_right_is_refused_with_both_numbers(videomae: tuple[Path, Any]) -> None:
    name = f"hf:{videomae[0]}"
    with pytest.raises(ConfigError, match=r"clips of 8 frames .* not 16"):
        encoder_of(name, clip_frames=16)
    with pytest.raises(ConfigError, match=r"crop 36 is not a multiple .* 8 pixels"):
        encoder_of(name, crop=36)
    with pytest.raises(ConfigError, match="multiple of 2, not 1"):
        encoder_of(name, frame_stride=1)
    with pytest.raises(ConfigError, match=r"\[32, 32\] for an encoder of crop 48"):
        encoder_of(name, crop=48)(frames())
    wrong = {**VIDEOMAE, "hidden_size": 384, "num_attention_heads": 16}
    with pytest.raises(ConfigError, match=r"16 attention heads, .* width 384 .* with 6"):
        encoder_of("hf:small", weights=None, settings=wrong)
    with pytest.raises(ConfigError, match="stochastic depth"):
        encoder_of(name, drop_path=0.1)
    with pytest.raises(ConfigError, match="'bert'"):
        encoder_of("hf:text", weights=None, settings={"model_type": "bert"})
    with pytest.raises(ConfigError, match=r"those of videomae_s are known"):
        encoder_of("videomae_s", weights=None, clip_frames=16, settings=dict(VIDEOMAE))


def test_bad_files_are_named(videomae: tuple[Path, Any], tmp_path: Path) -> None:
    path, network = videomae
    state = original({k: v.clone() for k, v in network.state_dict().items()}, mmaction=False)
    file = tmp_path / "w.pth"
    torch.save({**state, "blocks.0.surprise.weight": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match=r"no place in a VideoMAE: blocks\.0\.surprise"):
        encoder_of(f"hf:{path}", weights=str(file))
    torch.save({k: v for k, v in state.items() if "blocks.1.norm2" not in k}, file)
    with pytest.raises(WeightsError, match=r"2 missing: encoder\.layer\.1\.layernorm_after"):
        encoder_of(f"hf:{path}", weights=str(file))
    torch.save({**state, "blocks.0.attn.qkv.bias": torch.ones(72)}, file)
    with pytest.raises(WeightsError, match="gives keys a bias"):
        encoder_of(f"hf:{path}", weights=str(file))
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"no model\.safetensors: other files are not read"):
        encoder_of(f"hf:{path}")
    (path / "config.json").write_text("[")
    with pytest.raises(WeightsError, match=r"config\.json: not JSON"):
        encoder_of(f"hf:{path}")


def test_the_hub_out_of_reach_is_said_with_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"hf download owner/network --local-dir FOLDER"):
        encoder_of("hf:owner/network")
    with pytest.raises(ConfigError, match="neither a folder that is there nor the name of a repository"):
        encoder_of("hf:not a name!")


def test_a_run_keeps_the_networks_configuration(videomae: tuple[Path, Any]) -> None:
    path, _ = videomae
    config = EncoderConfig(name=f"hf:{path}", clip_frames=8, frame_stride=2, size=32, crop=32)
    kept = self_contained(config)
    before = build_encoder(config)
    entry = find_entry(config.name)
    assert entry is not None
    assert (entry.channels, entry.frame_stride, entry.clip_frames, entry.crop) == (24, 2, 8, 32)
    (path / "config.json").unlink()
    after = build_encoder(kept)
    assert after.weights_sha256 == before.weights_sha256
    assert before.name == "hf:mae"
    assert self_contained(kept) is kept
    with pytest.raises(WeightsError, match=r"no config\.json"):
        build_encoder(config)
