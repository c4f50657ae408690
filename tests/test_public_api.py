"""The public API is what docs/api.md says."""

import importlib

import pytest

from tests.public_api import PACKAGES, PAGE, arguments, described, render


def test_the_page_is_the_api():
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "the public API is not what docs/api.md says: where the change is meant, write the page anew "
        "(python -m tests.public_api) and name it in CHANGELOG.md"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_exports_is_there_and_described(package):
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert "no description" not in "\n".join(described(name, getattr(module, name))), name


def test_a_default_an_argument_and_a_name_are_seen():
    def one(a, b=1):
        """Do."""

    def two(a, b=2):
        """Do."""

    def three(a, c=1):
        """Do."""

    assert len({arguments(f) for f in (one, two, three)}) == 3
    assert described("one", one) == ["* `one(a, b=1)`: Do"]
