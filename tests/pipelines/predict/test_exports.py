"""Exports are parsed back by rules of their own; hostile ids and labels stay inside their file and folder."""

import csv
import html
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.commands.predict import command
from pipelines.predict.exports import write_exports
from pipelines.shared.files import OutputExistsError, safe_names
from tal.annotations import read_annotations
from tal.annotations.formats.registry import PREDICTION_FILES
from tal.errors import AnnotationError

FORMATS = list(PREDICTION_FILES)

HOSTILE = ["../../etc/passwd", "/abs", "..", ".hidden", "", "a/b\\c", "CON", "nul.txt", "x" * 400, "é\n'\"<&"]
LABELS = [
    "jump",
    "a --> b",
    "<script>alert(1)</script>",
    "two\nlines",
    "cr\rlf",
    "tab\there",
    'q"uo,te',
    "élan & co",
]
CONTROL = "\x00\x1b[0m"


def detections(ids=("a", "b"), labels=("jump", "run"), n=40, seed=0):
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 4000, n)
    return pd.DataFrame(
        {
            "video_id": rng.choice(np.array(ids, dtype=object), n),
            "start_s": start,
            "end_s": start + rng.exponential(5, n),
            "label": rng.choice(np.array(labels, dtype=object), n),
            "score": rng.uniform(0, 1, n),
        }
    )


def as_set(frame, digits=3):
    return sorted(
        (r.video_id, round(r.start_s, digits), round(r.end_s, digits), r.label, round(r.score, 6))
        for r in frame.itertuples()
    )


def test_json_is_the_official_form_and_lists_videos_without_detections(tmp_path):
    frame = detections()
    (path,) = write_exports(frame, {"a": Path("a.mp4"), "empty": Path("e.mp4")}, ["json"], tmp_path)
    document = json.loads(path.read_text())
    assert set(document) == {"version", "results", "external_data"}
    assert document["external_data"] == {"used": False, "details": ""}
    assert document["results"]["empty"] == []
    back = pd.DataFrame(
        [
            {
                "video_id": v,
                "start_s": d["segment"][0],
                "end_s": d["segment"][1],
                "label": d["label"],
                "score": d["score"],
            }
            for v, rows in document["results"].items()
            for d in rows
        ]
    )
    assert as_set(back, 12) == as_set(frame, 12)


def test_csv_keeps_every_digit_and_label(tmp_path):
    frame = detections(labels=LABELS)
    (path,) = write_exports(frame, {}, ["csv"], tmp_path)
    back = pd.read_csv(path, keep_default_na=False)
    assert list(back.columns) == ["video_id", "start_s", "end_s", "label", "score"]
    assert as_set(back, 12) == as_set(frame, 12)


