"""A run's successor: corrections laid over the annotations, its weights, its heads, before and after."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from cli import cli
from featstore import FeatureStore
from pipelines.config import load_config, parse_config, save_resolved
from pipelines.data import run_annotations
from pipelines.data.corrections import lay_over
from pipelines.data.run_annotations import read_run_annotations
from pipelines.train import train
from pipelines.train.again import with_earlier_corrections
from pipelines.train.start import widened
from tal.annotations import AnnotationSet, Segment, VideoAnnotation
from tal.annotations.corrections import (
    Corrections,
    Judgement,
    VideoCorrections,
    read_corrections,
    write_corrections,
)
from tal.annotations.spans import union
from tal.errors import ConfigError
from tests.pipelines.tiny_run import make_data, make_store, tiny_config

LABELS = ("a", "b")
WHOLE = AnnotationSet(
    {
        "train": VideoAnnotation("train", "training", (Segment(1, 3, "a"), Segment(6, 8, "b")), 20.0),
        "held": VideoAnnotation("held", "validation", (Segment(2, 4, "a"),), 20.0),
        "other": VideoAnnotation("other", "", (), 20.0),
    },
    LABELS,
)
LABELLED = {"training", "validation"}


def said(*videos: VideoCorrections, labels: tuple[str, ...] = LABELS) -> Corrections:
    return Corrections(labels, {v.id: v for v in videos})


def accepted(start: float, end: float, label: str) -> Judgement:
    return Judgement(Segment(start, end, label), "accepted")


def test_of_a_video_without_labels_only_what_was_said_is_known() -> None:
    video = VideoCorrections(
        "new",
        duration_s=30.0,
        actions=(accepted(12, 14, "a"),),
        rejected=(Judgement(Segment(20, 22, "b")),),
        reviewed=((0.0, 5.0),),
    )
    laid = lay_over(WHOLE, said(video), "training", LABELLED)
    assert laid.whole.videos["new"].subset == "training" and laid.corrected == {"new"}
    assert laid.whole.videos["new"].segments == (Segment(12, 14, "a"),)
    assert set(laid.unknown["new"]) == {
        Segment(5, 12, "a"),
        Segment(14, math.inf, "a"),
        Segment(5, 20, "b"),
        Segment(22, math.inf, "b"),
    }
    assert laid.unknown.keys() == {"new"} and laid.whole.videos["train"] == WHOLE.videos["train"]


def test_labels_of_a_whole_video_hold_outside_what_was_reviewed() -> None:
    video = VideoCorrections("train", actions=(accepted(0.5, 3, "a"),), reviewed=((0.0, 5.0),))
    laid = lay_over(WHOLE, said(video), "training", LABELLED)
    assert laid.whole.videos["train"].segments == (Segment(0.5, 3, "a"), Segment(6, 8, "b"))
    assert not laid.unknown


def test_an_action_that_was_accepted_twice_is_one() -> None:
    twice = (accepted(1, 3, "a"), accepted(1.0004, 3, "a"), accepted(1, 3, "b"), accepted(2, 4, "a"))
    laid = lay_over(WHOLE, said(VideoCorrections("train", actions=twice)), "training", LABELLED)
    assert laid.whole.videos["train"].segments == (
        Segment(1, 3, "a"),
        Segment(1, 3, "b"),
        Segment(2, 4, "a"),
        Segment(6, 8, "b"),
    )


def test_a_corrected_video_is_no_longer_measured_on() -> None:
    video = VideoCorrections("held", reviewed=((0.0, 20.0),))
    laid = lay_over(WHOLE, said(video), "training", LABELLED)
    assert laid.whole.videos["held"].subset == "training" and not laid.whole.videos["held"].segments
    assert any("not measured on" in note for note in laid.notes)
    untouched = lay_over(WHOLE, said(VideoCorrections("held")), "training", LABELLED)
    assert untouched.whole.videos["held"] == WHOLE.videos["held"]


def test_a_new_class_is_known_where_somebody_looked_for_it() -> None:
    video = VideoCorrections("train", actions=(accepted(10, 12, "c"),), reviewed=((4.0, 9.0),))
    laid = lay_over(WHOLE, said(video, labels=("c", "b")), "training", LABELLED)
    assert laid.whole.labels == ("a", "b", "c")
    everywhere = (Segment(0, math.inf, "c"),)
    assert laid.unknown["held"] == laid.unknown["other"] == everywhere
    assert set(laid.unknown["train"]) == {
        Segment(0, 4, "c"),
        Segment(9, 10, "c"),
        Segment(12, math.inf, "c"),
    }


def test_a_video_in_which_a_new_class_was_never_judged_says_nothing_of_it() -> None:
    """It may have been reviewed before there was such a class."""
    with_it = VideoCorrections("new", rejected=(Judgement(Segment(3, 4, "c")),), reviewed=((0.0, 9.0),))
    before = VideoCorrections("other", reviewed=((0.0, 9.0),))
    laid = lay_over(WHOLE, said(with_it, before, labels=("a", "b", "c")), "training", LABELLED)
    assert [s for s in laid.unknown["new"] if s.label == "c"] == [Segment(9, math.inf, "c")]
    assert [s for s in laid.unknown["other"] if s.label == "c"] == [Segment(0, math.inf, "c")]
    assert Segment(9, math.inf, "a") in laid.unknown["other"]


def test_what_a_run_learnt_from_corrections_holds_on(tmp_path: Path) -> None:
    def one(name: str, end: float) -> VideoCorrections:
        return VideoCorrections(name, actions=(accepted(1, end, "a"),))

    first, second, out = tmp_path / "first.json", tmp_path / "second.json", tmp_path / "out"
    write_corrections(said(one("x", 2), one("P/y", 3), VideoCorrections("z"), labels=("c", "a")), first)
    write_corrections(said(one("y.mp4", 5), one("w", 6), VideoCorrections("x"), labels=("a", "d")), second)
    config = parse_config({"data": {"corrections": str(first)}})
    path = with_earlier_corrections(config, second, out)
    assert path == str(out / "corrections.json")
    both = read_corrections(path)
    assert both.labels == ("c", "a", "d")
    assert {k: v.actions[0].segment.end_s for k, v in both.videos.items()} == {"x": 2, "y.mp4": 5, "w": 6}
    assert with_earlier_corrections(config, first, out) == str(first)
    write_corrections(said(one("x", 9), one("P/y", 9)), second)
    assert with_earlier_corrections(config, second, out) == str(second)
    assert with_earlier_corrections(parse_config({}), second, out) == str(second)


SPANS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 6)).map(lambda s: (s[0], s[0] + s[1])), max_size=4
)


@given(reviewed=SPANS, actions=SPANS, rejected=SPANS)
def test_what_is_known_second_by_second(
    reviewed: list[tuple[int, int]], actions: list[tuple[int, int]], rejected: list[tuple[int, int]]
) -> None:
    video = VideoCorrections(
        "new",
        actions=tuple(accepted(*s, "a") for s in actions),
        rejected=tuple(Judgement(Segment(*s, "b")) for s in rejected),
        reviewed=union([(float(s), float(e)) for s, e in reviewed]),
    )
    laid = lay_over(WHOLE, said(video), "training", LABELLED)
    for label, own in (("a", actions), ("b", rejected)):
        for second in range(40):
            looked = any(s <= second < e for s, e in (*reviewed, *own))
            unknown = any(
                u.label == label and u.start_s <= second and second + 1 <= u.end_s
                for u in laid.unknown.get("new", ())
            )
            assert unknown == (not looked and bool(reviewed or actions or rejected)), (label, second)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("axis", [0, 1])
def test_heads_are_widened_class_by_class(groups: int, axis: int) -> None:
    old, new = torch.randn(groups * 2, 4).movedim(0, axis), torch.randn(groups * 5, 4).movedim(0, axis)
    result = widened(old, new, 2, 5, "head").movedim(axis, 0)
    for group in range(groups):
        for label in range(5):
            source = (
                old.movedim(axis, 0)[group * 2 + label]
                if label < 2
                else new.movedim(axis, 0)[group * 5 + label]
            )
            assert torch.equal(result[group * 5 + label], source)
    background = widened(torch.arange(3.0), torch.full((6,), 9.0), 2, 5, "head")
    assert background.tolist() == [0, 1, 2, 9, 9, 9]
    with pytest.raises(ConfigError, match="network is another"):
        widened(torch.zeros(7), torch.zeros(8), 2, 5, "head")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a resting encoder and one of a learning one, on six videos; two more have no labels."""
    folder = tmp_path_factory.mktemp("world")
    make_data(folder, train=6, validation=2)
    tree = json.loads((folder / "annotations.json").read_text())
    for name in ("v04", "v05"):
        del tree["database"][name]
    (folder / "annotations.json").write_text(json.dumps(tree))
    make_store(folder)
    torch.set_num_threads(1)
    for name, ratio in (("resting", 0.0), ("learning", 0.5)):
        config = tiny_config(folder, memory={"ratio": ratio}, train={"ema_decay": 0.9, "validate_from": 2})
        save_resolved(config, folder, f"{name}.yaml")
        train(load_config(folder / f"{name}.yaml"), folder / name)
    video = VideoCorrections(
        "v04",
        duration_s=7.0,
        actions=(accepted(1, 4, "up"), accepted(5, 6, "new")),
        rejected=(Judgement(Segment(0, 1, "down")),),
        reviewed=((4.5, 7.0),),
    )
    write_corrections(said(video, labels=("down", "new", "up")), folder / "corrections.json")
    return folder


