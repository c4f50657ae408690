"""Configuration: files, presets, settings, and errors that help."""

import pytest
import yaml

from pipelines.config import RunConfig, load_config, nested, parse_config, read_tree, save_resolved
from pipelines.presets import find_preset, list_parts, list_presets
from pipelines.shared.config_paths import with_absolute_paths
from pipelines.train import saved_config
from tal.errors import ConfigError


def elsewhere(config):
    """A configuration as one reads that was saved into another folder than its data's."""
    return parse_config(with_absolute_paths(config.model_dump()))


@pytest.mark.parametrize("name", sorted(list_presets()))
def test_every_preset_loads_describes_itself_and_survives_saving(name, tmp_path):
    config = load_config(name)
    assert config.description
    assert load_config(save_resolved(config, tmp_path)) == elsewhere(config)


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


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_of_several_parents_the_later_lies_over_the_earlier_and_the_file_over_both(tmp_path):
    write(
        tmp_path,
        a="train: {epochs: 1, batch_size: 6}\noptim: {lr: 0.1}\nnotes: {optim.lr: tried}\n",
        b="train: {epochs: 2}\noptim: {lr: 0.2}\nnotes: {optim.lr: chosen, train.epochs: enough}\n",
        mine="extends: [a.yaml, b.yaml]\noptim: {gamma: 0.3}\nnotes: {train.epochs: ''}\n",
    )
    config = load_config(tmp_path / "mine.yaml")
    assert (config.train.epochs, config.train.batch_size) == (2, 6)
    assert (config.optim.lr, config.optim.gamma) == (0.2, 0.3)
    assert config.notes == {"optim.lr": "chosen"}
    write(tmp_path, mine="extends: [b.yaml, a.yaml]\n")
    assert load_config(tmp_path / "mine.yaml").optim.lr == 0.1


def test_a_section_of_another_name_replaces_and_one_without_a_name_mixes(tmp_path):
    write(
        tmp_path,
        tridet="localizer: {decoder: {name: tridet, num_bins: 9, embed_dim: 64}}\n",
        data="localizer: {decoder: {levels: 4}}\n",
        former="localizer: {decoder: {name: actionformer, heads: 2}}\n",
    )

    def decoder(*parents):
        write(tmp_path, mine=f"extends: [{', '.join(f'{p}.yaml' for p in parents)}]\n")
        return read_tree(tmp_path / "mine.yaml")["localizer"]["decoder"]

    both = {"name": "tridet", "num_bins": 9, "embed_dim": 64, "levels": 4}
    assert decoder("tridet", "data") == decoder("data", "tridet") == both
    assert decoder("tridet", "former") == {"name": "actionformer", "heads": 2}


def test_a_file_may_be_reached_twice_but_not_through_itself(tmp_path):
    write(
        tmp_path,
        root="train: {epochs: 3}\n",
        a="extends: root.yaml\n",
        b="extends: [root.yaml]\ntrain: {batch_size: 6}\n",
        mine="extends: [a.yaml, b.yaml]\n",
    )
    assert load_config(tmp_path / "mine.yaml").train.epochs == 3
    write(tmp_path, root="extends: [hapt, b.yaml]\n")
    with pytest.raises(ConfigError, match="circle"):
        read_tree(tmp_path / "mine.yaml")


def test_a_parent_that_is_not_there_is_named_with_the_nearest(tmp_path):
    write(tmp_path, mine="extends: [hapt, decoder/cltdr-realese]\n", wrong="extends: {hapt: 1}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: `extends`: .*did you mean decoder/cltdr-release"):
        load_config(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match="a name or a list of names"):
        load_config(tmp_path / "wrong.yaml")


def test_parts_are_for_extending_and_every_one_is_used():
    used = set()
    for path in (list_presets() | list_parts()).values():
        parents = yaml.safe_load(path.read_text(encoding="utf-8")).get("extends", [])
        used |= {parents} if isinstance(parents, str) else set(parents)
    assert set(list_parts()) <= used
    assert not set(list_parts()) & set(list_presets())
    with pytest.raises(ConfigError, match="part of presets"):
        load_config("data/thumos14-features")


def test_dotted_keys_become_sections():
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert nested({"a.b": 5, "d.e": 6, "f": [7]}, base) == {"a": {"b": 5, "c": 2}, "d": {"e": 6}, "f": [7]}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}


OLD, NEW = "memory.settle_epochs", "memory.finetune_localizer_epochs"


def test_an_old_name_of_a_key_still_works_and_the_log_says_the_new_one(tmp_path, said):
    old_parent, child = tmp_path / "old.yaml", tmp_path / "child.yaml"
    old_parent.write_text(f"extends: gym\nmemory: {{settle_epochs: 2}}\nnotes: {{{OLD}: mine}}\n")
    child.write_text("extends: old.yaml\nmemory: {finetune_localizer_epochs: 1}\n")
    config = load_config(old_parent)
    assert config.memory.finetune_localizer_epochs == 2
    assert config.notes[NEW] == "mine" and OLD not in config.notes
    assert said == [f"{old_parent}: `{OLD}` is called `{NEW}` now; the old name still works"]
    # one that is laid over another replaces it, whatever name each has
    assert load_config(child).memory.finetune_localizer_epochs == 1
    said.clear()
    assert load_config("gym", [f"{OLD}=4"]).memory.finetune_localizer_epochs == 4
    assert said == [f"--set: `{OLD}` is called `{NEW}` now; the old name still works"]


def test_a_run_that_was_saved_with_an_old_name_is_read(tmp_path):
    path = save_resolved(load_config("gym"), tmp_path)
    path.write_text(path.read_text().replace("finetune_localizer_epochs: 3", "settle_epochs: 3"))
    assert saved_config(tmp_path) == elsewhere(load_config("gym"))


def test_a_key_under_both_names_is_refused():
    memory = {"settle_epochs": 1, "finetune_localizer_epochs": 2}
    with pytest.raises(ConfigError, match=r"old name of `memory\.finetune_localizer_epochs`: give one"):
        parse_config({"memory": memory})


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
        ({"train": {"batch_size": 4, "accumulate": 3}}, "batch_size 4 is not a multiple"),
        ({"data": {"videos": "x"}}, "no `encoder` section"),
        (
            {"data": {"videos": "x"}, "encoder": {"clip_frames": 6}, "window": {"num_rows": 32}},
            "6 rows of a clip",
        ),
        ({"inference": {"row_weight": 0.5}}, "set localizer.row_loss"),
        (
            {"inference": {"row_weight": 0.5, "resize_rows": 128}, "localizer": {"row_loss": 1}},
            "goes not with inference.row_weight",
        ),
        (
            {"localizer": {"downsample": 4}, "window": {"num_rows": 30}},
            "not a multiple of localizer.downsample",
        ),
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
