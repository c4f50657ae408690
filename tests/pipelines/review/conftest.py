"""A folder of videos and predictions for the tests in the browser."""

import json

import pytest

from tests.pipelines.report.report_data import make_video
from tests.pipelines.review.reviewer import FOUND, FPS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    results = {
        "a": [{"label": n, "score": p, "segment": [s, e]} for n, s, e, p in FOUND],
        "b": [{"label": "squat", "score": 0.5, "segment": [2.0, 4.0]}],
    }
    (folder / "predictions.json").write_text(json.dumps({"results": results}))
    for name in results:
        make_video(folder / "videos" / f"{name}.mp4", 12.0, FPS)
    return folder
