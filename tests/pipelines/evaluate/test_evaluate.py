"""`longtal evaluate`, `compare` and `annotations`, from files to files."""

import csv
import json
import re

import pytest
from click.testing import CliRunner

from cli import cli
from tal.annotations import read_annotations, read_predictions
from tal.errors import AnnotationError, EvaluationError

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def files(tmp_path):
    """Two videos; labels that HTML, a spreadsheet or matplotlib must not take at their word."""
    database = {
        "x": {
            "subset": "test",
            "duration": 100.0,
            "annotations": [
                {"label": "run", "segment": [0, 10]},
                {"label": HOSTILE, "segment": [20, 30]},
                {"label": "=1+1 $x$", "segment": [40, 50]},
            ],
        },
        "y": {"subset": "test", "duration": 60.0, "annotations": [{"label": "run", "segment": [5, 9]}]},
        "z": {"subset": "training", "annotations": [{"label": "run", "segment": [5, 9]}]},
    }
    results = {
        "x": [
            {"label": "run", "score": 0.9, "segment": [0, 9]},
            {"label": HOSTILE, "score": 0.8, "segment": [21, 30]},
            {"label": "=1+1 $x$", "score": 0.7, "segment": [70, 80]},
        ],
        "v_y": [{"label": "run", "score": 0.6, "segment": [5, 9]}],
    }
    (tmp_path / "truth.json").write_text(json.dumps({"database": database}))
    write_results(tmp_path / "pred.json", results)
    results["x"][0]["segment"] = [50, 60]
    write_results(tmp_path / "worse.json", results)
    return tmp_path


def write_results(path, results):
    path.write_text(json.dumps({"version": "VERSION 1.3", "results": results, "external_data": {}}))


def run(*args):
    result = CliRunner().invoke(cli, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def evaluate(files, *more, predictions="pred.json"):
    return run(
        "evaluate",
        "--annotations",
        files / "truth.json",
        "--predictions",
        files / predictions,
        "--subset",
        "test",
        *more,
    )


def test_the_stable_command_writes_the_stable_keys(files):
    done = evaluate(files, "--tiou", "0.3:0.7:0.1", "--json", files / "out.json")
    assert done.exit_code == 0
    report = json.loads((files / "out.json").read_text())
    assert report["tiou"] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert report["per_class"] == {"run": [1.0] * 5, HOSTILE: [1.0] * 5, "=1+1 $x$": [0.0] * 5}
    assert report["mAP"] == pytest.approx([2 / 3] * 5)
    assert report["average_mAP"] == pytest.approx(2 / 3)
    assert report["counts"]["instances"] == 4
    assert report["manifest"]["instances_by_video"] == {"x": 3, "y": 1}
    assert any("'v_' taken off: 'v_y'" in n for n in report["notes"])
    assert "66.67" in done.stdout


def test_json_on_stdout_is_json_alone(files):
    assert json.loads(evaluate(files, "--json", "-").stdout)["subset"] == ["test"]


def test_every_output(files):
    out = files / "out"
    evaluate(
        files, "--csv", out / "a.csv", "--plots", out / "plots", "--html", out / "a.html", "--manifest",
        out / "m.json", "--calibrate", out / "thresholds.json", "--per-class",
    )  # fmt: skip
    rows = list(csv.reader((out / "a.csv").open()))
    assert rows[0][:3] == ["predictions", "label", "instances"]
    assert rows[1][1] == "mAP" and float(rows[1][-1]) == pytest.approx(2 / 3)
    assert any(r[1] == "'=1+1 $x$" for r in rows)  # no formula in a spreadsheet
    assert {p.stem for p in (out / "plots").iterdir()} == {
        "map_by_tiou",
        "ap_by_class",
        "precision_recall",
        "false_positives",
        "missed",
    }
    page = (out / "a.html").read_text()
    assert HOSTILE not in page
    assert not re.search(r"""(src|href)=["']https?:""", page)  # nothing is fetched
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)
    assert json.loads(data)["averageMAP"] == pytest.approx(2 / 3)
    assert HOSTILE in json.loads(data)["labels"]
    assert json.loads((out / "m.json").read_text())["instances"] == 4
    thresholds = json.loads((out / "thresholds.json").read_text())
    assert thresholds["tiou"] == 0.5 and set(thresholds["thresholds"]) == {"run", HOSTILE, "=1+1 $x$"}
    again = evaluate(files, "--thresholds", out / "thresholds.json", "--json", out / "b.json")
    assert again.exit_code == 0
    assert json.loads((out / "b.json").read_text())["operating_point"]["micro"]["true"] == 3


