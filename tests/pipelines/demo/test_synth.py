"""The generator: what it promises about splits, labels, pictures and repeatability."""

import hashlib
import itertools
import json

import av
import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.commands.synth import command
from pipelines.demo.synth import SynthConfig, shuffle_frames, shuffle_labels, synthesize
from pipelines.demo.synth.actions import ACTIONS, BACKGROUND, LABELS
from pipelines.demo.synth.generate import describe
from pipelines.demo.synth.script import ACTION_S, plan
from pipelines.demo.synth.skeleton import ANGLES, JOINT, PROPORTIONS, joints, mirror, pose, project
from pipelines.shared.files import OutputExistsError
from tal.annotations import read_annotations

SMALL = SynthConfig(videos=4, seconds=9.0, size=48, fps=10.0, seed=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "set"
    return synthesize(out, SMALL, processes=1)


def _pictures(path):
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


def _digests(folder):
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.*")) if p.is_file()
    }


def test_bytes_do_not_depend_on_the_number_of_processes(made, tmp_path):
    other = synthesize(tmp_path / "again", SMALL, processes=2)
    assert _digests(made.folder) == _digests(other.folder)
    assert len(_digests(made.folder)) == 4 + 2


def test_another_seed_gives_other_videos(made, tmp_path):
    other = synthesize(tmp_path / "other", SMALL.model_copy(update={"seed": 4, "videos": 1}), processes=1)
    first, second = made.videos / "video_0000.mp4", other.videos / "video_0000.mp4"
    assert first.read_bytes() != second.read_bytes()


def test_files_agree_with_annotations(made):
    truth = read_annotations(made.annotations)
    assert truth.labels == LABELS
    assert not truth.notes
    for name, video in truth.videos.items():
        with av.open(str(made.videos / f"{name}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert (stream.width, stream.height) == (48, 48)
            assert float(stream.average_rate) == 10.0
            times = [f.time for f in container.decode(stream)]
        assert len(times) == video.num_frames
        assert times[0] == 0.0
        assert video.duration_s == pytest.approx(len(times) / 10.0)
        assert all(0 < s.start_s < s.end_s < video.duration_s for s in video.segments)


def test_a_second_call_reuses_and_another_setting_is_refused(made):
    before = {p: p.stat().st_mtime_ns for p in made.videos.iterdir()}
    again = synthesize(made.folder, SMALL, processes=1)
    assert (again.made, again.reused) == (0, 4)
    assert {p: p.stat().st_mtime_ns for p in made.videos.iterdir()} == before
    with pytest.raises(OutputExistsError, match="other settings"):
        synthesize(made.folder, SMALL.model_copy(update={"seed": 99}), processes=1)


def test_a_missing_video_is_made_again(made):
    victim = made.videos / "video_0002.mp4"
    content = victim.read_bytes()
    victim.unlink()
    report = synthesize(made.folder, SMALL, processes=1)
    assert report.made == 1
    assert victim.read_bytes() == content


def test_foreign_files_are_not_touched(tmp_path):
    (tmp_path / "annotations.json").write_text("mine")
    with pytest.raises(OutputExistsError, match="did not make"):
        synthesize(tmp_path, SMALL, processes=1)
    assert [p.name for p in tmp_path.iterdir()] == ["annotations.json"]


@pytest.mark.parametrize("seed", range(5))
def test_no_person_is_in_two_subsets_and_every_subset_has_one(seed):
    plans = plan(SynthConfig(videos=40, seed=seed))
    subset_of = {}
    for p in plans:
        assert subset_of.setdefault(p.person, p.subset) == p.subset
    assert set(subset_of.values()) == {"training", "validation", "test"}


def test_few_videos_still_make_all_subsets():
    assert {p.subset for p in plan(SynthConfig(videos=3))} == {"training", "validation", "test"}
    assert [p.subset for p in plan(SynthConfig(videos=1, test_share=0, validation_share=0))] == ["training"]


def test_lengths_and_counts_tell_nothing_about_the_class():
    plans = plan(SynthConfig(videos=400, seed=1))
    lengths = {name: [] for name in LABELS}
    for p in plans:
        for e in p.events:
            if e.labelled:
                lengths[e.action].append(e.end_s - e.start_s)
    counts = [len(v) for v in lengths.values()]
    assert max(counts) - min(counts) <= 3  # one shuffled deck a subset
    means = np.array([np.mean(v) for v in lengths.values()])
    error = (ACTION_S[1] - ACTION_S[0]) / np.sqrt(12 * min(counts))  # of the mean of a uniform length
    assert np.abs(means - np.mean(ACTION_S)).max() < 4 * error


def test_events_do_not_overlap_and_unlabelled_ones_are_not_annotated():
    config = SynthConfig(videos=30, seed=2)
    plans = plan(config)
    hidden = {e.action for p in plans for e in p.events if not e.labelled}
    assert hidden == {a.name for a in BACKGROUND}
    for p in plans:
        ends = [(e.start_s, e.end_s) for e in p.events]
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))
        assert {s.label for s in describe(config, [p]).videos[p.id].segments} <= set(LABELS)


