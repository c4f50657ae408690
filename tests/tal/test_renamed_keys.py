"""Keys of older releases in a configuration tree."""

import pytest

from tal.config import current_key, with_current_keys

RENAMED = {"a.old": "a.new", "section": "other.section", "b.c.far": "d.near"}


def test_keys_move_to_their_new_places_and_nothing_else_changes():
    tree = {"a": {"old": 1, "x": 2}, "section": {"k": 3}, "b": {"c": {"far": 4, "y": 5}}}
    assert with_current_keys(tree, "file", RENAMED) == {
        "a": {"x": 2, "new": 1},
        "b": {"c": {"y": 5}},
        "other": {"section": {"k": 3}},
        "d": {"near": 4},
    }
    assert tree["a"] == {"old": 1, "x": 2}


@pytest.mark.parametrize("tree", [{}, {"a": None}, {"a": {"new": 1}}, {"b": {"c": 3}}, {"notes": "text"}])
def test_a_tree_without_old_names_stays_as_it_is(tree, caplog):
    caplog.set_level("INFO", logger="longtal.config")
    assert with_current_keys(tree, "file", RENAMED) == tree
    assert not caplog.messages


def test_dotted_keys():
    assert current_key("a.old", "--set", RENAMED) == "a.new"
    assert current_key("section.k", "--set", RENAMED) == "other.section.k"
    assert current_key("a.older", "--set", RENAMED) == "a.older"
