"""ELAN's files, read and written by pympi: another reader finds what we wrote, we find what it wrote."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import (
    AnnotationSet,
    Detection,
    Segment,
    VideoAnnotation,
    read_annotations,
    write_annotations,
)
from tal.annotations.detection import milliseconds
from tal.annotations.formats.registry import PREDICTION_FILES

pympi = pytest.importorskip("pympi")

labels = st.sampled_from(["jump", "run (2)", "Größe <&>", "jump 0.873"])
spans = st.lists(st.tuples(st.floats(0, 500), st.floats(0.002, 60), labels), min_size=1, max_size=8)


def annotations_of(path):
    """(begin, end, value) of every annotation that pympi finds, in milliseconds; a tier's never overlap."""
    document = pympi.Elan.Eaf(str(path))
    found = []
    for tier in document.get_tier_names():
        items = sorted(item[:3] for item in document.get_annotation_data_for_tier(tier))
        assert all(a[1] <= b[0] for a, b in pairwise(items))
        found += items
    return sorted(found)


@settings(max_examples=50, deadline=None)
@given(spans)
def test_pympi_finds_the_annotations_that_were_written(tmp_path_factory, stretches):
    path = tmp_path_factory.mktemp("eaf") / "v.eaf"
    segments = tuple(Segment(s, s + d, label) for s, d, label in stretches)
    write_annotations(AnnotationSet({"v": VideoAnnotation("v", "", segments)}, ()), path, "eaf")
    assert annotations_of(path) == sorted((*milliseconds(s.start_s, s.end_s), s.label) for s in segments)


@settings(max_examples=50, deadline=None)
@given(spans)
def test_pympi_finds_the_detections_with_their_scores_and_the_video(tmp_path_factory, stretches):
    folder = tmp_path_factory.mktemp("eaf")
    path, video = folder / "v.eaf", folder / "media" / "v.mp4"
    detections = sorted(Detection("v", s, s + d, label, 0.123456) for s, d, label in stretches)
    PREDICTION_FILES["eaf"].write(detections, {"v": video}, path)
    assert annotations_of(path) == sorted((*d.milliseconds, f"{d.label} 0.123") for d in detections)
    (media,) = pympi.Elan.Eaf(str(path)).get_linked_files()
    assert (media["MEDIA_URL"], media["RELATIVE_MEDIA_URL"]) == (video.as_uri(), "./media/v.mp4")
    back = read_annotations(path, keep_duplicates=True).videos["v"].segments
    assert sorted(s.label for s in back) == sorted(d.label for d in detections)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b"]),
        st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900), labels), max_size=5),
        max_size=2,
    )
)
def test_what_pympi_wrote_is_read(tmp_path_factory, tiers):
    path = tmp_path_factory.mktemp("eaf") / "v.eaf"
    document = pympi.Elan.Eaf(author="pympi")
    document.remove_tier("default")
    expected = []
    for tier, gaps in tiers.items():
        document.add_tier(tier)
        time = 0
        for gap, length, label in gaps:
            document.add_annotation(tier, time + gap, time + gap + length, label)
            expected.append((time + gap, time + gap + length, label))
            time += gap + length
    document.to_file(str(path))
    found = read_annotations(path, keep_duplicates=True).videos["v"].segments
    assert sorted((round(s.start_s * 1000), round(s.end_s * 1000), s.label) for s in found) == sorted(
        expected
    )


def test_what_pympi_changed_in_a_prediction_is_read(tmp_path):
    path = tmp_path / "v.eaf"
    detections = [Detection("v", 1.0, 2.0, "jump", 0.9), Detection("v", 3.0, 4.0, "jump", 0.4)]
    PREDICTION_FILES["eaf"].write(detections, {"v": tmp_path / "v.mp4"}, path)
    document = pympi.Elan.Eaf(str(path))
    document.remove_annotation("jump", 3500)
    document.add_annotation("jump", 5250, 6500, "jump")
    document.to_file(str(path))
    segments = read_annotations(path).videos["v"].segments
    assert [(s.start_s, s.end_s, s.label) for s in segments] == [
        (1.0, 2.0, "jump"),
        (pytest.approx(5.25), 6.5, "jump"),
    ]
