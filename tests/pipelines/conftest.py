"""Fixtures of the pipelines' tests."""

import re

import pytest

from tests.pipelines.browser import CHROMIUM, Watched
from tests.pipelines.tiny_run import make_data, make_store


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder of the tiny videos, their annotations and their store (`tiny_run`), made once a module."""
    folder = tmp_path_factory.mktemp("tiny")
    make_data(folder)
    make_store(folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright import sync_api

    with sync_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"])
        yield running
        running.close()


@pytest.fixture
def opened(browser):
    """``opened(address, **context options)`` -> Watched; fails the test if the page complained."""
    windows = []

    def open_page(address, **options):
        windows.append(Watched(browser, str(address), **options))
        return windows[-1]

    yield open_page
    complaints = [c for w in windows for c in w.complaints if not re.search(w.expected, c)]
    for window in windows:
        window.context.close()
    assert complaints == []
