"""`longtal init`: settings follow from the data, the YAML loads, splits keep classes."""

import json
import re
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.budget.estimate import Estimate, Times
from pipelines.budget.probe_process import ProbeError
from pipelines.commands.init import command
from pipelines.config import load_config
from pipelines.init import InitOptions, init_project
from pipelines.init.choices import Choice, Needs, choose
from pipelines.init.run import cost_notes, encoder_needs
from pipelines.init.split import split, stratify
from pipelines.init.yaml_text import yaml_text
from pipelines.shared.files import OutputExistsError
from tal.annotations import AnnotationSet, Segment, VideoAnnotation, read_annotations
from tal.annotations.corrections import (
    Corrections,
    Judgement,
    Sample,
    VideoCorrections,
    read_corrections,
    write_corrections,
)
from tal.errors import AnnotationError, ConfigError, OutputError, VideoError
from tal.video import open_video
from tests.pipelines.report.report_data import make_video


def make_set(labels_of, subset=lambda video: ""):
    videos = {
        name: VideoAnnotation(
            name, subset(name), tuple(Segment(3.0 * i, 3.0 * i + 2, label) for i, label in enumerate(labels))
        )
        for name, labels in labels_of.items()
    }
    labels = tuple(sorted({label for found in labels_of.values() for label in found}))
    return AnnotationSet(videos, labels, source="truth.json")


