"""What a notebook shows: progress, a figure, and what objects say of themselves."""

import io
import re

import pandas as pd
import pytest

from featstore import FeatureStore
from tal import Detector
from tal.annotations import Segment
from tal.encoders import feature_spec
from tal.errors import EvaluationError
from tal.inference.videos import VideoResult
from tal.plot import timeline
from tal.shared.progress import ProgressLine
from tests.tal.inference.test_detector import model, video  # noqa: F401


@pytest.fixture
def detector(model):  # noqa: F811
    return Detector.load(model, device="cpu")


def test_progress_is_shown_where_somebody_looks_on(detector, video, capsys, monkeypatch):  # noqa: F811
    quiet = detector.predict(video)
    assert capsys.readouterr().err == ""
    assert detector.predict(video, progress=True).equals(quiet)
    assert "new: 58 of 58 rows" in capsys.readouterr().err
    monkeypatch.setattr("tal.inference.detector.is_interactive", lambda: True)
    detector.predict(video)
    assert re.search(r"58 of 58 rows, .* s *\n$", capsys.readouterr().err)
    seen = []
    detector.predict(video, on_progress=lambda done, total: seen.append(done))
    detector.predict(video, progress=False)
    assert capsys.readouterr().err == "" and seen[-1] == 58
    detector.predict(video, on_progress=lambda done, total: seen.append(done), progress=True)
    assert "58 of 58" in capsys.readouterr().err and seen.count(58) == 2


def test_a_line_is_written_over_itself_and_ends(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tal.shared.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    line = ProgressLine("a\x1b[2Jb", "rows", stream)
    for done, at in ((0, 0.0), (1, 0.1), (1500, 10.0), (3000, 20.0)):
        now[0] = at
        line(done, 3000)
    line.close()
    line.close()
    first, second, last = stream.getvalue().strip("\r").split("\r")
    assert first == "a[2Jb: 0 of 3,000 rows"
    assert second == "a[2Jb: 1,500 of 3,000 rows, 150 a second, 10 s left"
    assert last.startswith("a[2Jb: 3,000 of 3,000 rows, 150 a second, 20 s") and last.endswith("\n")
    assert last.count("\n") == 1


def test_a_figure_in_one_call(detector, video):  # noqa: F811
    figure = detector.show(video, [Segment(1.0, 3.0, "wave")], threshold=0.0)
    assert figure.axes[0].get_title(loc="left") == "new" and figure.axes[0].get_xlim() == (0, 11.5)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "truth"
    assert figure._repr_png_().startswith(b"\x89PNG")
    found = detector.predict(video)
    assert len(detector.show(found).axes) == 1
    assert detector.show(found.iloc[:0]).axes[0].get_title(loc="left") == ""
    two = pd.concat([found, found.assign(video_id="other")])
    with pytest.raises(EvaluationError, match="are of 2 videos: choose one"):
        detector.show(two)
    assert timeline(found)._repr_png_().startswith(b"\x89PNG")


def test_objects_say_what_they_are(detector, model, tmp_path):  # noqa: F811
    assert repr(detector) == (
        "Detector(3 classes: bow, jump, wave; encoder timm:test_efficientnet at 5 frames a second; decoder "
        f"temporalmaxer; on cpu; from {model})"
    )
    path = tmp_path / "s.zarr"
    spec = feature_spec(detector.encoder, 5.0)
    with FeatureStore.create(path, spec) as store:
        store.add_video("a", num_rows=1000, fps=5.0, duration_s=200.0)
        store.add_video("b", num_rows=10, fps=5.0, duration_s=2.0)
        store.complete("a")
        store.commit()
        mb = 1000 * spec.row_bytes / 1e6
        kind = f"{spec.channels} {spec.dtype} ({mb:,.1f} MB), timm:test_efficientnet"
        said = f"1 complete videos, 1,000 rows of {kind}, generation 1)"
        assert repr(store) == f"FeatureStore({str(path)!r}, r+: {said}"
    assert repr(store) == f"FeatureStore({str(path)!r}, r+, closed)"
    with FeatureStore.open(path) as store:
        assert repr(store) == f"FeatureStore({str(path)!r}, r: {said}"
    assert repr(VideoResult("v", pd.DataFrame({"a": [1]}))) == "VideoResult('v', 1 detections)"
    assert "error=ValueError('no')" in repr(VideoResult("v", None, ValueError("no")))
