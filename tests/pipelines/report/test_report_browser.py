"""The report in a real, headless Chromium. Skips where there is none."""

import json
import re
import shutil

import pandas as pd
import pytest

from pipelines.predict.exports import write_exports
from pipelines.report import Report, collect, write_report
from pipelines.report.run import ReportVideo
from pipelines.report.serve import serve_report
from tal.annotations import read_annotations, read_predictions
from tal.metrics import Evaluation
from tests.pipelines.browser import needs_chromium
from tests.pipelines.report.report_data import make_annotations, make_log, make_predictions, make_video
from tests.pipelines.running import running

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A run folder's worth of files and its page."""
    folder = tmp_path_factory.mktemp("report")
    annotations = make_annotations(folder)
    predictions = make_predictions(folder, annotations)
    first = make_video(folder / "videos" / "video_00.mp4")
    shutil.copy(first, folder / "videos" / "video_01.mp4")
    run = folder / "run"
    (run / "validation").mkdir(parents=True)
    shutil.copy(predictions, run / "validation" / "step_00000600_predictions.json")
    (run / "config.yaml").write_text(
        f"data: {{annotations: '{annotations}', videos: '{folder / 'videos'}', val_subset: validation}}\n"
    )
    make_log(run / "log.jsonl")
    report = collect(run)
    write_report(report, folder / "report.html")
    return folder, report, annotations, predictions


@pytest.fixture
def page(opened, data):
    return opened((data[0] / "report.html").as_uri()).ready()


def set_threshold(watched, value):
    """Move the slider; the timeline follows with the next frame, the tables when it rests."""
    watched.page.locator("#threshold").fill(str(value))
    watched.until("!document.querySelector('[aria-busy]')")


def test_nothing_is_asked_for_but_the_page_and_its_video(page, data):
    folder = data[0].as_uri()
    assert {u for u in page.requests if not u.startswith("data:")} <= {
        f"{folder}/report.html",
        f"{folder}/videos/video_00.mp4",
    }


def test_clicks_seek_the_video(page, data):
    video = data[1].videos[0]
    start, end, _, _ = max(video.detections, key=lambda f: f[3])
    button = page.page.locator(".seg.found").filter(has_text=re.compile(r"\d")).first
    described = button.get_attribute("aria-label")
    button.click()
    assert page.page.locator("#selection").inner_text().startswith("Detection")
    score = float(re.search(r"score (\d\.\d+)", described).group(1))
    chosen = [f for f in video.detections if f"{f[3]:.2f}" == f"{score:.2f}"]
    assert any(page.time() == pytest.approx(f[0], abs=0.02) for f in chosen)
    # a click on the axis goes to that share of the duration
    axis = page.page.locator(".tl-axis")
    box = axis.bounding_box()
    axis.click(position={"x": box["width"] * 0.75, "y": 8})
    assert page.time() == pytest.approx(0.75 * video.duration_s, abs=0.1)
    assert float(axis.get_attribute("aria-valuenow")) == pytest.approx(page.time(), abs=0.02)
    # a true action, too
    page.page.locator(".seg.truth").first.click()
    assert any(page.time() == pytest.approx(t[0], abs=0.02) for t in video.ground_truth)
    assert end > start


def test_slider_filters_detections(page, data):
    for threshold in (0.05, 0.3, 0.62, 0.97):
        set_threshold(page, threshold)
        shown = page.page.locator("#timeline .seg.found").count()
        assert shown == sum(f[3] >= threshold for f in data[1].videos[0].detections)
    assert page.page.locator("#threshold-value").inner_text() == "0.97"
    page.page.locator("#threshold").press("ArrowLeft")
    assert page.page.locator("#threshold-value").inner_text() == "0.96"


