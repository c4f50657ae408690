"""Every key of a configuration with values of other kinds: an error that names the key, never a guess."""

import pytest

from benchmarks.fuzz.configurations import leaves, wrong_values
from pipelines.config import RunConfig, load_config, nested, parse_config, save_resolved
from tal.errors import ConfigError

LEAVES = list(leaves())
# The adapter is off unless it is named, and so are others of an encoder's keys.
ENCODER = {"encoder.name": "timm:test_efficientnet"}


def test_all_sections_are_looked_at():
    keys = {key.rpartition(".")[0] for key, _, _ in LEAVES}
    assert {name for name in RunConfig.model_fields if name not in ("description", "notes")} <= keys
    assert {"localizer.decoder", "inference.suppression", "encoder.adapter", "localizer.tcm"} <= keys
    assert len(LEAVES) > 200


@pytest.mark.parametrize(("key", "annotation", "needs"), LEAVES)
def test_a_value_of_another_kind_is_refused_by_its_key(key, annotation, needs):
    around = needs | (ENCODER if key.startswith("encoder.") else {})
    for value in wrong_values(annotation):
        with pytest.raises(ConfigError) as refused:
            parse_config(nested(around | {key: value}))
        place, said = key.split("."), str(refused.value)
        assert all(name in said for name in place), f"{key} = {value!r}: {said}"


@pytest.mark.parametrize("section", ["data", "optim", "train.", "localizer.decoder", "encoder", "window"])
@pytest.mark.parametrize("value", [5, "text", [1], True])
def test_a_section_is_a_mapping(section, value):
    section = section.rstrip(".")
    with pytest.raises(ConfigError, match=section.rpartition(".")[2]):
        parse_config(nested({section: value}))


def test_numbers_as_people_write_them(tmp_path):
    """1e-3 is a number here, also without the point that YAML 1.1 wants."""
    file = tmp_path / "a.yaml"
    file.write_text(
        "optim: {lr: 1e-3, weight_decay: 5E-2, gamma: 1.e-1, momentum: .9}\ntrain: {epochs: 1e1}\n"
    )
    config = load_config(file, ["optim.min_lr_factor=1e-5", "train.batch_size=8"])
    assert (config.optim.lr, config.optim.weight_decay, config.optim.gamma) == (1e-3, 5e-2, 0.1)
    assert (config.train.epochs, config.train.batch_size, config.optim.min_lr_factor) == (10, 8, 1e-5)
    assert load_config(save_resolved(config, tmp_path, "b.yaml")) == config


def test_texts_stay_texts():
    """`nan` and `infinity` are words, and a description may be one."""
    config = load_config("demo", ["description=nan", "data.train_subset=infinity"])
    assert (config.description, config.data.train_subset) == ("nan", "infinity")


def test_a_circle_by_another_name_is_one(tmp_path):
    file = tmp_path / "work" / "a.yaml"
    file.parent.mkdir()
    file.write_text("extends: ../work/a.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        load_config(file)


def test_each_file_is_read_once(tmp_path):
    """Forty files that name the next one twice would be read 2^40 times."""
    for number in range(40):
        (tmp_path / f"{number}.yaml").write_text(f"extends: [{number + 1}.yaml, {number + 1}.yaml]\n")
    (tmp_path / "40.yaml").write_text("train: {epochs: 7}\n")
    assert load_config(tmp_path / "0.yaml").train.epochs == 7


def test_a_key_twice_is_named_with_its_line(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("train:\n  epochs: 1\n  seed: 3\n  epochs: 2\n")
    with pytest.raises(ConfigError, match=r"`epochs` is there twice.*line 4"):
        load_config(file)
    file.write_text("train: {<<: {epochs: 1, seed: 3}, epochs: 2}\n")  # a merge key is meant to be overlaid
    assert load_config(file).train.epochs == 2