def test_several_files_give_mean_and_sd(files):
    done = evaluate(
        files, "-p", files / "worse.json", "--tiou", "0.5", "--json", files / "out.json", "--no-diagnosis"
    )
    report = json.loads((files / "out.json").read_text())
    single = [r["average_mAP"] for r in report["runs"]]
    assert len(single) == 2 and single[0] > single[1]
    assert report["average_mAP"] == pytest.approx(sum(single) / 2)
    assert report["sd"]["average_mAP"] == pytest.approx((single[0] - single[1]) / 2**0.5)
    assert "mean ±" in done.stdout
    assert "diagnosis" not in report["runs"][0]


def test_blocked_videos_count_neither_as_truth_nor_as_prediction(files):
    (files / "blocked.json").write_text('["y"]')
    evaluate(files, "--blocked", files / "blocked.json", "--json", files / "out.json")
    report = json.loads((files / "out.json").read_text())
    assert report["counts"]["videos"] == 1
    assert report["counts"]["predictions"] == 3
    assert report["counts"]["predictions_in_unknown_videos"] == 0
    assert report["manifest"]["excluded"] == [{"video": "y", "reason": "blocked"}]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--subset", "tset"], r"no subset 'tset'; it has 'test' \(2 videos\), 'training' \(1 videos\)"),
        (["--tiou", "0.3:0.1:0.7"], "start"),
        (["--protocol", "thumos"], "no protocol 'thumos'"),
        (["--subset", "training"], r"no video in common|pred.json"),
    ],
)
def test_wrong_input_is_one_error(files, args, message):
    with pytest.raises(EvaluationError, match=message):
        evaluate(files, *args)


def test_formats_without_subsets_are_one_subset_and_say_so(files):
    run("annotations", "convert", files / "truth.json", "--out", files / "t.txt")
    done = run(
        "evaluate",
        "--annotations",
        files / "t.txt",
        "-p",
        files / "pred.json",
        "--subset",
        "test",
        "--json",
        "-",
    )
    assert any(
        "names no subset: all 3 videos are taken as 'test'" in n for n in json.loads(done.stdout)["notes"]
    )


def test_a_missing_subset_is_asked_for(files):
    with pytest.raises(EvaluationError, match=r"which subset .*'test' \(2 videos\), 'training'"):
        run("evaluate", "--annotations", files / "truth.json", "-p", files / "pred.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "needs 'results'"),
        ('{"results": {"x": 3}}', "'x'.*not a list"),
        ('{"results": {"x": [7]}}', "'x'|bare numbers"),
        ('{"results": {"x": [{"label": "a", "score": 1}]}}', "'x'.*'segment'"),
        ('{"results": {"x": [{"label": "a", "score": 1, "segment": [1]}]}}', r"'x'.*\[start, end\]"),
        ('{"results": {"x": [{"label": "a", "score": "high", "segment": [1, 2]}]}}', "'x'.*'high'"),
        ('{"results": {"x": [{"label": "a", "score": NaN, "segment": [1, 2]}]}}', "score is not finite: 'x'"),
        (
            '{"results": {"x": [{"label": 4, "score": 1, "segment": [1, 2]}]}}',
            "a label: 4 is a number, not a name",
        ),
        ('{"results": {"x": [{"label": "a", "score": 1' + "0" * 400 + ', "segment": [1, 2]}]}}', "'x'"),
        ('{"results": {"\\ud800": []}}', "not valid Unicode"),
        ('{"results": {"x": [{"label": ["a"], "score": 1, "segment": [1, 2]}]}}', "'x'"),
    ],
)
def test_bad_predictions_are_one_error(tmp_path, content, message):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=message):
        read_predictions(path)