@pytest.mark.parametrize("tiou", [0.3, 0.5, 0.7])
def test_counts_are_those_of_the_evaluation(page, data, tiou):
    """The page matches by itself, for any threshold; `longtal evaluate` is the yardstick."""
    _, _, annotations, predictions = data
    evaluation = Evaluation(
        read_annotations(annotations).subset("validation"), read_predictions(predictions), [tiou]
    )
    page.page.locator("#tiou").select_option(f"{tiou:.1f}")
    for threshold in (0.0, 0.25, 0.5, 0.75):
        set_threshold(page, threshold)
        expected = evaluation.operating_point(threshold, tiou)["micro"]
        assert f"{expected['true']} right, {expected['false']} wrong" in page.card("Precision")
        assert f"{expected['missed']} missed" in page.card("Actions")
        assert f"{100 * expected['f1']:.1f} %" in page.card("F1")


def test_kinds_of_error_are_those_of_the_evaluation(page, data):
    _, _, annotations, predictions = data
    evaluation = Evaluation(
        read_annotations(annotations).subset("validation"), read_predictions(predictions), [0.5]
    )
    expected = evaluation.diagnosis()["false_positives"]["profile"][-1]
    assert expected["predictions"] == len(read_predictions(predictions)), "the profile looks at all of them"
    set_threshold(page, 0)
    words = page.page.locator("#errors-body .stack-row").first.get_attribute("aria-label")
    shown = {name: int(count) for name, count in re.findall(r"([a-z ]+) (\d+)", words.split(": ")[1])}
    shown = {name.strip(): count for name, count in shown.items()}
    assert shown == {
        "found twice": expected["double detection"],
        "wrong boundaries": expected["localization"],
        "wrong class": expected["wrong label"],
        "wrong class and boundaries": expected["confusion"],
        "no action there": expected["background"],
    }


def test_keyboard_goes_from_error_to_error_over_all_videos(page):
    set_threshold(page, 0.3)
    page.page.locator("body").click(position={"x": 5, "y": 300})
    badges = page.page.locator(".video-list .badge.bad").all_inner_texts()
    total = sum(int(badge.removeprefix("✕ ")) for badge in badges)
    seen = []
    for _ in range(total):
        page.page.keyboard.press("n")
        line = page.page.locator("#selection").inner_text()
        assert "Wrong" in line or "Missed" in line
        seen.append((page.page.locator("#video-title").inner_text(), line))
    assert len(set(seen)) == total > 10
    assert [v for v, _ in seen] == sorted(v for v, _ in seen)
    page.page.keyboard.press("n")  # and round again
    assert page.page.locator("#video-title").inner_text() == seen[0][0]
    page.page.keyboard.press("p")
    assert page.page.locator("#selection").inner_text() == seen[-1][1]


def test_other_keys(page):
    page.page.locator("body").click(position={"x": 5, "y": 300})
    for _ in range(3):
        page.page.keyboard.press("ArrowRight")
    assert page.time() == pytest.approx(3, abs=0.02)
    page.page.keyboard.press("j")
    assert page.page.locator(".seg.selected").count() == 1
    page.page.keyboard.press("Space")
    page.until("document.getElementById('play').textContent === 'Pause'")
    assert not page.page.evaluate("document.getElementById('video').paused")
    page.page.keyboard.press("Space")
    page.page.keyboard.press("v")
    assert page.page.locator("#video-title").inner_text() == "video_01"
    page.page.keyboard.press("+")
    assert page.page.locator("#zoom-value").inner_text() == "2×"
    page.page.keyboard.press("?")
    assert page.page.locator("#keys").is_visible()
    page.page.keyboard.press("Escape")
    page.page.locator("#video-filter").fill("05")
    assert page.page.locator(".video-list button").count() == 1
    page.page.keyboard.press("n")  # typed into the search, no shortcut
    assert page.page.locator("#video-filter").input_value() == "05n"


def test_errors_only_and_class_filter(page):
    set_threshold(page, 0.2)
    page.page.locator("#only-errors").check()
    assert page.page.locator("#timeline .seg.right, #timeline .seg.truth.hit").count() == 0
    assert page.page.locator("#timeline .seg.wrong").count() > 0
    page.page.locator("#only-errors").uncheck()
    page.page.locator("#label-filter").select_option(label="plank")
    assert page.page.locator("#timeline .tl-row:not(.tl-head) .tl-name").all_inner_texts() in ([], ["plank"])


