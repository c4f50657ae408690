"""Configuration: files, presets, settings, and errors that help."""

import pytest
import yaml

from pipelines.config import RunConfig, load_config, parse_config, read_tree, save_resolved
from pipelines.presets import find_preset, list_presets
from tal.errors import ConfigError


@pytest.mark.parametrize("name", sorted(list_presets()))
def test_every_preset_loads_describes_itself_and_survives_saving(name, tmp_path):
    config = load_config(name)
    assert config.description
    assert load_config(save_resolved(config, tmp_path)) == config


def test_settings_change_single_values_and_numbers_are_numbers(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("train: {epochs: 3}\nlocalizer: {decoder: {name: actionformer, embed_dim: 64}}\n")
    config = load_config(path, ["optim.lr=1e-4", "train.val_tiou=[0.5, 0.75]", "data.val_subset="])
    assert config.optim.lr == 1e-4 and config.train.val_tiou == (0.5, 0.75) and config.data.val_subset == ""
    assert config.train.epochs == 3 and config.localizer.decoder.embed_dim == 64
    assert load_config(path, ["train.epochs=5"]).train.epochs == 5
    # another decoder starts from its own defaults; the same one keeps what is set
    assert load_config(path, ["localizer.decoder.name=tridet"]).localizer.decoder.embed_dim == 512
    assert load_config(path, ["localizer.decoder.name=actionformer"]).localizer.decoder.embed_dim == 64


def test_extends_lays_a_file_over_a_preset_or_a_file(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: hapt\ntrain: {epochs: 7}\n")
    path = tmp_path / "mine.yaml"
    path.write_text("extends: base.yaml\noptim: {lr: 0.5}\n")
    config, hapt = load_config(path), load_config("hapt")
    assert config.train.epochs == 7 and config.optim.lr == 0.5
    assert config.train.batch_size == hapt.train.batch_size and config.window == hapt.window
    (tmp_path / "base.yaml").write_text("extends: mine.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        read_tree(path)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"trian": {}}, "unknown key `trian`; did you mean `train`?"),
        ({"train": {"epoch": 3}}, "unknown key `train.epoch`; did you mean `epochs`?"),
        ({"localizer": {"decoder": {"name": "actionformer", "embed_dims": 4}}}, "did you mean `embed_dim`?"),
        ({"inference": {"suppression": {"sigmas": 4}}}, "did you mean `sigma`?"),
        ({"localizer": {"decoder": {"name": "actionfomer"}}}, "actionformer"),
        ({"train": {"epochs": "many"}}, "`train.epochs`"),
        ({"optim": {"lr": -1}}, "`optim.lr`"),
        ({"train": {"batch_size": 4, "accumulate": 3}}, "batch_size 4 is no multiple"),
        ({"data": {"videos": "x"}}, "no `encoder` section"),
        (
            {"data": {"videos": "x"}, "encoder": {"clip_frames": 6}, "window": {"num_rows": 32}},
            "6 rows of a clip",
        ),
        ({"inference": {"row_weight": 0.5}}, "set localizer.row_loss"),
        ({"localizer": {"downsample": 4}, "window": {"num_rows": 30}}, "no multiple of localizer.downsample"),
    ],
)
def test_errors_name_the_key_and_what_would_fit(tree, said):
    with pytest.raises(ConfigError) as caught:
        parse_config(tree, "run.yaml")
    assert (
        said in str(caught.value)
        and "\n" not in str(caught.value)
        and str(caught.value).startswith("run.yaml")
    )


def test_what_is_neither_file_nor_preset_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(ConfigError, match="hapt"):
        load_config("hatp")
    with pytest.raises(ConfigError, match="write key=value"):
        load_config("hapt", ["train.epochs"])
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1")
    with pytest.raises(ConfigError, match=r"bad\.yaml cannot be read as YAML"):
        load_config(bad)
    bad.write_text("- 1\n")
    with pytest.raises(ConfigError, match="mapping"):
        load_config(bad)
    assert find_preset("hapt").name == "hapt.yaml"


def test_configurations_are_frozen_and_plain_yaml(tmp_path):
    config = RunConfig()
    with pytest.raises(ValueError, match="frozen"):
        config.train.epochs = 3
    text = save_resolved(config, tmp_path).read_text()
    assert yaml.safe_load(text)["train"]["epochs"] == config.train.epochs
