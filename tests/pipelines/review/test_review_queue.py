"""The page goes through what is worth a look in the order of `longtal review --next`, and says why."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tal.annotations.corrections import Corrections, read_corrections
from tal.review import next_items
from tal.review.sampling import stretches
from tests.pipelines.browser import needs_chromium
from tests.pipelines.report.report_data import make_video
from tests.pipelines.review.review_data import ask, document, edited, post, save, serving
from tests.pipelines.review.reviewer import Reviewer

FOUND = {
    "a": [("jump", 10, 12, 0.9), ("squat", 40, 44, 0.52), ("jump", 80, 81, 0.1)],
    "b": [("squat", 60, 62, 0.45)],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of 100 s, long enough for stretches without detections."""
    folder = tmp_path_factory.mktemp("queue")
    results = {
        name: [{"label": label, "score": score, "segment": [start, end]} for label, start, end, score in rows]
        for name, rows in FOUND.items()
    }
    (folder / "predictions.json").write_text(json.dumps({"results": results}))
    for name in results:
        make_video(folder / "videos" / f"{name}.mp4", 100.0, 2)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "c.json"


def look(server):
    status, answer = post(server, "next", {})
    assert status == 200
    return answer


def test_it_is_the_order_of_the_command(folder, out):
    import pandas as pd

    with serving(folder, out, count=5, threshold=0.5) as server:
        answer = look(server)
    rows = [(video, *row) for video, found in FOUND.items() for row in found]
    frame = pd.DataFrame(rows, columns=["video_id", "label", "start_s", "end_s", "score"])
    queue = next_items(frame, {"a": 100.0, "b": 100.0}, 0.5, Corrections(("jump", "squat"), {}), count=5)
    expected = [{**item.to_json(), "video": "ab".index(item.video_id)} for item in queue.items]
    assert answer["items"] == json.loads(json.dumps(expected)) and len(expected) == 5
    assert [item["reason"] for item in answer["items"]].count("random") == 1
    assert answer["known"][0].startswith("reviewed 0:00 of 3:20")


def test_what_was_drawn_is_kept_and_told_and_no_version_grows(folder, out):
    with serving(folder, out, count=5, threshold=0.5) as server:
        answer = look(server)
        ((number, samples),) = answer["sampled"].items()
        kept = read_corrections(out).videos["ab"[int(number)]].sampled
        assert [[s.start_s, s.end_s] for s in kept] == [s["segment"] for s in samples]
        assert tuple(samples[0]["segment"]) in stretches(100.0, 30.0)
        assert document(server, int(number))["version"] == 1, "another tab's changes are not late for it"
        assert save(server, edited(reviewed=[[0, 100]]), number=int(number))[0] == 200
        assert read_corrections(out).videos["ab"[int(number)]].sampled == kept
        again = look(server)
        assert all(item["video"] != int(number) for item in again["items"]), "it was looked at"
        assert any("reviewed 1:40 of 3:20" in line for line in again["known"])


def test_two_pages_at_once_draw_no_stretch_twice(folder, out):
    with serving(folder, out, count=5, threshold=0.5) as server:
        together = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: (together.wait(), look(server)), range(4)))
    drawn = [(v.id, s.start_s) for v in read_corrections(out).videos.values() for s in v.sampled]
    assert len(drawn) == len(set(drawn)) == 1


def test_without_a_threshold_it_says_how_to_give_one(folder, out):
    with serving(folder, out) as server:
        status, answer = post(server, "next", {})
        assert status == 400 and "--threshold" in answer["error"] and not out.exists()


@pytest.mark.parametrize("header", ["Origin", "X_Longtal_Token", "Content_Type"])
def test_only_the_page_can_have_stretches_drawn(folder, out, header):
    with serving(folder, out, threshold=0.5) as server:
        assert post(server, "next", {}, **{header: None})[0] in (403, 415)
        assert post(server, "next", {"count": 10**9})[0] == 400
        assert ask(server, "next")[0] == 404 and not out.exists()


def told(reviewer, begin):
    """Wait until the page says where in the queue one is."""
    reviewer.watched.until(f"document.getElementById('queue').textContent.startsWith('{begin}')")


@needs_chromium
@pytest.mark.parametrize("by", ["key", "mouse"])
def test_go_through_the_queue(opened, folder, out, by):
    with serving(folder, out, count=5, threshold=0.5) as server:
        reviewer = Reviewer(opened(server.address), out, by)
        page, line = reviewer.page, reviewer.page.locator("#queue")
        assert page.locator("#next-drawn").is_hidden() and line.is_hidden()
        reviewer.do("f")
        told(reviewer, "1 of 5")
        assert (
            "near threshold: squat 0.52, above its threshold 0.50 · a, 0:38.0 to 0:46.0." in line.inner_text()
        )
        assert "reviewed 0:00 of 3:20" in line.inner_text()
        assert page.locator("#video-title").inner_text() == "a" and reviewer.time() == 38
        assert "squat" in reviewer.said(), "the detection is selected"
        reviewer.do("a", "y")
        assert "1 of 5, 1 looked at" in line.inner_text() and "f goes on" in line.inner_text()
        ((start, end),) = reviewer.saved().reviewed
        assert start < 40 and end > 44
        places = []
        for number in range(2, 6):
            reviewer.do("f")
            reviewer.watched.until(
                f"document.getElementById('queue').textContent.startsWith('{number} of 5')"
            )
            places.append((page.locator("#video-title").inner_text(), reviewer.time()))
            assert "1 looked at" in line.inner_text()
        assert {video for video, _ in places} == {"a", "b"} and len(set(places)) == 4
        assert page.locator("#next-drawn").is_visible(), "one of them was drawn by chance"
        reviewer.do("y", "f")
        told(reviewer, "1 of ")
        assert "near threshold: squat 0.52" not in line.inner_text(), (
            "what was looked at is not in a new queue"
        )


@needs_chromium
@pytest.mark.parametrize("by", ["key", "mouse"])
def test_what_is_looked_at_meanwhile_is_passed_over(opened, folder, out, by):
    with serving(folder, out, count=5, threshold=0.5) as server:
        reviewer = Reviewer(opened(server.address), out, by)
        reviewer.do("f")
        told(reviewer, "1 of 5")
        reviewer.do("m", "f")
        reviewer.watched.until("document.getElementById('video-title').textContent === 'b'")
        reviewer.watched.until("document.getElementById('clock').textContent.includes('picture')")
        reviewer.do("m", "f")
        reviewer.watched.until("document.getElementById('queue').textContent.includes('Nothing is left')")


@needs_chromium
def test_a_drawn_stretch_of_the_queue_is_one_of_g_and_y(opened, folder, out):
    with serving(folder, out, count=5, threshold=0.5) as server:
        reviewer = Reviewer(opened(server.address), out)
        line = reviewer.page.locator("#queue")
        for number in range(1, 6):
            reviewer.do("f")
            reviewer.watched.until(
                f"document.getElementById('queue').textContent.startsWith('{number} of 5')"
            )
            if "· random: " in line.inner_text():
                break
        place = reviewer.page.locator("#video-title").inner_text(), reviewer.time()
        reviewer.do("v", "b", "g")
        assert (reviewer.page.locator("#video-title").inner_text(), reviewer.time()) == place
        reviewer.do("y", "g")
        assert "Every drawn stretch" in reviewer.said() and "1 looked at" in line.inner_text()


@needs_chromium
def test_what_is_not_known_is_said_in_the_page(opened, folder, out):
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out)
        reviewer.watched.expected = "400"
        reviewer.do("f")
        reviewer.watched.until("document.getElementById('queue').textContent.includes('--threshold')")
