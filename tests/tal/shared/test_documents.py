"""YAML from anyone: plain values, or one line of what is wrong; never more memory than the text is worth."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.errors import ConfigError
from tal.shared.documents import parse_yaml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VALUES)
def test_what_yaml_writes_is_read_as_it_was(value):
    assert parse_yaml(yaml.safe_dump(value), "t", ConfigError) == value


def laughs(levels, merge=False):
    """Each line stands for nine of the line before: 9^levels values at the end."""
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x]"]
    for level in range(levels):
        names = ", ".join([f"*a{level}"] * 9)
        lines.append(f"a{level + 1}: &a{level + 1} " + (f"{{<<: [{names}]}}" if merge else f"[{names}]"))
    return "\n".join(lines)


@pytest.mark.parametrize("merge", [False, True])
def test_a_few_lines_do_not_stand_for_billions(merge):
    assert parse_yaml(laughs(3, merge), "t", ConfigError)["a0"]
    with pytest.raises(ConfigError, match="stands for more than 100000 values"):
        parse_yaml(laughs(20, merge), "t", ConfigError)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("&a [*a]", "an alias stands inside"),
        ("a: &a {b: *a}", "an alias stands inside"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "{a: " * 100 + "1" + "}" * 100, "nested too deeply"),
        ("a: 1\nb: 2\na: 3", "`a` is there twice.*line 3"),
        ("a:\n\tb: 1", "line 2"),
        ("!!python/object/apply:os.system ['touch ran']", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: " + "9" * 5000, "digits"),
        ("a: 2024-99-99", "month"),
        ("a: !!int ''", "cannot be read as YAML"),
        ("a: !!timestamp x", "cannot be read as YAML"),
        ("? [a]\n: 1", "unhashable"),
        ("--- 1\n--- 2", "single document"),
        (b"\xff\xfea\0", "not UTF-8"),
        ("x" * (5 << 20), "MiB"),
    ],
)
def test_what_is_no_configuration_is_said(text, said):
    with pytest.raises(ConfigError, match=said) as refused:
        parse_yaml(text, "name.yaml", ConfigError)
    assert str(refused.value).startswith("name.yaml") and "\n" not in str(refused.value)


def test_a_mark_at_the_begin_is_no_letter():
    assert parse_yaml("\ufeffa: 1".encode(), "t", ConfigError) == {"a": 1}
    assert parse_yaml("", "t", ConfigError) is None
