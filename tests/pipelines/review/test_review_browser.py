"""The review's page in a headless Chromium: drags, crashes, several tabs, narrow screens, hostile names."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise

import pytest

from pipelines.review import ReviewState, write_page
from pipelines.review.output import OutputFile
from pipelines.review.run import collect_review
from tal.annotations.corrections import read_corrections
from tests.pipelines.browser import needs_chromium
from tests.pipelines.review.review_data import action, document, edited, save, serving
from tests.pipelines.review.reviewer import Reviewer
from tests.test_design_docs import ROOT

pytestmark = needs_chromium


def test_drag_an_edge_and_kill_the_server(opened, folder, tmp_path):
    out = tmp_path / "c.json"
    command = [sys.executable, "cli.py", "review", str(folder / "predictions.json"), "--no-open"]
    command += ["--videos", str(folder / "videos"), "--out", str(out)]

    def start():
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return process, process.stdout.readline().split()[0]

    process, address = start()
    try:
        watched = opened(address)
        reviewer = Reviewer(watched, out, "mouse").select(0)
        axis = watched.page.locator(".tl-axis").bounding_box()
        edge = watched.page.locator(".seg.selected .edge.end").bounding_box()
        watched.page.mouse.move(edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2)
        watched.page.mouse.down()
        for seconds in (3.5, 4.5, 5.33):
            watched.page.mouse.move(axis["x"] + axis["width"] * seconds / 12, edge["y"] + 5)
        assert watched.time() == pytest.approx(5.3, abs=0.01), "the video shows the edge"
        assert not out.exists(), "what is still dragged is not saved"
        watched.page.mouse.up()
        assert reviewer.actions() == [("jump", 1.0, 5.3, "corrected")]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        watched.expected = "Failed to load|ERR_"
        process.stdout.close()
        process, address = start()
        again = opened(address)
        Reviewer(again, out, "mouse")
        assert "corrected detection" in again.page.locator("#timeline .seg.corrected").get_attribute(
            "aria-label"
        )
        assert "0:05.30" in again.page.locator("#timeline .seg.corrected").get_attribute("aria-label")
        assert again.page.locator("#timeline .seg.open").count() == 2
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_two_tabs_never_overwrite_each_other_unseen(opened, folder, tmp_path):
    out = tmp_path / "c.json"
    with serving(folder, out) as server:
        first, second = (Reviewer(opened(server.address), out) for _ in range(2))
        first.select(0).do("a")
        assert first.actions() == [("jump", 1.0, 3.0, "accepted")]
        second.watched.expected = "409"
        second.select(1).do("x")
        second.watched.until("document.getElementById('saving').textContent.includes('Another tab')")
        assert read_corrections(out).videos["a"].rejected == (), "the second's did not get through"
        assert second.page.locator("#timeline .seg.accepted").count() == 1, "it sees the first's"
        assert second.page.locator("#timeline .seg.rejected").count() == 0
        second.do("u")
        assert second.rejected() == [("squat", 4.03, 6.02)] and second.actions() == []
        second.do("U")
        assert second.actions() == [("jump", 1.0, 3.0, "accepted")]


def test_without_an_answer_the_page_is_read_only_and_offers_what_it_has(opened, folder, tmp_path):
    out = tmp_path / "c.json"
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out)
        reviewer.watched.expected = "Failed to load|ERR_|507"
        out.mkdir()  # nothing can be written there
        reviewer.select(0).do("a")
        reviewer.watched.until("document.getElementById('saving').textContent.includes('Not saved')")
        reviewer.do("x")
        assert reviewer.said().startswith("Read-only")
        assert reviewer.page.locator("#timeline .seg.accepted").count() == 1
        with reviewer.page.expect_download() as download:
            reviewer.page.locator("#download").click()
        download.value.save_as(tmp_path / "saved.json")
        assert download.value.suggested_filename == "c.json"
        kept = read_corrections(tmp_path / "saved.json")
        assert [j.source for j in kept.videos["a"].actions] == ["accepted"] and kept.labels == (
            "jump",
            "squat",
        )
        out.rmdir()
        assert reviewer.actions() == [("jump", 1.0, 3.0, "accepted")], "it tried again by itself"
        reviewer.do("u")
        assert reviewer.actions() == []


def test_a_page_without_a_server_is_read_only_and_offers_a_download(opened, folder, tmp_path):
    with serving(folder, tmp_path / "c.json") as server:
        assert save(server, edited(annotations=[action()]))[0] == 200
    review = collect_review(folder / "predictions.json", folder / "videos")
    with OutputFile(tmp_path / "c.json") as file:
        write_page(review, ReviewState(review, file), tmp_path / "page.html")
    watched = opened((tmp_path / "page.html").as_uri()).ready()
    assert "Read-only" in watched.page.locator("#saving").inner_text()
    watched.page.locator("#timeline .seg.open").first.click()
    for key in ("a", "x", "d", "1", "i", "o", "q", "m", "u"):
        watched.page.keyboard.press(key)
    assert (
        watched.page.locator("#timeline .seg.open").count() == 3
        and watched.page.locator("#timeline .seg.added").count() == 1
    )
    with watched.page.expect_download() as download:
        watched.page.locator("#download").click()
    download.value.save_as(tmp_path / "saved.json")
    assert read_corrections(tmp_path / "saved.json") == read_corrections(tmp_path / "c.json")
    addresses = [url for url in watched.requests if not url.startswith(("data:", "blob:"))]
    assert all(url.startswith("file:") for url in addresses)


def test_annotate_an_empty_file(opened, folder, tmp_path):
    out = tmp_path / "new.json"
    options = {"source": None, "labels": ["walk", "run"]}
    with serving(folder, out, **options) as server:
        reviewer = Reviewer(opened(server.address), out)
        assert reviewer.page.locator("#accept").is_hidden()
        reviewer.to(1).do("2", "i").to(3).do("o").to(2).do("i", "1").to(4).do("o")
        assert reviewer.actions() == [("run", 1.0, 3.0, "added"), ("walk", 2.0, 4.0, "added")]
        assert reviewer.saved().duration_s == 12.0
    with serving(folder, out, **options) as server:
        again = Reviewer(opened(server.address), out)
        assert again.page.locator("#timeline .seg.added").count() == 2


@pytest.mark.parametrize("width", [400, 768, 1024])
def test_it_fits_and_edges_can_be_dragged_by_finger(opened, folder, tmp_path, width):
    out = tmp_path / "c.json"
    with serving(folder, out) as server:
        screen = {"viewport": {"width": width, "height": 900}, "has_touch": True, "is_mobile": True}
        watched = opened(server.address, **screen)
        reviewer = Reviewer(watched, out, "mouse")
        page = watched.page
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        reviewer.bars().nth(0).tap()
        edge = page.locator(".seg.selected .edge.end")
        edge.scroll_into_view_if_needed()
        box, axis = edge.bounding_box(), page.locator(".tl-axis").bounding_box()
        assert box["width"] >= 24, "wide enough for a finger"
        touch = watched.context.new_cdp_session(page)
        y = box["y"] + box["height"] / 2

        def send(kind, x=None):
            points = [] if x is None else [{"x": x, "y": y}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        send("touchStart", box["x"] + box["width"] / 2)
        for seconds in (4, 5, 6):
            send("touchMove", axis["x"] + axis["width"] * (seconds + 0.01) / 12)
        send("touchEnd")
        (label, start, end, source) = reviewer.actions()[0]
        assert (label, start, source) == ("jump", 1.0, "corrected") and end == pytest.approx(6, abs=0.101)
        for button in page.locator("button:visible").all():
            assert button.bounding_box()["height"] >= 24


def test_hostile_text_stays_text(opened, tmp_path):
    bad = '</script><img src=x onerror="window.hacked=1"><b>'
    content = {"results": {bad: [{"label": bad, "score": 0.5, "segment": [0, 1]}]}}
    (tmp_path / "predictions.json").write_text(json.dumps(content))
    with serving(tmp_path, videos_dir=None) as server:
        watched = opened(server.address)
        page = watched.page
        page.keyboard.press("n")
        page.keyboard.press("a")
        watched.until("document.querySelectorAll('#timeline .seg.accepted').length === 1")
        assert page.locator("#video-title").inner_text() == bad
        assert bad in page.locator("#selection").inner_text()
        assert page.evaluate("window.hacked === undefined && !document.querySelector('main img, main b img')")
        watched.until("document.getElementById('saving').textContent === 'Saved'")
        assert document(server)["annotations"][0]["label"] == bad


def test_pictures_by_their_own_stamps_under_a_varying_rate(opened, tmp_path):
    """Chromium says which picture is on screen; edges and steps have the reader's stamps."""
    from tal.video import open_video
    from tests.pipelines.review.varying import make_varying

    path = make_varying(tmp_path / "videos" / "v.mp4")
    with open_video(path) as reader:
        stamps = reader.times_s.tolist()
    steps = {round(b - a, 4) for a, b in pairwise(stamps)}
    assert len(steps) > 3, "the rate varies"
    out = tmp_path / "c.json"
    with serving(tmp_path, out, source=None, labels=["walk"]) as server:
        reviewer = Reviewer(opened(server.address), out)
        page = reviewer.page
        reviewer.watch_pictures()
        for number in range(1, 20):
            reviewer.step_on(stamps[number])
            assert f"picture {number}" in page.locator("#clock").inner_text()
        page.keyboard.press("i")
        for number in range(20, 25):
            reviewer.step_on(stamps[number])
        page.keyboard.press("o")
        reviewer.watched.until("document.getElementById('saving').textContent === 'Saved'")
        segment = read_corrections(out).videos["v"].actions[0].segment
        assert (segment.start_s, segment.end_s) == (stamps[19], stamps[24])
        page.keyboard.press("q")
        page.keyboard.press("r")
        reviewer.watched.until("document.getElementById('saving').textContent === 'Saved'")
        segment = read_corrections(out).videos["v"].actions[0].segment
        assert (segment.start_s, segment.end_s) == (stamps[18], stamps[25])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(opened, folder, tmp_path, scheme):
    """Contrast of WCAG 2: 4.5 for text."""
    with serving(folder, tmp_path / "c.json") as server:
        reviewer = Reviewer(opened(server.address, color_scheme=scheme), tmp_path / "c.json")
        reviewer.select(0).do("a").select(1).do("x").select(2).do("r").to(9).do("i").to(10).do("o", "m")
        reviewer.saved()
        bars = [f"#timeline .seg.{kind} span" for kind in ("accepted", "rejected", "corrected", "added")]
        page = ["h1", "#saving", ".meta", ".badge", ".tl-name span", ".tick", "#selection", ".legend li"]
        buttons = ["#accept", "#reject", "#reviewed", "#download", ".tool-group .name"]
        ratios = reviewer.watched.contrasts([*bars, *page, *buttons])
        assert [(name, round(ratio, 2)) for name, ratio in ratios if ratio < 4.5] == []


def test_a_class_by_the_list_alone(opened, folder, tmp_path):
    """`c` goes to the list, letters and arrows choose, Enter leaves it: keys mean actions again."""
    out = tmp_path / "c.json"
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out).select(0).do("c")
        reviewer.do("ArrowDown", "Enter")
        assert reviewer.actions() == [("squat", 1.0, 3.0, "corrected")]
        reviewer.do("u")
        assert reviewer.actions() == []