def test_table_sorts_and_charts_tell_their_figures(page):
    page.page.locator("#class-table th button", has_text="Class").click()
    names = page.page.locator("#class-table tbody th").all_inner_texts()
    assert names == sorted(names)
    labels = page.page.locator("#training svg").evaluate_all(
        "all => all.map(s => s.getAttribute('aria-label'))"
    )
    assert len(labels) == 6 and all("at step 600" in label for label in labels)
    page.page.locator("#training svg").first.focus()
    page.page.keyboard.press("Home")
    assert "at step 2" in page.page.locator("#training .readout").first.inner_text()


def test_everything_has_a_name(page):
    nameless = page.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [role=slider], [role=img], video')]
          .filter(e => !e.closest('[hidden]') && !(e.textContent.trim() && e.tagName === 'BUTTON'))
          .filter(e => !e.getAttribute('aria-label') && !(e.labels && e.labels.length))
          .map(e => e.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(opened, data, scheme):
    """Contrast of WCAG 2: 4.5 for text."""
    page = opened((data[0] / "report.html").as_uri(), color_scheme=scheme)
    ratios = page.contrasts(
        [
            *(
                "h1",
                "#subtitle",
                ".card small",
                ".card strong",
                ".meta",
                ".badge.bad",
                ".tl-name span",
                ".tick",
            ),
            *(
                "#next-error",
                ".seg.found span",
                ".seg.truth.missed span",
                ".legend li",
                ".readout",
                "thead th",
            ),
        ],
    )
    assert [(q, round(r, 2)) for q, r in ratios if r < 4.5] == []


def test_theme_button(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.page.evaluate(ground)
    page.page.locator("#theme-button").click()
    assert page.page.evaluate(ground) == before  # light, as the system
    page.page.locator("#theme-button").click()
    assert page.page.evaluate(ground) != before


def test_fits_a_phone(opened, data):
    phone = {"width": 360, "height": 740}
    page = opened((data[0] / "report.html").as_uri(), viewport=phone, is_mobile=True, has_touch=True).ready()
    wide = page.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    page.page.locator("#next-error").tap()
    bar = page.page.locator(".seg.selected")
    assert bar.count() == 1 and bar.bounding_box()["height"] >= 24
    screen = page.page.locator("#video").bounding_box()
    assert screen["width"] > 280


def test_hostile_text_stays_text(opened, tmp_path):
    bad = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    annotations = make_annotations(tmp_path, num_videos=2, labels=(bad, "ok"))
    predictions = make_predictions(tmp_path, annotations)
    for path, key in ((annotations, "database"), (predictions, "results")):
        content = json.loads(path.read_text())
        content[key] = {f"{k}{bad}": v for k, v in content[key].items()}
        path.write_text(json.dumps(content))
    write_report(collect(predictions, annotations, "validation"), tmp_path / "r.html")
    page = opened((tmp_path / "r.html").as_uri())
    page.page.keyboard.press("n")
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator("img").count() == 0
    assert page.page.locator("#video-title").inner_text() == f"video_00{bad}"
    assert bad in page.page.locator(".tl-name span").all_inner_texts()


def test_predictions_alone(opened, data, tmp_path):
    write_report(collect(data[3]), tmp_path / "r.html")
    page = opened((tmp_path / "r.html").as_uri())
    assert not page.page.locator("#next-error").is_visible()
    assert page.page.locator("#timeline .seg.found").count() > 0
    assert page.page.locator("#no-video").is_visible()
    page.page.locator(".seg.found").first.click()  # no video: the clock moves all the same
    assert not page.page.locator("#clock").inner_text().startswith("0:00.0 ")
    page.page.locator("#video-file").set_input_files(data[0] / "videos" / "video_00.mp4")
    page.ready()
    assert page.page.locator("#video").is_visible()


def test_a_run_without_videos_yet(opened, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("data: {}\n")
    make_log(run / "log.jsonl")
    write_report(collect(run), tmp_path / "r.html")
    page = opened((tmp_path / "r.html").as_uri())
    for key in ("n", "Space", "v", "]", "+", "?"):
        page.page.keyboard.press(key)
    assert page.page.locator("#training svg").count() == 6
    assert not page.page.locator("#explore").is_visible()


def test_a_missing_video_file_is_explained(opened, data, tmp_path):
    shutil.copy(data[0] / "report.html", tmp_path / "moved.html")
    page = opened((tmp_path / "moved.html").as_uri())
    page.page.locator("#no-video").wait_for()
    assert "video_00.mp4 was not found" in page.page.locator("#no-video-text").inner_text()
    page.complaints = [c for c in page.complaints if "ERR_FILE_NOT_FOUND" not in c]  # the browser's own


def test_served_page_seeks_with_ranges(opened, data):
    with running(serve_report(data[1])) as server:
        page = opened(server.address).ready()
        page.page.locator(".tl-axis").click(position={"x": 300, "y": 8})
        assert page.time() > 5
        assert ("video/0", 206) in {(u.removeprefix(server.address), s) for u, s in page.answers}
        assert all(u.startswith((server.address, "data:")) for u in page.requests)


def test_chromium_reads_our_webvtt(opened, data, tmp_path):
    """An independent reader of the WebVTT export."""
    labels = ["a --> b", "x < y & z", "two\nlines"]
    frame = pd.DataFrame(
        {
            "video_id": "a",
            "start_s": [1.25, 3700.5, 2],
            "end_s": [2.5, 3701, 9],
            "label": labels,
            "score": [0.5, 0.25, 1.0],
        }
    )
    (path,) = write_exports(frame, {}, ["vtt"], tmp_path)
    page = opened("about:blank")
    cues = page.page.evaluate(
        """text => new Promise(done => {
          const video = document.createElement('video');
          const track = document.createElement('track');
          track.default = true;
          track.src = URL.createObjectURL(new Blob([text], { type: 'text/vtt' }));
          track.onload = () => done([...track.track.cues].map(
            c => [c.startTime, c.endTime, c.getCueAsHTML().textContent]));
          video.append(track);
          document.body.append(video);
          track.track.mode = 'hidden';
        })""",
        path.read_text(),
    )
    assert cues == [[1.25, 2.5, "a --> b 0.50"], [2, 9, "two lines 1.00"], [3700.5, 3701, "x < y & z 0.25"]]


def test_many_detections_are_bars_and_a_shade(opened, tmp_path):
    """600 bars of the best scores; the slider and the keys reach the others, which are drawn as a shade."""
    found = [(0.05 * i, 0.05 * i + 0.5, i % 2, round(1 - i / 1000, 5)) for i in range(1000)]
    truth = [(49.0, 49.5, 0)]
    video = ReportVideo("crowded", 60.0, None, truth, found)
    write_report(Report("many", "", ["odd", "even"], [video]), tmp_path / "r.html")
    page = opened((tmp_path / "r.html").as_uri())
    set_threshold(page, 0)
    assert page.page.locator("#timeline .seg.found").count() == 600
    shades = page.page.locator("#timeline canvas:visible")
    assert [s.get_attribute("aria-label") for s in shades.all()] == [
        "200 more of odd, with lower scores",
        "200 more of even, with lower scores",
    ]
    painted = """canvas => {
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data;
      const columns = [...Array(canvas.width).keys()].filter(x => pixels[4 * x + 3] > 0);
      return [columns[0] / canvas.width * 60, columns.at(-1) / canvas.width * 60];
    }"""
    first, last = shades.first.evaluate(painted)
    assert first == pytest.approx(30, abs=0.2) and last == pytest.approx(50.4, abs=0.2)
    page.page.keyboard.press("p")  # the last error is one of the shade: it becomes a bar
    assert "score 0.001" in page.page.locator("#selection").inner_text()
    assert page.page.locator(".seg.selected").count() == 1
    set_threshold(page, 0.5)
    assert page.page.locator("#timeline .seg.found").count() == 501 and shades.count() == 0