def test_empty_predictions_read_and_then_say_so(files):
    write_results(files / "none.json", {"x": []})
    assert read_predictions(files / "none.json").attrs["videos"] == ["x"]
    with pytest.raises(
        EvaluationError, match=r"none\.json: no predictions for 2 videos with 4 annotated segments"
    ):
        evaluate(files, predictions="none.json")


@pytest.mark.parametrize("suffix", [".json", ".csv", ".tsv"])
def test_predictions_round_trip(files, suffix):
    from tal.annotations import write_predictions

    frame = read_predictions(files / "pred.json")
    write_predictions(frame, files / f"again{suffix}", videos=["x", "v_y", "w"])
    again = read_predictions(files / f"again{suffix}")
    for column in frame.columns:
        assert again[column].tolist() == frame[column].tolist()
    if suffix == ".json":
        assert again.attrs["videos"] == ["x", "v_y", "w"]
        content = json.loads((files / "again.json").read_text())
        assert {"version", "results", "external_data"} <= set(content)
        assert content["external_data"]["used"] is False


def test_compare(files):
    done = run(
        "evaluate", "--compare", files / "pred.json", files / "worse.json", "--annotations",
        files / "truth.json", "--subset", "test", "--samples", 50, "--json", files / "c.json",
    )  # fmt: skip
    report = json.loads((files / "c.json").read_text())
    assert report["comparisons"][0]["difference"] < 0
    assert "worse.json" in done.stdout
    with pytest.raises(EvaluationError, match="two prediction files"):
        run(
            "evaluate",
            "--compare",
            files / "pred.json",
            "--annotations",
            files / "truth.json",
            "--subset",
            "test",
        )


def test_the_page_has_the_numbers_of_the_evaluation(files):
    """Videos that are left out are left out of both."""
    (files / "blocked.txt").write_text("y\n")
    page = files / "cut.html"
    evaluate(
        files, "--blocked", files / "blocked.txt", "--tiou", "0.5", "--json", files / "o.json", "--html", page
    )
    (data,) = re.findall(r'id="data">(.*?)</script>', page.read_text(), flags=re.S)
    shown, report = json.loads(data), json.loads((files / "o.json").read_text())
    assert report["counts"]["videos"] == 1
    assert shown["averageMAP"] == pytest.approx(report["average_mAP"])
    assert (
        sum(len(v["truth"]["start"]) for v in shown["videos"] if v["truth"]) == report["counts"]["instances"]
    )


def test_former_names_of_commands_say_what_they_are_now(files):
    done = run(
        "compare", files / "pred.json", files / "worse.json", "--annotations", files / "truth.json",
        "--subset", "test", "--samples", 20,
    )  # fmt: skip
    assert "`longtal compare` is now `longtal evaluate --compare`" in done.stderr
    assert "worse.json" in done.stdout
    listed = {line.split()[0] for line in run("--help").stdout.splitlines() if line.strip()}
    assert {"evaluate", "review"} <= listed and not {"compare", "view"} & listed
    done = run("study", "--help")
    assert "python -m benchmarks.study" in done.stderr and "--first-seed" in done.stdout


def test_convert_show_and_formats(files):
    done = run(
        "annotations",
        "convert",
        files / "truth.json",
        "--out",
        files / "t.csv",
        "--rename-subset",
        "test=val",
    )
    assert done.exit_code == 0 and "(activitynet)" in done.stdout
    assert read_annotations(files / "t.csv").subsets == {"val": 2, "training": 1}
    assert "training" in run("annotations", "show", files / "t.csv").stdout
    assert "boris" in run("annotations", "formats").stdout
    with pytest.raises(AnnotationError, match="OLD=NEW"):
        run(
            "annotations", "convert", files / "truth.json", "--out", files / "t.csv", "--rename-subset", "a=b"
        )
    with pytest.raises(AnnotationError, match="no format has that suffix"):
        run("annotations", "convert", files / "truth.json", "--out", files / "t.xyz")


