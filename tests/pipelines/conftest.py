"""Fixtures of the pipelines' tests."""

import pytest

from tests.pipelines.tiny_run import make_data, make_store


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder of the tiny videos, their annotations and their store (`tiny_run`), made once a module."""
    folder = tmp_path_factory.mktemp("tiny")
    make_data(folder)
    make_store(folder)
    return folder
