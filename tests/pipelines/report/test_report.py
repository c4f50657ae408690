"""What a report gathers and how it is embedded; the page itself is tested in a browser."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from featstore import FeatureSpec, FeatureStore
from pipelines.report import collect, render, write_report
from pipelines.report.page import embed_json
from pipelines.report.run import ReportError
from pipelines.report.run_folder import MAX_POINTS, memory_age, read_run, training_series
from pipelines.shared.files import OutputExistsError
from pipelines.train.run_log import read_log
from tal.annotations import read_annotations, read_predictions
from tal.errors import AnnotationError
from tal.metrics import evaluate
from tests.pipelines.report.report_data import make_annotations, make_log, make_predictions


@pytest.fixture
def files(tmp_path):
    annotations = make_annotations(tmp_path)
    return annotations, make_predictions(tmp_path, annotations)


class Scripts(HTMLParser):
    """Collects the text of script elements and every attribute that could load something."""

    def __init__(self):
        super().__init__()
        self.scripts, self.inside, self.addresses = [], None, []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "script":
            self.inside = attributes.get("type", "js")
            self.scripts.append([self.inside, ""])
        self.addresses += [v for k, v in attributes.items() if k in ("src", "href", "data", "action") and v]

    def handle_endtag(self, tag):
        if tag == "script":
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1][1] += data


def parse(page):
    parser = Scripts()
    parser.feed(page)
    return parser


def test_page_holds_the_data_and_loads_nothing(files):
    annotations, predictions = files
    report = collect(predictions, annotations, "validation")
    parser = parse(render(report, lambda video: None))
    kinds = [kind for kind, _ in parser.scripts]
    assert kinds == ["application/json", "js"]
    document = json.loads(parser.scripts[0][1])
    assert len(document["videos"]) == 6 and document["videos"][0]["src"] is None
    assert all(address.startswith(("#", "data:")) for address in parser.addresses)
    expected = evaluate(
        read_annotations(annotations).subset("validation"),
        read_predictions(predictions),
        [0.3, 0.4, 0.5, 0.6, 0.7],
    )
    assert document["averageMAP"] == pytest.approx(expected.average_mAP)
    by_label = dict(zip(document["labels"], document["perClass"], strict=True))
    assert by_label["plank"] == pytest.approx(expected.per_class["plank"])


def test_truth_of_other_videos_and_no_folder_are_refused(tmp_path):
    annotations = make_annotations(tmp_path)
    predictions = make_predictions(tmp_path, annotations)
    with pytest.raises(ReportError, match="is not a folder"):
        collect(predictions, annotations, videos_dir=tmp_path / "nowhere")
    annotations.write_text(annotations.read_text().replace("video_", "other_"))
    with pytest.raises(ReportError, match="'other_00' there, 'video_00' here"):
        collect(predictions, annotations)


def test_hostile_text_cannot_leave_the_json(tmp_path):
    bad = '</script><script>alert(1)</script><!--<b>&amp;\u2028\u2029"\\'
    annotations = make_annotations(tmp_path, labels=(bad, "ok"))
    predictions = make_predictions(tmp_path, annotations)
    for path, key in ((annotations, "database"), (predictions, "results")):
        content = json.loads(path.read_text())
        content[key] = {f"{bad}{k}": v for k, v in content[key].items()}
        path.write_text(json.dumps(content))
    parser = parse(render(collect(predictions, annotations), lambda video: None))
    assert len(parser.scripts) == 2
    text = parser.scripts[0][1]
    assert not re.search("[<>&\u2028\u2029]", text)
    assert bad in json.loads(text)["labels"]
    assert json.loads(embed_json({"a": bad})) == {"a": bad}


def test_videos_are_named_relative_to_the_page(files, tmp_path):
    annotations, predictions = files
    folder = tmp_path / "video #1"
    folder.mkdir()
    (folder / "video_00.mp4").write_bytes(b"x")
    report = collect(predictions, annotations, "validation", folder)
    out = write_report(report, tmp_path / "pages" / "r.html")
    document = json.loads(parse(out.read_text()).scripts[0][1])
    sources = {v["id"]: v["src"] for v in document["videos"]}
    assert sources["video_00"] == "../video%20%231/video_00.mp4"
    assert sources["video_01"] is None
    with pytest.raises(OutputExistsError):
        write_report(report, out)
    write_report(report, out, overwrite=True)


def test_the_page_holds_the_best_detections_and_says_what_is_left_out(files):
    annotations, predictions = files
    report = collect(predictions, annotations, "validation", max_per_video=5)
    frame = read_predictions(predictions)
    for video in report.videos:
        own = frame[frame["video_id"] == video.id]["score"]
        assert sorted(f[3] for f in video.detections) == pytest.approx(sorted(own.nlargest(5)), abs=1e-5)
    assert any("left out" in note for note in report.notes)


def test_without_a_subset_only_predicted_videos_count(files):
    annotations, predictions = files
    content = json.loads(predictions.read_text())
    content["results"] = dict(list(content["results"].items())[:2])
    predictions.write_text(json.dumps(content))
    report = collect(predictions, annotations)
    assert [v.id for v in report.videos] == ["video_00", "video_01"]
    assert any("4 of 6" in note for note in report.notes)
    assert len(collect(predictions, annotations, "validation").videos) == 6


def test_ids_with_and_without_the_prefix_meet(files):
    annotations, predictions = files
    content = json.loads(predictions.read_text())
    content["results"] = {f"v_{k}": v for k, v in content["results"].items()}
    predictions.write_text(json.dumps(content))
    report = collect(predictions, annotations, "validation")
    assert len(report.videos) == 6 and all(v.ground_truth is not None and v.detections for v in report.videos)


def test_predictions_alone_make_a_report(files):
    report = collect(files[1])
    assert report.scores is None and all(video.ground_truth is None for video in report.videos)
    assert report.to_json()["perClass"] is None


def test_a_run_brings_its_own_truth_curves_and_thresholds(files, tmp_path):
    annotations, predictions = files
    run = tmp_path / "run"
    (run / "validation").mkdir(parents=True)
    (run / "model").mkdir()
    (run / "model" / "provenance.json").write_text('{"step": 300}')
    (run / "validation" / "step_00000600_predictions.json").write_text('{"results": {}}')
    predictions.rename(run / "validation" / "step_00000300_predictions.json")
    (run / "config.yaml").write_text(f"data: {{annotations: '{annotations}', val_subset: validation}}\n")
    (run / "model" / "thresholds.json").write_text('{"plank": 0.4, "squat": 0.6}')
    make_log(run / "log.jsonl")
    report = collect(run)
    assert report.title == "run" and report.scores is not None
    names = [series.name for series in report.training]
    assert names[:2] == ["loss", "validation: mAP"] and {"cls", "lr", "grad_norm"} <= set(names)
    assert "step_00000300" in report.subtitle  # those of the model that the run gives out
    document = report.to_json()
    assert document["thresholds"][document["labels"].index("plank")] == 0.4
    assert document["thresholds"][document["labels"].index("curl")] == 0.5  # the median of those known


def test_the_memorys_age(tmp_path):
    spec = FeatureSpec(encoder="e", weights="w", channels=4, clip_frames=8, frame_stride=1, dtype="float32")
    with FeatureStore.create(tmp_path / "memory.zarr", spec) as store:
        for name in ("a", "b", "validation"):
            store.add_video(name, num_rows=16, fps=5.0, duration_s=3.2, num_frames=16)
            store.write(name, 0, np.zeros((16, 4), np.float32), step=0)
            store.complete(name)
        store.commit()
        store.write("a", 0, np.ones((8, 4), np.float32), step=10)
        store.write("b", 4, np.ones((4, 4), np.float32), step=10)
        store.commit()
    notes = []
    age = memory_age(tmp_path / "memory.zarr", notes)
    assert notes == [] and age["now"] == 10
    assert age["untouched"] == 1 and age["neverShare"] == pytest.approx(20 / 32)
    assert sum(age["counts"]) == 32 and age["counts"][0] == 12 and age["counts"][-1] == 20
    assert [(v["id"], v["ageMean"], v["ageMax"], v["never"], v["writes"]) for v in age["videos"]] == [
        ("b", 7.5, 10, 0.75, 1.25),
        ("a", 5, 10, 0.5, 1.5),
    ]
    (tmp_path / "broken.zarr").mkdir()
    assert memory_age(tmp_path / "broken.zarr", notes) is None and "not shown" in notes[0]
    assert memory_age(tmp_path / "none.zarr", notes) is None


def test_a_folder_of_predict_brings_its_videos_and_thresholds(files, tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    files[1].rename(folder / "predictions.json")
    (tmp_path / "x.mp4").write_bytes(b"x")
    (tmp_path / "secret.txt").write_text("x")
    videos = {
        "video_00": {"path": str(tmp_path / "x.mp4")},
        "video_01": {"path": str(tmp_path / "secret.txt")},  # no video's suffix
        "video_02": {"path": str(tmp_path / "gone.mp4")},
        "video_03": "odd",
    }
    (folder / "manifest.json").write_text(json.dumps({"videos": videos, "thresholds": {"plank": 0.25}}))
    report = collect(folder)
    assert [v.file for v in report.videos] == [tmp_path / "x.mp4", *[None] * 5]
    assert report.thresholds == {"plank": 0.25}
    (folder / "manifest.json").write_text("[")
    assert collect(folder).thresholds is None


def test_a_run_that_has_only_begun(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("data: {}\n")
    (run / "log.jsonl").write_text('{"kind": "step", "step": 1, "loss": 2.0}\n')
    report = collect(run)
    assert report.videos == [] and [s.value for s in report.training] == [[2.0]]
    assert any("no validation" in note for note in report.notes)
    assert "<html" in render(report, lambda video: None)


def test_damaged_lines_of_the_log_are_left_out_and_curves_are_thinned(tmp_path):
    log = make_log(tmp_path / "log.jsonl", steps=1000)
    loss = next(series for series in training_series(log) if series.name == "loss")
    assert len(loss.step) == MAX_POINTS and loss.step[-1] == 1000
    values = [json.loads(line)["loss"] for line in log.read_text().splitlines()[:-1] if '"loss"' in line]
    assert loss.step[0] == 3 and loss.value[0] == pytest.approx(np.mean(values[:3]), rel=1e-5)
    assert loss.value[-1] == pytest.approx(np.mean(values[-2:]), rel=1e-5)


def test_numbers_that_are_not_finite_do_not_reach_the_page(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": NaN}\n{"step": 2, "loss": 1.5}\n[1]\n{"step": "x", "loss": 1}\n')
    assert [s.to_json() for s in training_series(log)] == [{"name": "loss", "step": [2], "value": [1.5]}]


def test_a_kind_of_record_has_one_name_whichever_release_wrote_it(tmp_path):
    log = tmp_path / "log.jsonl"
    kinds = ("settle", "finetune_localizer")
    log.write_text("".join(json.dumps({"kind": k, "step": s, "rows": 9}) + "\n" for s, k in enumerate(kinds)))
    (series,) = training_series(log)
    assert series.to_json() == {"name": "finetune_localizer: rows", "step": [0, 1], "value": [9.0, 9.0]}
    assert [r["step"] for r in read_log(tmp_path, "finetune_localizer")] == [0, 1]


def test_empty_predictions_are_said_to_be_so(files, tmp_path):
    (tmp_path / "empty.json").write_text('{"results": {"video_00": []}}')
    report = collect(tmp_path / "empty.json", files[0], "validation")
    assert len(report.videos) == 6 and any("holds no detection" in note for note in report.notes)
    assert [v.id for v in collect(tmp_path / "empty.json").videos] == ["video_00"]


def test_wrong_sources_are_named(tmp_path):
    assert read_run(tmp_path) is None
    with pytest.raises(ReportError, match="is not a run"):
        collect(tmp_path)
    with pytest.raises(AnnotationError, match="no such file"):
        collect(tmp_path / "missing.json")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(AnnotationError):
        collect(tmp_path / "x.json")


def test_assets_are_package_data():
    from importlib import resources

    folder = Path(str(resources.files("pipelines.report"))) / "page"
    assert {p.suffix for p in folder.iterdir()} == {".html", ".css", ".js"}
    assert all(len(p.read_text().splitlines()) <= 500 for p in folder.iterdir())
