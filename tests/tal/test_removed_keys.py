"""Keys of older releases that are constants now."""

import logging

import pytest

from pipelines.config import parse_config
from tal.config import REMOVED_KEYS, without_removed_keys
from tal.errors import ConfigError

REMOVED = {"a.gone": 4, "b.c(x).gone": 0.5, "b.c(y).gone": 0.7}


def test_a_key_with_the_constants_value_is_left_out_and_named(caplog):
    tree = {"a": {"gone": 4, "k": 1}, "b": {"c": {"name": "y", "gone": 0.7}}}
    with caplog.at_level(logging.INFO, "longtal.config"):
        assert without_removed_keys(tree, "run.yaml", REMOVED) == {"a": {"k": 1}, "b": {"c": {"name": "y"}}}
    assert caplog.messages == ["run.yaml: left out, since they are constants now: a.gone, b.c.gone"]
    assert tree["a"] == {"gone": 4, "k": 1}


def test_another_value_is_an_error_that_says_what_became_of_the_key():
    with pytest.raises(ConfigError, match=r"run\.yaml: `b\.c\.gone` .* always 0\.5 \(given 0\.7\)"):
        without_removed_keys({"b": {"c": {"name": "x", "gone": 0.7}}}, "run.yaml", REMOVED)


@pytest.mark.parametrize("tree", [{}, {"a": None}, {"b": {"c": {"name": "z", "gone": 1}}}, {"b": 3}])
def test_a_tree_without_such_keys_stays_as_it_is(tree, caplog):
    assert without_removed_keys(tree, "file", REMOVED) == tree
    assert not caplog.messages


@pytest.mark.parametrize("key", REMOVED_KEYS)
def test_an_old_runs_configuration_is_read(key):
    *sections, last = key.split(".")
    tree = leaf = {}
    for section in sections:
        name, _, decoder = section.rstrip(")").partition("(")
        leaf[name] = leaf = {"name": decoder} if decoder else {}
    bare = parse_config(tree)
    leaf[last] = REMOVED_KEYS[key]
    assert parse_config(tree) == bare
    assert f'"{last}"' not in bare.model_dump_json()
    leaf[last] = 17
    with pytest.raises(ConfigError, match=f"{last}` is not a key any more"):
        parse_config(tree)
