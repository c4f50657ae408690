"""From videos without a label to a model, and once more: the review annotates, init, train, train again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import cli
from pipelines.config import load_config
from pipelines.data.run_annotations import read_run_annotations
from tal.annotations.corrections import read_corrections
from tests.pipelines.review.review_data import action, document, edited, save, serving
from tests.pipelines.tiny_run import make_data


class Annotator:
    """Somebody who knows what happens in made-up videos, and works on the page."""

    def __init__(self, folder: Path) -> None:
        make_data(folder)
        truth = folder / "annotations.json"
        self.truth = json.loads(truth.read_text())["database"]
        truth.unlink()  # no label yet
        self.folder, self.out = folder, folder / "corrections.json"

    def work(self, share_of: dict[str, float]) -> None:
        """Look at a share of each video, from its start; what begins there gets a segment."""
        options = {"source": None, "videos_dir": self.folder / "videos", "labels": ["up", "down"]}
        with serving(self.folder, self.out, **options) as server:
            places = {video.id: number for number, video in enumerate(server.review.videos)}
            for name, share in share_of.items():
                seen_s = share * self.truth[name]["duration"]
                segments = [s for s in self.truth[name]["annotations"] if s["segment"][0] < (seen_s or 99)]
                entry = edited(
                    annotations=[action(*s["segment"], s["label"]) for s in segments],
                    reviewed=[[0.0, seen_s]] if seen_s else [],
                )
                version = document(server, places[name])["version"]
                assert save(server, entry, version, places[name])[0] == 200


def longtal(*words: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_from_no_label_to_a_model_and_once_more(tmp_path: Path) -> None:
    someone = Annotator(tmp_path)
    # v03 in part, v04 only an action without a word on the rest, v05 to v07 not at all
    someone.work({"v00": 1.0, "v01": 1.0, "v02": 1.0, "v03": 0.6, "v04": 0.0})
    project = tmp_path / "project"
    words = ["--videos", tmp_path / "videos", "--annotations", someone.out, "--no-estimate"]
    longtal("init", *words, "--out", project)

    config = load_config(project / "longtal.yaml")
    annotated = read_run_annotations(config.data)
    assert annotated.validation is not None
    held_out = set(annotated.validation.videos)
    assert held_out and held_out < {"v00", "v01", "v02"}, "of these alone everything is known"
    assert set(annotated.train.videos) == {"v00", "v01", "v02", "v03", "v04"} - held_out
    rest = {s.label: s.start_s for s in annotated.unknown["v03"]}
    assert rest == {"up": pytest.approx(6.0), "down": pytest.approx(6.0)}
    assert len(annotated.unknown["v04"]) == 3, "one class around its action, the other everywhere"

    few = ["--set", "train.epochs=1", "--set", "train.validate_from=1", "--json"]
    first = json.loads(longtal("train", "--config", project / "longtal.yaml", "--out", project / "run", *few))
    assert first["validation_mAP"] is not None

    someone.work({"v03": 1.0, "v06": 1.0})
    assert set(read_corrections(someone.out).videos) == {"v00", "v01", "v02", "v03", "v04", "v06"}
    words = ["--from", project / "run", "--corrections", someone.out, "--out", project / "run2"]
    second = json.loads(longtal("train", *words, *few))
    assert second["corrections"]["videos"] == len(held_out), "what was held out still is"
    later = read_run_annotations(load_config(project / "run2" / "config.yaml").data)
    assert {"v03", "v06"} <= set(later.train.videos) and held_out == set(later.validation.videos)
    assert "v06" not in read_run_annotations(config.data).whole.videos