def test_convert_counts_what_the_format_has_no_place_for(files):
    done = run("annotations", "convert", files / "truth.json", "--out", files / "t.txt", "--json")
    stated = "format 'elan' has no place for: subsets (3), durations (2)"
    assert json.loads(done.stdout)["notes"] == [stated]
    again = run("annotations", "convert", files / "truth.json", "--out", files / "t2.json", "--json")
    assert json.loads(again.stdout)["notes"] == []


def test_convert_joins_files_and_names_their_subsets(files):
    (files / "a.csv").write_text("video,start,end,label\na,0,1,run\n")
    (files / "b.csv").write_text("video,start,end,label\nb,0,1,run\n")
    run(
        "annotations", "convert", files / "a.csv", files / "b.csv",
        "--subset", "training", "--subset", "test",
        "--out", files / "ab.json", "--manifest", files / "m.json",
    )  # fmt: skip
    assert read_annotations(files / "ab.json").subsets == {"training": 1, "test": 1}
    assert json.loads((files / "m.json").read_text())["instances"] == 2


def test_official_figures_through_the_command(shared, tmp_path):
    run(
        "evaluate", "--annotations", shared("eval/thumos14.json"), "--subset", "test", "--predictions",
        shared("eval/thumos14_pred.json"), "--tiou", "0.3:0.7:0.1", "--json", tmp_path / "out.json",
    )  # fmt: skip
    expected = json.loads(shared("eval/thumos14_expected.json").read_text())
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["average_mAP"] == pytest.approx(expected["average_mAP"], abs=1e-9)
    for label, ap in expected["per_class"].items():
        assert report["per_class"][label] == pytest.approx(ap, abs=1e-9)


# -- which of two numbers it is ----------------------------------------------------------------------


@pytest.fixture
def doubled(tmp_path):
    """Ground truth in which the only "run" is there twice, and a prediction that finds it."""
    twice = [{"label": "run", "segment": [1, 5]}, {"label": "run", "segment": [1, 5.0005]}]
    once = [{"label": "jump", "segment": [7, 9]}]
    video = {"subset": "test", "duration": 20.0}
    database = {"a": video | {"annotations": twice + once}, "b": video | {"annotations": once}}
    (tmp_path / "truth.json").write_text(json.dumps({"database": database}))
    run_found = {"label": "run", "score": 0.9, "segment": [1, 5]}
    jump_found = {"label": "jump", "score": 0.8, "segment": [7, 9]}
    write_results(tmp_path / "pred.json", {"a": [run_found, jump_found], "b": [jump_found]})
    return tmp_path


@pytest.mark.parametrize(
    ("keep", "ap", "said"),
    [
        ((), 1.0, "1 duplicate annotation removed: ActionFormer's and OpenTAD's number"),
        (("--keep-duplicates",), 0.5, "1 duplicate annotation counted: the official evaluator's number"),
    ],
)
def test_the_result_says_which_rule_it_follows_and_how_to_get_the_other(doubled, keep, ap, said):
    page = doubled / "page.html"
    protocol = ("--protocol", "activitynet", *keep, "--html", page, "--json", doubled / "r.json")
    shown = evaluate(doubled, *protocol)
    assert said in shown.stdout and "--keep-duplicates" in shown.stdout
    report = json.loads((doubled / "r.json").read_text())
    assert report["per_class"]["run"] == [ap] * 10 and report["per_class"]["jump"] == [1.0] * 10
    assert report["duplicates"]["count"] == 1 and report["duplicates"]["kept"] == bool(keep)
    assert report["duplicates"]["rule"].startswith(said)
    assert said.replace("'", "\\u0027") in page.read_text() or said in page.read_text()


def test_without_duplicates_both_numbers_are_one(files):
    shown = evaluate(files)
    assert "mAP: no annotation is there twice" in shown.stdout


def test_duplicates_of_videos_that_are_not_measured_do_not_count(doubled):
    (doubled / "blocked.txt").write_text("a\n")
    write_results(doubled / "b.json", {"b": [{"label": "jump", "score": 0.8, "segment": [7, 9]}]})
    blocked = ("--protocol", "activitynet", "--blocked", doubled / "blocked.txt")
    assert "no annotation is there twice" in evaluate(doubled, *blocked, predictions="b.json").stdout
