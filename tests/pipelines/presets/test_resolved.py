"""Every preset resolves to the tree that it had when each preset was one whole file.

``resolved.json`` holds the trees that `longtal presets NAME` printed at commit 69c3272, with defaults, notes
and descriptions (but for the subsets, which the protocol of the data set names since): each as its difference
from an earlier one that is ``like`` it. A key is the path of its sections, joined by "/".

After a preset was added or changed on purpose, `python -m tests.pipelines.presets.test_resolved` writes the
file anew; what git then shows of it is the change.
"""

import json
from functools import cache
from pathlib import Path

import pytest

from pipelines.config import load_config, parse_config
from pipelines.presets import list_presets
from tal.config import with_current_keys, without_removed_keys

RECORD = Path(__file__).with_name("resolved.json")


def leaves(tree, path=""):
    """Path -> value of a tree's leaves; an empty section is a leaf."""
    found = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{path}{key}/")
        else:
            found[path + key] = value
    return found


def resolved(name):
    return leaves(load_config(name).model_dump(mode="json"))


def whole(found):
    """The tree of some leaves."""
    tree = {}
    for path, value in found.items():
        *sections, last = path.split("/")
        node = tree
        for name in sections:
            node = node.setdefault(name, {})
        node[last] = value
    return tree


@cache
def recorded():
    """Name -> leaves of every preset."""
    trees = {"": {}}
    for name, own in json.loads(RECORD.read_text(encoding="utf-8")).items():
        like = trees[own["like"]]
        trees[name] = {k: v for k, v in like.items() if k not in own["without"]} | own["with"]
    del trees[""]
    return trees


def test_the_presets_are_those_recorded():
    assert sorted(list_presets()) == sorted(recorded())


@pytest.mark.parametrize("name", sorted(list_presets()))
def test_a_preset_resolves_to_the_recorded_tree(name):
    """But for keys that were renamed since, or became constants of their value (`tal.config`)."""
    tree = whole(recorded()[name])
    assert resolved(name) == leaves(without_removed_keys(with_current_keys(tree, name), name))
    assert parse_config(tree) == load_config(name)  # as the config.yaml of a run of that time is read


def write_record():
    trees, lines = {"": {}}, []
    for name in list_presets():
        tree = resolved(name)
        own = min((difference(tree, like, trees[like]) for like in trees), key=lambda d: len(json.dumps(d)))
        trees[name] = tree
        lines.append(f"{json.dumps(name)}: {json.dumps(own, ensure_ascii=False, indent=1)}")
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def difference(tree, like, base):
    return {
        "like": like,
        "without": [key for key in base if key not in tree],
        "with": {k: v for k, v in tree.items() if k not in base or base[k] != v},
    }


if __name__ == "__main__":
    write_record()