def again(world: Path, run: str, out: Path, *more: str) -> str:
    arguments = ["train", "--from", str(world / run), "--corrections", str(world / "corrections.json")]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(out), *more])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("run", ["resting", "learning"])
def test_a_successor_knows_more_classes(world: Path, tmp_path: Path, run: str) -> None:
    before = {p: p.read_bytes() for p in sorted((world / run).rglob("*")) if p.is_file()}
    out = tmp_path / "again"
    report = json.loads(again(world, run, out, "--json"))
    assert report["corrections"]["videos"] == 2
    assert json.loads((out / "labels.json").read_text()) == ["down", "up", "new"]
    assert before == {p: p.read_bytes() for p in sorted((world / run).rglob("*")) if p.is_file()}
    config = load_config(out / "config.yaml")
    assert config.train.epochs == 1 and config.memory.warmup_epochs == 0
    annotations = read_run_annotations(config.data)
    assert {v.id for v in annotations.train.videos.values()} >= {"v04"}
    if run == "resting":
        assert Path(config.data.store).resolve() == (world / "store.zarr").resolve()
        return
    # rows of the learnt encoder, a ledger from the beginning, a name of its own
    ids = [json.loads((folder / "provenance.json").read_text())["run_id"] for folder in (world / run, out)]
    assert ids[0] != ids[1]
    learnt = load_file(world / run / "model" / "model.safetensors")
    taken = load_file(out / "encoder.safetensors")
    assert taken and all(torch.equal(value, learnt[f"encoder.model.{k}"]) for k, value in taken.items())
    with FeatureStore.open(out / "features.zarr") as fresh, FeatureStore.open(world / "store.zarr") as first:
        count = fresh.video("v04").num_rows
        assert (fresh.ledger("v04", 0, count)["step"] == 0).all()
        assert not np.array_equal(fresh.read("v04", 0, count), first.read("v04", 0, count))


