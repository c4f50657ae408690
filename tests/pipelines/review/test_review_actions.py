"""Every action of the review's page, by key and by mouse, and what the file has then."""

from itertools import pairwise

import pytest

from tal.annotations.corrections import (
    Corrections,
    Sample,
    VideoCorrections,
    read_corrections,
    write_corrections,
)
from tests.pipelines.browser import needs_chromium
from tests.pipelines.review.review_data import serving
from tests.pipelines.review.reviewer import Reviewer

pytestmark = needs_chromium


@pytest.fixture(params=["key", "mouse"])
def reviewer(request, opened, folder, tmp_path):
    with serving(folder, tmp_path / "c.json") as server:
        yield Reviewer(opened(server.address), tmp_path / "c.json", request.param)


def test_accept_and_reject(reviewer):
    reviewer.select(0).do("a")
    assert reviewer.actions() == [("jump", 1.0, 3.0, "accepted")]
    judged = reviewer.saved().actions[0]
    assert judged.score == 0.9 and judged.time.startswith("20") and judged.original is None
    reviewer.select(1).do("x")
    assert reviewer.rejected() == [("squat", 4.03, 6.02)]
    assert reviewer.page.locator("#timeline .seg.rejected").count() == 1
    reviewer.do("x")
    assert reviewer.rejected() == [] and reviewer.page.locator("#timeline .seg.open").count() == 2
    reviewer.select(0).do("a")
    assert reviewer.actions() == [] and reviewer.page.locator("#timeline .seg.open").count() == 3


def test_walk_through_what_is_to_judge_over_all_videos(reviewer):
    page = reviewer.page
    for _ in range(3):
        reviewer.do("n", "a")
    assert len(reviewer.actions()) == 3
    reviewer.do("n")
    assert page.locator("#video-title").inner_text() == "b"
    assert "squat" in reviewer.said()
    reviewer.do("a")
    reviewer.watched.until("document.getElementById('saving').textContent === 'Saved'")
    assert len(read_corrections(reviewer.out).videos["b"].actions) == 1
    reviewer.do("n")
    assert "Every detection on show is judged" in reviewer.said()


def test_in_time_that_was_looked_at_nothing_waits(reviewer):
    """As after a new model, whose detections of known actions are not those that were judged."""
    reviewer.select(0).do("a")
    reviewer.do("m", "n")
    assert reviewer.page.locator("#video-title").inner_text() == "b", "two of video a are not judged"


def test_nudge_an_edge_by_a_picture(reviewer):
    reviewer.select(1).do("w")
    assert reviewer.actions() == [("squat", 4.1, 6.02, "corrected")]
    original = reviewer.saved().actions[0].original
    assert (original.label, original.start_s, original.end_s) == ("squat", 4.03, 6.02)
    reviewer.do("q", "q", "e", "e", "r")
    assert reviewer.actions() == [("squat", 3.9, 6.0, "corrected")]
    assert reviewer.saved().actions[0].original == original
    assert reviewer.time() == pytest.approx(6.0), "the video shows the picture at the edge"


def test_edges_at_this_moment(reviewer):
    reviewer.select(1).to(5).do("[")
    assert reviewer.actions() == [("squat", 5.0, 6.02, "corrected")]
    reviewer.to(7).do("]")
    assert reviewer.actions() == [("squat", 5.0, 7.0, "corrected")]
    reviewer.do("[")
    assert reviewer.said() == "An action ends after its start." and reviewer.actions()[0][1] == 5.0


def test_change_the_class(reviewer):
    reviewer.select(0).choose(1)
    assert reviewer.actions() == [("squat", 1.0, 3.0, "corrected")]
    assert reviewer.saved().actions[0].original.label == "jump"
    reviewer.choose(0)
    assert reviewer.actions() == [("jump", 1.0, 3.0, "accepted")], "nothing is left of the correction"


def test_new_segment(reviewer):
    reviewer.choose(1).to(9).do("i").to(11).do("o")
    assert reviewer.actions() == [("squat", 9.0, 11.0, "added")]
    reviewer.choose(0)
    assert reviewer.actions() == [("jump", 9.0, 11.0, "added")]
    reviewer.do("d")
    assert reviewer.actions() == [] and reviewer.rejected() == []


def test_split_and_delete(reviewer):
    reviewer.select(0).to(2).do("t")
    assert reviewer.actions() == [("jump", 1.0, 2.0, "corrected"), ("jump", 2.0, 3.0, "corrected")]
    assert {j.original.end_s for j in reviewer.saved().actions} == {3.0}
    reviewer.do("d")
    assert reviewer.actions() == [("jump", 1.0, 2.0, "corrected")] and reviewer.rejected() == []
    reviewer.select(0).do("d")
    assert reviewer.actions() == [] and reviewer.rejected() == [("jump", 1.0, 3.0)]