def survey_of(action_s, durations_s, fps=30.0, side=240):
    """What `choose` looks at."""
    n = len(durations_s)
    return SimpleNamespace(
        action_s=np.asarray(action_s, float),
        durations_s=np.asarray(durations_s, float),
        video_fps=np.full(n, fps),
        short_sides=np.full(n, side),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six little videos with annotations that have no split."""
    folder = tmp_path_factory.mktemp("own")
    first = make_video(folder / "videos" / "v0.mp4", duration_s=12)
    database = {}
    for i in range(6):
        (folder / "videos" / f"v{i}.mp4").write_bytes(first.read_bytes())
        database[f"v{i}"] = {
            "annotations": [
                {"label": "wave", "segment": [1, 3]},
                {"label": "jump\n# evil: 1", "segment": [5, 6.5]},
                {"label": "bow" if i % 2 else "clap", "segment": [8, 11]},
            ]
        }
    (folder / "truth.json").write_text(json.dumps({"database": database}))
    return folder


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 60).map(str), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8), min_size=2
    ),
    st.integers(0, 3),
)
def test_a_split_holds_out_some_and_never_all_of_a_class(labels_of, seed):
    held = stratify(labels_of, 0.2, seed)
    assert held and held < set(labels_of)
    assert len(held) <= max(1, round(0.2 * len(labels_of)))
    assert held == stratify(labels_of, 0.2, seed)
    if len(held) > 1:
        train = Counter(label for video, labels in labels_of.items() if video not in held for label in labels)
        assert set(train) == {label for labels in labels_of.values() for label in labels}


def test_every_class_has_about_its_share_in_validation():
    rng = np.random.default_rng(0)
    names = np.array(list("abcdefgh"))
    weights = np.array([30, 20, 15, 10, 10, 7, 5, 3]) / 100
    labels_of = {str(i): list(rng.choice(names, rng.integers(1, 6), p=weights)) for i in range(300)}
    held = stratify(labels_of, 0.2)
    total = Counter(x for labels in labels_of.values() for x in labels)
    inside = Counter(x for video in held for x in labels_of[video])
    assert 45 <= len(held) <= 60
    for name in names:
        assert 0.12 <= inside[name] / total[name] <= 0.3, name


@pytest.mark.parametrize(
    ("subsets", "expected"),
    [
        (("training", "validation"), ("training", "validation")),
        (("Train", "VAL", "testing"), ("Train", "VAL")),
        (("train", "test"), ("train", "test")),
        (("validation", "test"), ("validation", "test")),  # THUMOS14
    ],
)
def test_a_split_that_is_there_is_kept(subsets, expected):
    names = {f"v{i}": ["a", "b"] for i in range(6)}
    parts = split(make_set(names, lambda v: subsets[int(v[1:]) % len(subsets)]))
    assert (parts.train, parts.validation) == expected and not parts.made


def test_one_subset_alone_is_split_anew():
    parts = split(make_set({f"v{i}": ["a", "b"] for i in range(10)}, lambda v: "training"))
    assert parts.made and parts.annotations.subsets == {"training": 8, "validation": 2}
    with pytest.raises(AnnotationError, match="one each"):
        split(make_set({"v0": ["a"]}))


def test_only_videos_of_which_all_is_known_are_held_out():
    annotations = make_set({f"v{i}": ["a", "b"] for i in range(10)})
    parts = split(annotations, 0, {"v3", "v7", "v8"})
    held_out = {k for k, v in parts.annotations.videos.items() if v.subset == "validation"}
    assert len(held_out) == 2 and held_out < {"v3", "v7", "v8"}
    parts = split(annotations, 0, set())
    assert parts.validation == "" and parts.annotations.subsets == {"training": 10}
    assert "nothing is measured" in parts.reason


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_a_review_is_a_project(data, tmp_path, share):
    """Looked at in full, in part, not at all; one video has no word on it."""
    truth = read_annotations(data / "truth.json")
    videos = {
        name: VideoCorrections(
            name,
            duration_s=12.0,
            actions=tuple(Judgement(s, "added") for s in video.segments),
            reviewed=((0.0, 12.0 * share),) if share else (),
        )
        for name, video in truth.videos.items()
    }
    videos["v5"] = VideoCorrections("v5", sampled=(Sample(0.0, 6.0, 0.5),))
    write_corrections(Corrections(truth.labels, videos), tmp_path / "c.json")
    options = InitOptions(data / "videos", tmp_path / "c.json", tmp_path / "p", estimate=False)
    if not share:
        with pytest.raises(AnnotationError, match="marked as looked at"):
            init_project(options)
        return
    project = init_project(options)
    config, kept = load_config(project.config), read_corrections(project.annotations)
    assert set(kept.videos) == {f"v{i}" for i in range(5)} and kept.labels == truth.labels
    assert all(video.reviewed == videos[k].reviewed for k, video in kept.videos.items())
    assert config.data.val_subset == ("validation" if share == 1 else "")
    assert {v.subset for v in kept.videos.values()} == {"training", "validation"} - (
        {"validation"} if share < 1 else set()
    )
    said = " ".join(project.notes)
    assert "'v5'" in said and f"{5 * 0.2 * share:.1f} minutes of 5 videos" in said
    assert ("will not be measured" in said) == (share < 1)


@pytest.mark.parametrize(
    ("actions", "durations", "fps", "rate"),
    [
        ([2.0] * 50, [60] * 9, 30, 4.0),
        ([0.3] * 50, [60] * 9, 30, 30.0),
        ([0.3] * 50, [60] * 9, 15, 15.0),  # no faster than the videos
        ([60.0] * 50, [600] * 9, 30, 1.0),
        ([2.0] * 50, [60] * 9, 0.5, 0.5),
    ],
)
def test_sampling_rate_follows_the_short_actions(actions, durations, fps, rate):
    choices = choose(survey_of(actions, durations, fps), 8, "timm:resnet50", Needs())
    assert choices["data.fps"] == pytest.approx(rate)


@pytest.mark.parametrize(("side", "crop"), [(240, 112), (100, 98), (64, 56), (20, 20)])
def test_crops_are_what_the_encoders_patches_fill(side, crop):
    """VideoMAEv2-g cuts pictures into squares of 14, the others of 16."""
    needs = encoder_needs("videomaev2_g")
    survey = survey_of([5.0] * 20, [60] * 9, side=side)
    assert choose(survey, 8, "videomaev2_g", needs)["encoder.crop"] == crop
    assert encoder_needs("videomae_b").crop_multiple == 16


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0.05, 4000), min_size=1, max_size=30),
    st.lists(st.floats(1, 20000), min_size=2, max_size=10),
    st.sampled_from([(0, 1), (16, 8), (32, 2), (64, 8)]),
    st.integers(1, 500),
)
def test_choices_always_fit_together(actions, durations, needs, num_train):
    clip_frames, stride = needs
    choices = choose(survey_of(actions, durations), num_train, "timm:resnet50", Needs(clip_frames, stride))
    rows_per_clip = choices["encoder.clip_frames"] // stride
    assert choices["window.num_rows"] % rows_per_clip == 0
    assert 0 < choices["memory.ratio"] <= 1
    ranges = choices["localizer.decoder.regression_ranges"]
    assert len(ranges) == choices["localizer.decoder.levels"] >= 1
    assert ranges[0][0] == 0 and all(a[1] == b[0] for a, b in pairwise(ranges))
    assert choices["window.num_rows"] >= 4 * 2 ** (len(ranges) - 1)
    assert choices["train.batch_size"] <= num_train
    text = yaml_text(["head"], choices.by_key)
    assert yaml.safe_load(text)["window"]["num_rows"] == choices["window.num_rows"]


def test_the_window_is_the_whole_video_or_holds_the_longest_action():
    short = choose(survey_of([2.0] * 50 + [9], [50] * 9), 8, "timm:resnet50", Needs())
    row_s = 1 / short["data.fps"]
    assert 50 <= short["window.num_rows"] * row_s <= 60
    assert short["window.windows_per_video"] == 1
    long = choose(survey_of([2.0] * 50 + [120], [3600] * 9), 8, "timm:resnet50", Needs())
    assert 180 <= long["window.num_rows"] / long["data.fps"] <= 200
    assert long["window.windows_per_video"] == 8


def test_comments_cannot_become_yaml():
    bad = 'x\nevil: 1\u2028evil: 2\x85evil: 3\x00\x1b "quoted" # more'
    text = yaml_text(
        [bad], {"a.b": Choice(bad, bad), "a.c": Choice([1.5, None], "w " * 200), "d": Choice("no", "")}
    )
    assert yaml.safe_load(text) == {"a": {"b": bad, "c": [1.5, None]}, "d": "no"}
    assert all(len(line) <= 120 for line in text.splitlines() if line.lstrip().startswith("#"))


def test_project_loads_as_a_configuration(data, tmp_path):
    project = init_project(InitOptions(data / "videos", data / "truth.json", tmp_path / "p", estimate=False))
    config = load_config(project.config)
    assert config.data.fps == 6.0  # 8 frames in 1.5 s, rounded up
    assert config.window.num_rows * config.encoder.frame_stride / config.data.fps >= 12
    assert config.end_to_end
    written = read_annotations(project.annotations)
    assert written.subsets == {"training": 5, "validation": 1}
    assert all(v.duration_s == pytest.approx(12, abs=0.2) for v in written.videos.values())
    assert set(written.labels) == {"wave", "jump\n# evil: 1", "bow", "clap"}
    keys = [line for line in project.config.read_text().splitlines() if re.match(r" +\w+: \S", line)]
    assert len(keys) > 18
    with pytest.raises(OutputExistsError):
        init_project(InitOptions(data / "videos", data / "truth.json", tmp_path / "p", estimate=False))
    assert any("fewer than 10" in note for note in project.notes)


def test_missing_and_broken_videos_are_named_and_left_out(data, tmp_path):
    content = json.loads((data / "truth.json").read_text())
    content["database"]["nowhere"] = content["database"]["broken"] = content["database"]["v0"]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    videos = tmp_path / "videos"
    videos.mkdir()
    for path in (data / "videos").iterdir():
        (videos / path.name).symlink_to(path)
    (videos / "broken.mp4").write_bytes(b"no video" * 99)
    project = init_project(InitOptions(videos, tmp_path / "truth.json", tmp_path / "p", estimate=False))
    assert project.survey.missing == ["nowhere"] and list(project.survey.broken) == ["broken"]
    assert len(read_annotations(project.annotations)) == 6
    text = " ".join(line.lstrip("# ") for line in project.config.read_text().splitlines())
    assert "missing: 1, such as nowhere" in text and "unreadable: 1, such as broken" in text
    assert "2 videos without a usable file are left out" in text and "longtal check" in text


def test_every_video_is_opened_once(data, tmp_path, monkeypatch):
    opened = Counter()

    def counted(path, *args, **kwargs):
        opened[path.name] += 1
        return open_video(path, *args, **kwargs)

    monkeypatch.setattr("tal.video.pool.open_video", counted)
    init_project(InitOptions(data / "videos", data / "truth.json", tmp_path / "p", estimate=False))
    assert opened == {f"v{i}.mp4": 1 for i in range(6)}


def test_a_large_transformer_learns_by_adapters(data, tmp_path):
    made = {}
    for name in ("videomae_s", "timm:resnet50"):
        options = InitOptions(
            data / "videos", data / "truth.json", tmp_path / name[-3:], encoder=name, estimate=False
        )
        project = init_project(options)
        made[name] = load_config(str(project.config)).encoder
    adapted, whole = made["videomae_s"], made["timm:resnet50"]
    assert adapted.adapter.kind == "temporal" and adapted.checkpointing and adapted.clip_frames == 16
    assert whole.adapter is None and not whole.checkpointing
    assert "rest" in (tmp_path / "e_s" / "longtal.yaml").read_text().split("adapter:")[1].split("kind:")[0]


def test_wrong_input(data, tmp_path):
    with pytest.raises(VideoError, match="does not exist"):
        init_project(InitOptions(tmp_path / "none", data / "truth.json", tmp_path / "p"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="none of the 6"):
        init_project(InitOptions(tmp_path / "empty", data / "truth.json", tmp_path / "p"))
    with pytest.raises(ConfigError, match="no encoder"):
        init_project(InitOptions(data / "videos", data / "truth.json", tmp_path / "p", encoder="resnt"))
    with pytest.raises(ConfigError, match="tpu"):
        init_project(InitOptions(data / "videos", data / "truth.json", tmp_path / "p", device="tpu"))
    assert not (tmp_path / "p").exists()
    (tmp_path / "head.csv").write_text("video,start,end,label\n")
    with pytest.raises(AnnotationError, match="names no video"):
        init_project(InitOptions(data / "videos", tmp_path / "head.csv", tmp_path / "p"))
    for folder in ("head.csv", "head.csv/inside/p"):
        with pytest.raises(OutputError, match=r"head\.csv is a file"):
            init_project(InitOptions(data / "videos", data / "truth.json", tmp_path / folder))


def test_command_prints_json_with_what_to_do_next(data, tmp_path):
    arguments = ["--videos", data / "videos", "--annotations", data / "truth.json", "--out", tmp_path / "p"]
    result = CliRunner().invoke(command, [*map(str, arguments), "--json", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["videos"] == 6 and shown["choices"]["data.fps"]["value"] == 6.0
    estimate = shown["estimate"]
    assert estimate["num_rows"] == 6 * 72
    assert estimate["store_bytes"] == 432 * (1280 * 2 + 32)
    assert estimate["memory_bytes"] > 100 * 2**20 and estimate["total_s"] > estimate["extract_s"] > 0
    assert estimate["slowest"]["total_s"] >= estimate["total_s"] and estimate["num_tries"] >= 1
    assert "longtal train" in shown["next"][0] and "longtal report" in shown["next"][1]
    assert shown["choices"]["train.epochs"] == {"value": 60, "why": "120 steps in all"}


def costing(total_h, epochs=60, step_s=1.0, busy=False):
    """An estimate of so many hours, all of them training."""
    times = Times(0, 0, None if step_s is None else total_h * 3600 / epochs, 0, steps=1)
    return Estimate("cpu", 1, 1, None if step_s is None else 1, times, times, 3, busy, epochs, 5)


def test_a_slow_machine_changes_no_setting(data, tmp_path, monkeypatch):
    """Epochs follow from the data; hours of training are only said, with what would make them fewer."""
    texts = []
    for total_h in (0.1, 24):
        monkeypatch.setattr("pipelines.budget.estimate.estimate", lambda *_, hours=total_h: costing(hours))
        options = InitOptions(data / "videos", data / "truth.json", tmp_path / "p", overwrite=True)
        project = init_project(options)
        late = [note for note in project.notes if "more than 12 h" in note]
        assert bool(late) == (total_h == 24)
        texts.append([line for line in project.config.read_text().splitlines() if not line.startswith("#")])
    assert texts[0] == texts[1]
    assert "60 epochs take about 24.0 h" in late[0] and "`--set train.epochs=30` fits" in late[0]


def test_when_not_even_the_least_training_fits():
    (note,) = cost_notes(costing(100), hours=12)
    assert "not even 12 epochs fit" in note and "--set" not in note and "busy" not in note
    (note,) = cost_notes(costing(100, busy=True), hours=12)
    assert "busy with other work, it may well take less" in note
    (note,) = cost_notes(costing(0, step_s=None), hours=12)
    assert "does not fit into this machine's memory" in note and "longtal plan" in note


def test_a_probe_that_fails_leaves_a_note(data, tmp_path, monkeypatch):
    def fail(*_):
        raise ProbeError("2 clips, 4 windows could not be measured: no kernel")

    monkeypatch.setattr("pipelines.budget.estimate.estimate", fail)
    project = init_project(InitOptions(data / "videos", data / "truth.json", tmp_path / "p"))
    assert project.estimate is None and project.config.exists()
    assert "no kernel" in project.notes[0] and "no kernel" in project.config.read_text()