@pytest.mark.parametrize("case", ["nothing lacks", "a video lacks", "all is extracted"])
def test_corrections_are_read_and_told_once(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    read = []

    def counted(path: str) -> Corrections:
        read.append(path)
        return read_corrections(path)

    monkeypatch.setattr(run_annotations, "read_corrections", counted)
    sets = []
    if case == "a video lacks":
        shutil.copytree(world / "store.zarr", tmp_path / "store.zarr")
        with FeatureStore.open(tmp_path / "store.zarr", mode="r+") as store:
            store.remove("v04")
            store.commit()
        sets = ["--set", f"data.store={tmp_path / 'store.zarr'}"]
    run = "learning" if case == "all is extracted" else "resting"
    arguments = ["train", "--from", str(world / run), "--corrections", str(world / "corrections.json")]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out"), *sets])
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert said.count("1 videos corrected") == said.count("1 classes are new") == len(read) == 1
    assert ("1 corrected videos (v04)" in said) == (case == "a video lacks")
    assert ("extracting first" in said) == (case != "nothing lacks")


def test_the_first_step_starts_from_the_weights_of_the_run(world: Path, tmp_path: Path) -> None:
    again(world, "resting", tmp_path / "again", "--set", "optim.lr=1e-12", "--set", "optim.weight_decay=0")
    old = load_file(world / "resting" / "model" / "model.safetensors")
    new = load_file(tmp_path / "again" / "model" / "model.safetensors")
    same = [
        k
        for k in old
        if old[k].shape == new[k].shape and old[k].is_floating_point() and "normaliser" not in k
    ]
    assert len(same) > 20
    for key in same:
        torch.testing.assert_close(new[key], old[key], rtol=1e-5, atol=1e-6)
    wider = [k for k in old if old[k].shape != new[k].shape]
    assert wider and all(torch.allclose(new[k][:2], old[k], atol=1e-6) for k in wider)


def test_classes_keep_their_places_whatever_order_a_file_tells_them_in(world: Path, tmp_path: Path) -> None:
    """A review of a successor's detections tells found classes first, sorted: two new ones change places."""
    second, third = tmp_path / "second", tmp_path / "third"
    again(world, "resting", second)
    video = read_corrections(world / "corrections.json").videos["v04"]
    more = replace(video, actions=(*video.actions, accepted(6, 7, "above")))
    ghost = VideoCorrections("ghost", duration_s=9.0, actions=(accepted(1, 2, "up"),))  # it has no file
    labels = ("above", "down", "new", "up")
    write_corrections(said(more, ghost, labels=labels), tmp_path / "corrections.json")
    arguments = ["train", "--from", str(second), "--corrections", str(tmp_path / "corrections.json")]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(third)])
    assert result.exit_code == 0, result.output
    assert json.loads((third / "labels.json").read_text()) == ["down", "up", "new", "above"]
    assert "left out: 1 no file" in " ".join(result.stderr.split())
    # so does a run that goes on
    write_corrections(said(ghost, more, labels=labels[::-1]), tmp_path / "corrections.json")
    result = CliRunner().invoke(cli, ["train", "--resume", "--out", str(third)])
    assert result.exit_code == 0, result.output
    assert json.loads((third / "labels.json").read_text()) == ["down", "up", "new", "above"]
    write_corrections(said(replace(video, actions=video.actions[:1])), tmp_path / "corrections.json")
    gone = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "fourth")])
    assert "'new' have gone from annotations and corrections" in str(gone.exception)


def test_what_does_not_go_together_is_refused(world: Path, tmp_path: Path) -> None:
    alone = CliRunner().invoke(cli, ["train", "--from", str(world / "resting"), "--out", str(tmp_path / "x")])
    assert alone.exit_code == 2 and "go together" in alone.output