def test_undo_and_redo_without_limit(reviewer):
    many = 60
    reviewer.select(0)
    for _ in range(many):
        reviewer.do("r")
    far = reviewer.actions()
    assert far == [("jump", 1.0, 9.0, "corrected")]
    for _ in range(many):
        reviewer.do("u")
    assert reviewer.actions() == [] and reviewer.page.locator("#undo").is_disabled()
    for _ in range(many):
        reviewer.do("U")
    assert reviewer.actions() == far and reviewer.page.locator("#redo").is_disabled()


def test_looked_at(reviewer):
    reviewer.to(5).do("M")
    assert reviewer.saved().reviewed == ((0.0, 5.0),)
    reviewer.do("m")
    assert reviewer.saved().reviewed == ((0.0, 12.0),)
    assert "looked at" in reviewer.page.locator("#video-list").inner_text()
    reviewer.do("m")
    assert reviewer.saved().reviewed == ()


def test_pictures_one_by_one_and_zoom(reviewer):
    reviewer.to(5)
    for key, time in ((".", 5.1), (".", 5.2), (",", 5.1), (",", 5.0), (",", 4.9)):
        reviewer.do(key)
        assert reviewer.time() == pytest.approx(time, abs=0.006)
    reviewer.do("+")
    assert reviewer.page.locator("#zoom-value").inner_text() == "2×"
    reviewer.do("-")
    assert reviewer.page.locator("#zoom-value").inner_text() == "1×"


def test_loop_and_speed(reviewer):
    page = reviewer.page
    rate = "document.getElementById('video').playbackRate"
    if reviewer.by == "key":
        page.keyboard.press("<")
        page.keyboard.press("<")
        assert page.evaluate(rate) == 0.5
        for _ in range(6):
            page.keyboard.press(">")
    else:
        page.locator("#rate").select_option("0.5")
        assert page.evaluate(rate) == 0.5
        page.locator("#rate").select_option("2")
    assert page.evaluate(rate) == 2
    reviewer.select(2).do("l")
    page.evaluate("document.getElementById('video').play()")
    times = []
    for _ in range(25):
        page.wait_for_timeout(60)
        times.append(reviewer.watched.time())
    assert min(times) > 6.9
    assert sum(b < a for a, b in pairwise(times)) >= 2, "it went round"


@pytest.mark.parametrize("by", ["key", "mouse"])
def test_stretches_that_were_drawn_are_gone_through(opened, folder, tmp_path, by):
    out = tmp_path / "c.json"
    drawn = {"a": [(2.0, 5.0), (8.0, 10.0)], "b": [(6.0, 9.0)]}
    videos = {
        name: VideoCorrections(name, sampled=tuple(Sample(start, end, 0.1) for start, end in spans))
        for name, spans in drawn.items()
    }
    write_corrections(Corrections(("jump", "squat"), videos), out)
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out, by)
        reviewer.do("g")
        assert reviewer.time() == 2 and "0:02.0 to 0:05.0" in reviewer.said()
        reviewer.do("y")
        assert reviewer.saved().reviewed == ((2.0, 5.0),)
        reviewer.do("g")
        assert reviewer.time() == 8
        reviewer.do("y", "g")
        assert reviewer.saved().reviewed == ((2.0, 5.0), (8.0, 10.0))
        assert reviewer.page.locator("#video-title").inner_text() == "b" and reviewer.time() == 6
        reviewer.do("y", "g")
        assert "Every drawn stretch" in reviewer.said()
        reviewer.saved()
        assert read_corrections(out).videos["b"].sampled == (Sample(6.0, 9.0, 0.1),)


def test_times_that_come_late_do_not_wipe_what_was_said(opened, folder, tmp_path):
    out = tmp_path / "c.json"
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out)
        waiting = []
        reviewer.page.route("**/times/1", lambda route: waiting.append(route))
        reviewer.page.locator("#video-list button").nth(1).click()
        reviewer.watched.until("document.getElementById('video-title').textContent === 'b'")
        reviewer.watched.ready()
        while not waiting:
            reviewer.page.wait_for_timeout(10)
        reviewer.do("g")
        assert "Every drawn stretch" in reviewer.said()
        waiting[0].continue_()
        reviewer.watched.until("document.getElementById('clock').textContent.includes('picture')")
        assert "Every drawn stretch" in reviewer.said()