def test_boris_table_has_its_columns_and_paired_events(tmp_path):
    frame = detections(labels=LABELS)
    (path,) = write_exports(frame, {"a": Path("/v/a.mp4")}, ["boris"], tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {"Observation id", "Media file", "Behavior", "Behavior type", "Start (s)", "Stop (s)"} <= set(
        rows[0]
    )
    assert {row["Behavior type"] for row in rows} == {"STATE"}
    assert {row["Media file"] for row in rows if row["Observation id"] == "a"} == {"/v/a.mp4"}
    back = pd.DataFrame(
        {
            "video_id": [r["Observation id"] for r in rows],
            "start_s": [float(r["Start (s)"]) for r in rows],
            "end_s": [float(r["Stop (s)"]) for r in rows],
            "label": [r["Behavior"] for r in rows],
            "score": [float(r["Comment start"].removeprefix("score=")) for r in rows],
        }
    )
    assert as_set(back) == as_set(frame)


CUE = re.compile(r"(\d+)\n(\d+):(\d\d):(\d\d)[.,](\d{3}) --> (\d+):(\d\d):(\d\d)[.,](\d{3})\n(.*)")


def parse_cues(text):
    """Blank-line separated blocks -> (start_s, end_s, text)."""
    cues = []
    for block in text.strip().split("\n\n"):
        match = CUE.fullmatch(block)
        assert match, block
        _, h0, m0, s0, f0, h1, m1, s1, f1, label = match.groups()
        cues.append(
            (
                int(h0) * 3600 + int(m0) * 60 + int(s0) + int(f0) / 1000,
                int(h1) * 3600 + int(m1) * 60 + int(s1) + int(f1) / 1000,
                label,
            )
        )
    return cues


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_parse_back(tmp_path, kind):
    frame = detections(ids=["a"], labels=[*LABELS, CONTROL])
    (path,) = write_exports(frame, {"a": Path("a.mp4")}, [kind], tmp_path)
    assert path.name == f"a.{kind}"
    text = path.read_text()
    if kind == "vtt":
        head, text = text.split("\n\n", 1)
        assert head == "WEBVTT"
    cues = parse_cues(text)
    assert [c[0] for c in cues] == sorted(c[0] for c in cues)
    wanted = frame.sort_values(["start_s", "end_s"])
    for (start, end, shown), row in zip(cues, wanted.itertuples(), strict=True):
        assert start == pytest.approx(row.start_s, abs=6e-4)
        assert end == pytest.approx(row.end_s, abs=1.1e-3)
        assert end > start
        label = " ".join(row.label.split())
        if kind == "srt":
            assert shown == f"{label.replace('-->', '→')} {row.score:.2f}"
        else:
            assert "-->" not in shown and "<" not in shown
            assert html.unescape(shown) == f"{label} {row.score:.2f}"


def test_elan_tiers_by_label_without_overlaps(tmp_path):
    frame = detections(ids=["a"], labels=[*LABELS, CONTROL, "jump (2)"], n=200)
    frame["start_s"] /= 40  # many overlaps
    frame["end_s"] = frame["start_s"] + 3
    video = tmp_path / "videos dir" / "a.mp4"
    (path,) = write_exports(frame, {"a": video}, ["eaf"], tmp_path / "out")
    root = ET.parse(path).getroot()
    assert root.tag == "ANNOTATION_DOCUMENT" and root.get("FORMAT") == "3.0"
    assert [child.tag for child in root if child.tag != "TIER"] == ["HEADER", "TIME_ORDER", "LINGUISTIC_TYPE"]
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert media.get("MEDIA_URL") == video.as_uri() and media.get("MIME_TYPE") == "video/mp4"
    assert media.get("RELATIVE_MEDIA_URL") == "./../videos dir/a.mp4"
    slots = {s.get("TIME_SLOT_ID"): int(s.get("TIME_VALUE")) for s in root.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(slots.values())
    types = {t.get("LINGUISTIC_TYPE_ID") for t in root.iter("LINGUISTIC_TYPE")}
    tiers = root.findall("TIER")
    assert len({t.get("TIER_ID") for t in tiers}) == len(tiers)
    ids, seen = [], 0
    for tier in tiers:
        assert tier.get("LINGUISTIC_TYPE_REF") in types
        spans = []
        for item in tier.iter("ALIGNABLE_ANNOTATION"):
            ids.append(item.get("ANNOTATION_ID"))
            spans.append((slots[item.get("TIME_SLOT_REF1")], slots[item.get("TIME_SLOT_REF2")]))
        assert all(a < b for a, b in spans)
        assert all(spans[i][1] <= spans[i + 1][0] for i in range(len(spans) - 1))
        seen += len(spans)
    assert seen == len(frame) and len(set(ids)) == seen
    starts = sorted(slots[i.get("TIME_SLOT_REF1")] / 1000 for i in root.iter("ALIGNABLE_ANNOTATION"))
    np.testing.assert_allclose(starts, np.sort(frame["start_s"]), atol=1e-3)


def test_elan_files_are_read_back_under_their_videos_ids(tmp_path):
    ids = ["a", "P01/P01_11", "P02/P01_11", "v.1", "CON", 'q"<&']
    frame = detections(ids=ids, n=60)
    write_exports(frame, dict.fromkeys([*ids, "d/empty"], Path("v.mp4")), ["eaf"], tmp_path)
    back = read_annotations(tmp_path)
    assert set(back.videos) == {*ids, "d/empty"}
    for video_id, video in back.videos.items():
        labels = frame.loc[frame["video_id"] == video_id, "label"]
        assert sorted(s.label for s in video.segments) == sorted(labels)
    (tmp_path / "copy.eaf").write_text(next(tmp_path.glob("P01*.eaf")).read_text())
    with pytest.raises(AnnotationError, match="another file too is of video 'P01/P01_11'"):
        read_annotations(tmp_path)


def test_hostile_ids_stay_in_the_folder_and_apart(tmp_path):
    out = tmp_path / "out"
    frame = detections(ids=[*HOSTILE, "A", "a"], n=200)
    written = write_exports(frame, dict.fromkeys([*HOSTILE, "\udc80"], Path("v.mp4")), FORMATS, out)
    assert all(path.parent == out and path.is_file() for path in written)
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    num_files = 5 + 4 * (len(HOSTILE) + 3)
    assert len(written) == num_files == len({p.name.casefold() for p in written}) == len(list(out.iterdir()))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(), max_size=6))
