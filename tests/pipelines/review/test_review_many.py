"""A video with more segments than can be bars: they are painted, and all the same gone to and changed."""

import json

import pytest

from tests.pipelines.browser import needs_chromium
from tests.pipelines.review.review_data import serving
from tests.pipelines.review.reviewer import Reviewer

pytestmark = needs_chromium

BARS = "document.querySelectorAll('#timeline .seg').length"
COUNT = 360


@pytest.fixture
def many(folder, tmp_path):
    """Detections of two classes in turn, a thirtieth of a second each."""
    found = [
        {"label": ("jump", "squat")[k % 2], "score": 0.5, "segment": [k / 30, k / 30 + 0.03]}
        for k in range(COUNT)
    ]
    (tmp_path / "many.json").write_text(json.dumps({"results": {"a": found}}))
    out = tmp_path / "c.json"
    with serving(folder, out, source=tmp_path / "many.json", max_per_video=1000) as server:
        yield server, out


def at(page, seconds):
    """Where on the page a moment lies, under the axis."""
    box = page.locator(".tl-axis").bounding_box()
    return box["x"] + box["width"] * seconds / 12


@pytest.mark.parametrize("by", ["key", "mouse"])
def test_a_painted_bar_is_selected_and_judged(opened, many, by):
    server, out = many
    reviewer = Reviewer(opened(server.address), out, by)
    page = reviewer.page
    assert page.evaluate(BARS) == 0 and page.locator(".tl-paint").count() == 4
    if by == "key":
        for _ in range(3):
            page.keyboard.press("j")
    else:
        row = page.locator(".tl-row:not(.tl-head) .tl-track.found").first.bounding_box()
        page.mouse.click(at(page, 2 / 30 + 0.015), row["y"] + 12)
    assert reviewer.said().startswith("Detection, not judged: “jump”, 0:00.066")
    assert page.evaluate(BARS) == 1
    reviewer.do("a")
    assert [round(start, 3) for _, start, *_ in reviewer.actions()] == [0.067]
    reviewer.do("u")
    assert reviewer.actions() == []


def test_a_click_beside_painted_bars_goes_there(opened, many):
    server, out = many
    reviewer = Reviewer(opened(server.address), out, "mouse")
    page = reviewer.page
    row = page.locator(".tl-row:not(.tl-head) .tl-track.truth").first.bounding_box()
    page.mouse.click(at(page, 5), row["y"] + 12)
    assert reviewer.time() == pytest.approx(5, abs=0.051) and page.evaluate(BARS) == 0


def test_what_is_zoomed_and_scrolled_to_is_bars(opened, many):
    server, out = many
    reviewer = Reviewer(opened(server.address), out)
    page = reviewer.page
    for _ in range(3):
        page.keyboard.press("+")
    assert 20 < page.evaluate(BARS) < 150 and page.locator(".tl-paint").count() == 0
    last = "document.querySelectorAll('#timeline .seg[title*=\"0:11.9\"]').length"
    assert page.evaluate(last) == 0, "out of sight"
    page.evaluate("document.querySelector('.tl-scroll').scrollLeft = 1e6")
    reviewer.watched.until(f"{last} > 0")
    assert page.evaluate(BARS) < 150
    ticks = page.locator(".tick").all_inner_texts()
    assert any("0:11" in text for text in ticks) and not any("0:02" in text for text in ticks)
    page.locator("#timeline .seg").last.click()
    reviewer.do("x")
    assert len(reviewer.rejected()) == 1
    page.evaluate("document.querySelector('.tl-scroll').scrollLeft = 0")
    reviewer.watched.until("document.querySelector('#timeline .seg.selected') !== null")


def test_zooming_leaves_the_selected_row_in_sight(opened, many):
    server, out = many
    page = Reviewer(opened(server.address), out).page
    page.evaluate("document.querySelector('.tl-scroll').style.maxHeight = '90px'")
    page.keyboard.press("j")
    page.keyboard.press("j")
    place = "document.querySelector('.tl-scroll').scrollTop"
    before = page.evaluate(place)
    assert before > 0
    page.keyboard.press("+")
    assert page.evaluate(place) == before


def test_painted_bars_follow_the_theme(opened, many):
    server, out = many
    reviewer = Reviewer(opened(server.address, color_scheme="light"), out)
    picture = "document.querySelectorAll('.tl-paint')[1].toDataURL()"
    reviewer.page.evaluate(f"window.light = {picture}")
    reviewer.page.emulate_media(color_scheme="dark")
    reviewer.watched.until(f"window.light !== {picture}")
