"""The loop's script: a reviewer who never errs."""

from benchmarks.review_loop import corrected
from tal.annotations import Segment, VideoAnnotation
from tal.annotations.detection import Detection

TRUE = (Segment(1, 3, "a"), Segment(5, 8, "b"), Segment(10, 12, "a"), Segment(15, 16, "b"))
VIDEO = VideoAnnotation("v", "training", TRUE, 20.0)


def found(start, end, label, score):
    return Detection("v", start, end, label, score)


def test_each_detection_is_judged_and_what_was_missed_is_added():
    detections = [
        found(1.05, 3.05, "a", 0.9),  # as good as true
        found(1.2, 3.2, "a", 0.8),  # the same action once more
        found(5.5, 8.2, "b", 0.7),  # its edges are off
        found(10.0, 12.0, "b", 0.6),  # another class
        found(17, 19, "a", 0.5),  # nothing there
    ]
    video = corrected(VIDEO, detections)
    assert [(j.source, j.segment, j.score) for j in video.actions] == [
        ("accepted", Segment(1.05, 3.05, "a"), 0.9),
        ("corrected", TRUE[1], 0.7),
        ("corrected", TRUE[2], 0.6),
        ("added", TRUE[3], None),
    ]
    assert [j.original for j in video.actions] == [None, Segment(5.5, 8.2, "b"), Segment(10, 12, "b"), None]
    assert [j.segment.start_s for j in video.rejected] == [1.2, 17] and video.reviewed == ((0.0, 20.0),)
    assert [j.segment for j in corrected(VIDEO, []).actions] == list(TRUE)