def test_background_and_person_do_not_depend_on_the_labels():
    """The first picture shows the rest pose: the same whatever happens later."""
    from dataclasses import replace

    from pipelines.demo.synth.render import render

    video = plan(SMALL)[0]
    first = next(render(SMALL, video))
    assert np.array_equal(first, next(render(SMALL, replace(video, events=()))))


def test_bones_keep_their_length_in_every_action():
    for action in (*ACTIONS, *BACKGROUND):
        p = joints(action.move(np.linspace(0, 2, 50)), PROPORTIONS)
        for side in "lr":
            for a, b, bone in (
                ("hip", "knee", "thigh"),
                ("knee", "foot", "shin"),
                ("elbow", "hand", "forearm"),
            ):
                bones = np.linalg.norm(p[:, JOINT[f"{side}_{a}"]] - p[:, JOINT[f"{side}_{b}"]], axis=1)
                assert np.allclose(bones, PROPORTIONS[bone]), action.name


def test_actions_start_and_end_near_rest():
    """Whole cycles join without a jump: the pose of cycle 2 is that of cycle 0."""
    for action in ACTIONS:
        ends = action.move(np.array([0.0, 2.0]))
        assert np.allclose(ends[0], ends[1], atol=1e-3), action.name


def test_mirroring_twice_changes_nothing_and_once_reflects():
    poses = np.random.default_rng(0).normal(0, 30, (5, len(ANGLES)))
    assert np.allclose(mirror(mirror(poses)), poses)
    there, back = joints(poses, PROPORTIONS), joints(mirror(poses), PROPORTIONS)
    assert np.allclose(there[:, JOINT["l_hand"]] * [-1, 1, 1], back[:, JOINT["r_hand"]])


def test_projection_by_hand():
    points = np.array([[[1.0, 2.0, 0.0]]])
    flat, depth = project(points, np.zeros(1), 0.0, np.array([10.0]), np.array([[50.0, 90.0]]))
    assert np.allclose(flat, [[[40.0, 70.0]]])
    assert np.allclose(depth, 0.0)


def test_a_raised_arm_is_above_the_shoulder():
    p = joints(pose(upper_arm_a=np.array([180.0]), forearm_a=180.0), PROPORTIONS)[0]
    rise = p[JOINT["l_hand"], 1] - p[JOINT["l_shoulder"], 1]
    assert rise == pytest.approx(PROPORTIONS["upper_arm"] + PROPORTIONS["forearm"])


def test_shuffled_labels_keep_segments_and_other_subsets():
    config = SynthConfig(videos=20, seed=5)
    truth = describe(config, plan(config))
    shuffled = shuffle_labels(truth, "training", seed=1)
    before = [s for v in truth.subset("training").videos.values() for s in v.segments]
    after = [s for v in shuffled.subset("training").videos.values() for s in v.segments]
    assert [(s.start_s, s.end_s) for s in before] == [(s.start_s, s.end_s) for s in after]
    assert sorted(s.label for s in before) == sorted(s.label for s in after)
    assert np.mean([a.label == b.label for a, b in zip(before, after, strict=True)]) < 0.3
    assert shuffled.subset("test").videos == truth.subset("test").videos


def test_shuffled_frames_are_the_same_pictures_in_another_order(made, tmp_path):
    source = made.videos / "video_0000.mp4"
    number = shuffle_frames(source, tmp_path / "out.mp4", seed=0)
    before, after = _pictures(source), _pictures(tmp_path / "out.mp4")
    assert number == len(before) == len(after)
    order = np.random.default_rng(0).permutation(number)
    close = [np.abs(after[i].astype(int) - before[j]).mean() for i, j in enumerate(order[:20])]
    assert np.mean(close) < 6  # encoded twice


def test_command_prints_a_report(tmp_path):
    args = ["--out", str(tmp_path / "s"), "--videos", "1", "--seconds", "8", "--size", "33", "--fps", "5"]
    result = CliRunner().invoke(command, [*args, "--processes", "1", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["made"], report["reused"]) == (1, 0)
    with av.open(str(tmp_path / "s/videos/video_0000.mp4")) as container:
        assert container.streams.video[0].width == 34