def test_safe_names_are_single_distinct_components(ids):
    names = safe_names(ids)
    assert set(names) == set(ids)
    assert len({n.casefold() for n in names.values()}) == len(names)
    for name in names.values():
        assert name == Path(name).name and not name.startswith(".") and len(name.encode()) < 200
        assert not re.search(r'[/\\:*?"<>|\x00-\x1f]', name)


def test_good_ids_keep_their_name():
    assert safe_names(["v_abc-1.2", "Vidéo 3"]) == {"v_abc-1.2": "v_abc-1.2", "Vidéo 3": "Vidéo 3"}


def test_nothing_is_overwritten_unless_asked(tmp_path):
    frame = detections()
    (tmp_path / "b.srt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"b\.srt"):
        write_exports(frame, {}, ["json", "srt"], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["b.srt"]
    assert (tmp_path / "b.srt").read_text() == "mine"
    write_exports(frame, {}, ["json", "srt"], tmp_path, overwrite=True)
    assert (tmp_path / "b.srt").read_text() != "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.srt", "b.srt", "predictions.json"]


def test_overwriting_a_link_leaves_its_target(tmp_path):
    target = tmp_path / "precious"
    target.write_text("keep")
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.csv").symlink_to(target)
    with pytest.raises(OutputExistsError):
        write_exports(detections(), {}, ["csv"], out)
    write_exports(detections(), {}, ["csv"], out, overwrite=True)
    assert target.read_text() == "keep"


def test_wrong_input_says_what_is_wrong(tmp_path):
    frame = detections()
    with pytest.raises(AnnotationError, match="formats are json"):
        write_exports(frame, {}, ["docx"], tmp_path)
    with pytest.raises(AnnotationError, match="'score'"):
        write_exports(frame.drop(columns="score"), {}, ["csv"], tmp_path)
    frame.loc[3, "end_s"] = np.nan
    with pytest.raises(AnnotationError, match="row 3"):
        write_exports(frame, {}, ["csv"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_every_format():
    (option,) = (p for p in command.params if p.name == "formats")
    listed = option.help.partition(":")[2].partition(";")[0]
    assert set(re.findall(r"\w+", listed)) == set(FORMATS)


def test_no_detections_at_all_still_gives_readable_files(tmp_path):
    written = write_exports(detections(n=0), {"a": Path("a.mp4")}, FORMATS, tmp_path)
    assert len(written) == len(FORMATS)
    ET.parse(tmp_path / "a.eaf")
    assert json.loads((tmp_path / "predictions.json").read_text())["results"] == {"a": []}
    assert (tmp_path / "a.vtt").read_text().startswith("WEBVTT")
