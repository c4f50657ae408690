"""One rule for the ids of videos in every command, and ids of other sources that are paired with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from featstore import FeatureSpec, FeatureStore, UnknownVideoError
from pipelines.config import parse_config, save_resolved
from pipelines.data.check import check
from pipelines.data.prepare import PrepareConfig, prepare
from pipelines.data.run_annotations import read_run_annotations
from pipelines.data.videos import find_sources, find_stored, find_videos
from pipelines.evaluate.run import EvaluateOptions, evaluate_files
from pipelines.extract import ExtractOptions, extract
from pipelines.report.run import collect
from pipelines.store.features import ImportOptions, export_features, import_features
from pipelines.train import train
from pipelines.train.data import load_data
from tal.annotations import read_predictions
from tal.errors import ConfigError, OutputError, VideoError
from tests.pipelines.tiny_run import ENCODER, FPS, losses, tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments: object, code: int = 0):
    """A command's JSON."""
    result = CliRunner().invoke(cli, ["-q", *map(str, arguments), "--json"])
    assert result.exit_code == code, result.output + str(result.exception)
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def folder_of(name: str) -> str:
    """v03 -> P01: four videos a folder."""
    return f"P{int(name[1:]) // 4:02d}"


def nest(data: Path, folder: Path) -> Path:
    """The tiny videos in sub-folders."""
    for path in (data / "videos").iterdir():
        target = folder / folder_of(path.stem) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def annotate(data: Path, path: Path, name) -> Path:
    """The tiny annotations with other ids."""
    tree = json.loads((data / "annotations.json").read_text())
    tree["database"] = {name(k): v for k, v in tree["database"].items()}
    path.write_text(json.dumps(tree))
    return path


def configured(data: Path, **paths: Path):
    return tiny_config(data, data={"fps": FPS, **{k: str(v) for k, v in paths.items()}})


def encode(subset=None, **where):
    data = {"fps": FPS, **{key: str(path) for key, path in where.items()}}
    return extract(
        parse_config({"data": data, "encoder": ENCODER}),
        ExtractOptions(subset=subset, dtype="float32", workers=0),
    )


@pytest.fixture(scope="module")
def flat_run(data, tmp_path_factory):
    """Version 0.1's way: no folders anywhere."""
    out = tmp_path_factory.mktemp("flat") / "run"
    train(tiny_config(data, data=_data(data)), out)
    return out


def _data(data: Path) -> dict:
    return {
        "fps": FPS,
        "annotations": str(data / "annotations.json"),
        "videos": str(data / "videos"),
        "store": str(data / "store.zarr"),
    }


# -- one name in every command --


@pytest.fixture
def alike(data, tmp_path):
    """Files of one name, and one that is no video."""
    videos = tmp_path / "videos"
    first = data / "videos" / "v00.mp4"
    for name in ("p1/a.mp4", "p2/a.mp4", "p2/a.avi", "p3/sub/b.MP4"):
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first, videos / name)
    (videos / "p3" / "broken.mp4").write_bytes(b"x" * 100)
    return videos


def test_every_command_gives_a_video_the_same_id(alike, flat_run, tmp_path):
    good, broken = {"p1/a", "p2/a.mp4", "p2/a.avi", "p3/sub/b"}, {"p3/broken"}
    checked = run("check", "--videos", alike, code=1)
    assert {p["video"] for p in checked["problems"]} == broken
    assert checked["subsets"] == [{"subset": "all files", "videos": 4, "hours": pytest.approx(28 / 3600)}]

    found = run("predict", alike, "--model", flat_run, "--out", tmp_path / "found", code=1)
    assert set(found["videos"]) == good and set(found["failed"]) == broken
    saved = read_predictions(tmp_path / "found" / "predictions.json")
    assert set(saved.attrs["videos"]) == good

    save_resolved(tiny_config(tmp_path, data={"annotations": "", "fps": FPS}), tmp_path)
    store = tmp_path / "s.zarr"
    source = ("--config", tmp_path / "config.yaml", "--videos", alike, "--store", store, "--dtype", "float32")
    done = run("extract", *source, "--workers", 0, code=1)
    assert set(done["failed"]) == broken
    with FeatureStore.open(store) as opened:
        assert set(opened.video_ids) == good
    stored = run("predict", "--from-store", store, "--model", flat_run, "--out", tmp_path / "stored")
    assert set(stored["videos"]) == good

    prepared = run("prepare", "--videos", alike, "--out", tmp_path / "small", "--size", 32, code=1)
    assert prepared["done"] == 4 and set(prepared["failed"]) == broken
    assert set(find_videos([tmp_path / "small"])) == good
    assert (tmp_path / "small" / "p3" / "sub" / "b.mp4").is_file()


def test_three_files_of_one_name_are_three_videos(alike):
    for suffix in ("mkv", "webm"):
        shutil.copy(alike / "p2" / "a.mp4", alike / "p2" / f"a.{suffix}")
    expected = {"p1/a", "p2/a.avi", "p2/a.mkv", "p2/a.mp4", "p2/a.webm", "p3/sub/b", "p3/broken"}
    assert set(find_sources(alike).paths) == set(find_videos([alike])) == expected


@pytest.mark.parametrize(
    ("files", "given", "ids"),
    [
        (["x/a.mp4", "x/P/b.mp4", "y/c.mp4"], ["x", "y"], ["P/b", "a", "c"]),
        # alike below two folders: as much of the folders as tells them apart, and only there
        (["x/a.mp4", "y/a.mp4", "y/b.mp4"], ["x", "y"], ["x/a", "y/a", "b"]),
        (["x/v/P/a.mp4", "y/v/P/a.mp4"], ["x/v", "y/v"], ["x/v/P/a", "y/v/P/a"]),
        (["a.mp4", "x/a.mp4"], ["a.mp4", "x/a.mp4"], ["a", "x/a"]),
        (["x/a.mp4", "x/x/a.mp4", "y/a.mp4"], ["x", "y"], ["x/a", "x/x/a", "y/a"]),
        # single files and patterns
        (["x/a.mp4", "x/a.avi"], ["x/a.mp4"], ["a"]),
        (["x/a.mp4", "x/a.avi"], ["x/a.avi", "x/a.mp4"], ["a.avi", "a.mp4"]),
        (["x/P1/a.mp4", "x/P2/a.mp4", "x/Q/a.mp4"], ["x/P*/*.mp4"], ["P1/a", "P2/a"]),
        (["x/P1/a.mp4", "x/P2/b/c.mp4"], ["x/P*"], ["P1/a", "P2/b/c"]),
        (["x/P1/a.mp4", "x/.P1.mp4", "x/notes.txt"], ["x/**"], ["P1/a"]),
        # no file twice, the first mention counts
        (["x/a.mp4", "x/b.mp4"], ["x/b.mp4", "x", "./x/../x"], ["b", "a"]),
        (["x/odd.name.v2"], ["x/odd.name.v2"], ["odd.name"]),
    ],
)
def test_what_is_named_on_the_command_line(tmp_path, monkeypatch, files, given, ids):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for where in (given, [str(tmp_path / g) for g in given]):
        found = find_videos(where)
        assert list(found) == ids
        assert all(path.is_file() for path in found.values())


def test_stored_videos_are_named_by_id_or_file():
    known, store = ["P01/a", "P02/a", "P02/b", "c", "P03/d.mp4", "P03/d.avi"], Path("s.zarr")
    given = ["P01/a", "/data/P02/a.mp4", "b", "anywhere/c.mkv", "P03/d.avi"]
    assert list(find_stored(given, known, store)) == ["P01/a", "P02/a", "P02/b", "c", "P03/d.avi"]
    assert list(find_stored([], known, store)) == known
    for text, words in (
        ("a", "'P01/a', 'P02/a'"),
        ("P03/d", "d.avi"),
        ("", "no complete"),
        ("/", "complete"),
    ):
        with pytest.raises(UnknownVideoError, match=words):
            find_stored([text], known, store)


# -- annotations, store and files that say more or less --


def test_a_store_of_0_1_trains_with_videos_in_folders(data, flat_run, tmp_path, said):
    videos = nest(data, tmp_path / "videos")
    config = configured(data, **{**_paths(data), "videos": videos})
    train(config, tmp_path / "run")
    assert losses(tmp_path / "run") == losses(flat_run)
    assert any("8 annotated ids matched with the folder put on: 'v00' as 'P00/v00'" in s for s in said)
    assert any("8 video ids matched with the folder taken off: 'P00/v00' as 'v00'" in s for s in said)
    with FeatureStore.open(tmp_path / "run" / "memory.zarr") as memory:
        assert memory.video_ids == [f"v{i:02d}" for i in range(8)]


def _paths(data: Path) -> dict[str, Path]:
    return {k: Path(v) for k, v in _data(data).items() if k != "fps"}


def test_videos_in_folders_from_extraction_to_report(data, flat_run, tmp_path):
    videos = nest(data, tmp_path / "videos")
    full = annotate(data, tmp_path / "full.json", lambda name: f"{folder_of(name)}/{name}")
    store = tmp_path / "s.zarr"
    done = encode(videos=videos, annotations=full, store=store)
    assert sorted(done.done) == [f"{folder_of(f'v{i:02d}')}/v{i:02d}" for i in range(8)]
    run_folder = tmp_path / "run"
    train(configured(data, annotations=full, videos=videos, store=store), run_folder)
    assert losses(run_folder) == losses(flat_run)
    validation = [f"P01/v{i:02d}" for i in (6, 7)]

    out = tmp_path / "found"
    args = ("--model", run_folder, "--out", out, "--format", "json,srt")
    found = run("predict", videos / "P01" / "v06.mp4", videos, *args)
    assert set(found["videos"]) == {"v06", *done.done} - {"P01/v06"}
    found = run("predict", videos, *args)
    assert set(found["videos"]) == set(done.done) and len(found["reused"]) == 8
    assert found["notes"] == ["1 finished under another id before: 'v06' is now 'P01/v06'"]
    assert set(read_predictions(out / "predictions.json").attrs["videos"]) == set(done.done)
    assert len(list(out.glob("*.srt"))) == 8 and len(list((out / "finished").iterdir())) == 8

    last = annotate(data, tmp_path / "last.json", str)  # says only v06
    measured = [
        evaluate_files(EvaluateOptions(path, (out / "predictions.json",), "validation")).report
        for path in (full, last)
    ]
    assert measured[0]["mAP"] == measured[1]["mAP"]
    assert not any("matched" in note for note in measured[0]["notes"])
    assert any("2 prediction ids" in note and "folder" in note for note in measured[1]["notes"])

    report = collect(run_folder)
    assert [v.id for v in report.videos] == validation
    assert [v.file for v in report.videos] == [videos / f"{name}.mp4" for name in validation]
    other = collect(out, last, "validation", videos)
    assert [v.id for v in other.videos if v.ground_truth] == ["v06", "v07"]
    assert all(v.file is not None and v.detections for v in other.videos if v.ground_truth)


def test_annotations_that_say_only_the_last_part(data, tmp_path, said):
    videos = nest(data, tmp_path / "videos")
    last = data / "annotations.json"
    done = encode(videos=videos, annotations=last, subset="validation", store=tmp_path / "s.zarr")
    assert sorted(done.done) == ["P01/v06", "P01/v07"]  # the file's id, whatever the annotations say
    assert any("annotated ids matched with the folder put on" in line for line in said)
    found = check(last, videos, tmp_path / "s.zarr")
    assert any("8 annotated ids matched" in note for note in found.notes)
    assert {p.video for p in found.problems if p.check == "store"} == {f"v{i:02d}" for i in range(6)}
    assert not [p for p in found.problems if p.check in ("missing", "unreadable", "duration")]


def test_an_id_that_could_be_several_videos_is_left_out_and_they_are_named(data, tmp_path, said):
    videos = nest(data, tmp_path / "videos")
    (videos / "P09").mkdir()
    shutil.copy(videos / "P00" / "v00.mp4", videos / "P09" / "v00.mp4")
    last = data / "annotations.json"
    named = "'v00' could be 'P00/v00', 'P09/v00'"
    problems = [p for p in check(last, videos).problems if p.check == "missing"]
    assert [p.video for p in problems] == ["v00"] and "'P00/v00', 'P09/v00'" in problems[0].detail
    sources = find_sources(videos, last)
    assert sources.missing == ("v00",) and "P00/v00" not in sources.paths
    config = configured(data, **{**_paths(data), "videos": videos})
    with FeatureStore.open(data / "store.zarr") as store:
        loaded = load_data(config.data, read_run_annotations(config.data), store)
    assert [v.id for v in loaded.train] == [f"v{i:02d}" for i in range(1, 6)]
    assert any(named in line for line in said)
    assert any("1 of 6 training videos are left out: 1 no file in" in line for line in said)


def test_extraction_goes_on_with_a_store_of_0_1(data, tmp_path, said):
    videos = nest(data, tmp_path / "videos")
    shutil.copytree(data / "store.zarr", tmp_path / "s.zarr")
    (videos / "P09").mkdir()
    shutil.copy(videos / "P00" / "v00.mp4", videos / "P09" / "v00.mp4")
    report = encode(videos=videos, store=tmp_path / "s.zarr")
    # nobody can tell which of the two the store's v00 is
    assert report.done == ["P00/v00", "P09/v00"] and report.kept == [f"v{i:02d}" for i in range(1, 8)]
    assert any("7 video ids matched with the folder taken off" in line for line in said)


def test_the_folder_is_listed_once_however_many_ids_are_looked_up(data, tmp_path, monkeypatch):
    import tal.annotations.videos

    videos = nest(data, tmp_path / "videos")
    listed = []
    real = tal.annotations.videos.list_videos
    monkeypatch.setattr(tal.annotations.videos, "list_videos", lambda f: listed.append(f) or real(f))
    config = configured(data, **{**_paths(data), "videos": videos})
    with FeatureStore.open(data / "store.zarr") as store:
        load_data(config.data, read_run_annotations(config.data), store)
    assert listed == [videos]
    find_sources(videos, data / "annotations.json")
    assert len(listed) == 2


def test_no_folder_of_videos_is_said(data, tmp_path):
    config = configured(data, **{**_paths(data), "videos": tmp_path / "gone"})
    with (
        FeatureStore.open(data / "store.zarr") as store,
        pytest.raises(VideoError, match="gone: does not exist"),
    ):
        load_data(config.data, read_run_annotations(config.data), store)


# -- ids that become files --


def test_prepare_keeps_what_0_1_made_and_stays_out_of_the_originals(alike, tmp_path, said):
    out = tmp_path / "out"
    config = PrepareConfig(alike, out, fps=8.0, size=32)
    report = prepare(config)
    assert sorted(report.done) == ["p1/a", "p2/a.avi", "p2/a.mp4", "p3/sub/b"]
    shutil.move(out / "p3" / "sub" / "b.mp4", out / "b.mp4")  # as 0.1 named it
    again = prepare(config)
    assert not again.done and sorted(again.kept) == sorted(report.done)
    assert any("'p3/sub/b' as 'b'" in line for line in said)
    for inside in (alike, alike / "small"):
        with pytest.raises(ConfigError, match="originals"):
            prepare(PrepareConfig(alike, inside))


def test_features_of_sub_folders_go_in_and_out(tmp_path):
    values = {
        name: np.full((5, 3), number, np.float32) for number, name in enumerate(("P01/a", "P01/a.b", "c"))
    }
    folder = tmp_path / "features"
    for name, rows in values.items():
        head, _, tail = name.rpartition("/")
        (folder / head).mkdir(parents=True, exist_ok=True)
        np.save(folder / head / f"v_{tail}.npy", rows)
    facts = {
        "a": {"fps": 10.0, "duration_s": 2.0},
        "P01/a.b.mp4": {"fps": 20.0},
        "c": {"fps": 30.0},
        "gone": {},
    }
    options = ImportOptions("tc", fps=0.0, stride=4, prefix="v_", dtype="float32")
    report = import_features(folder, tmp_path / "s.zarr", options, facts)
    assert report["annotated_without_file"] == ["gone"]
    assert {
        "1 feature file matched with the folder taken off: 'P01/a' as 'a'",
        "1 feature file matched with the suffix put on: 'P01/a.b' as 'P01/a.b.mp4'",
    } <= set(report["notes"])
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        assert {i: store.video(i).fps for i in store.video_ids} == {"P01/a": 10.0, "P01/a.b": 20.0, "c": 30.0}
    assert export_features(tmp_path / "s.zarr", tmp_path / "out") == 3
    assert (tmp_path / "out" / "P01" / "a.b.npy").is_file()
    import_features(tmp_path / "out", tmp_path / "t.zarr", ImportOptions("tc", 10.0, 4, dtype="float32"))
    with FeatureStore.open(tmp_path / "t.zarr") as store:
        assert {i: store.read(i, 0, 5)[0, 0] for i in store.video_ids} == {"P01/a": 0, "P01/a.b": 1, "c": 2}

    np.save(folder / "v_a.npy", values["c"])
    with pytest.raises(ConfigError, match="'a' could be 'x/a', 'y/a'"):
        import_features(folder, tmp_path / "u.zarr", options, {"x/a": {"fps": 1.0}, "y/a": {"fps": 1.0}})
    np.savez(folder / "P01" / "v_a.npz", values["c"])
    with pytest.raises(ConfigError, match="two files for video 'P01/a'"):
        import_features(folder, tmp_path / "u.zarr", options, facts)


def test_no_stored_id_leads_out_of_the_folder_of_an_export(tmp_path, monkeypatch):
    import featstore.editing

    monkeypatch.setattr(featstore.editing, "check_id", lambda video_id: video_id.encode())  # a hostile writer
    with FeatureStore.create(tmp_path / "s.zarr", FeatureSpec("e", "w", 2, 1, 1)) as store:
        for video_id in ("fine", "../../out"):
            store.add_video(video_id, num_rows=1)
            store.complete(video_id)
        store.commit()
    with pytest.raises(ValueError, match="could lead out of a folder"):
        export_features(tmp_path / "s.zarr", tmp_path / "a" / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr"]


def test_an_export_whose_folder_is_a_file_says_so(tmp_path):
    with FeatureStore.create(tmp_path / "s.zarr", FeatureSpec("e", "w", 2, 1, 1)) as store:
        for video_id in ("a", "a.npy/b"):
            store.add_video(video_id, num_rows=1)
            store.complete(video_id)
        store.commit()
    with pytest.raises(OutputError, match="is a file"):
        export_features(tmp_path / "s.zarr", tmp_path / "out")


def test_one_id_for_another_file_is_said(alike, flat_run, tmp_path):
    out = tmp_path / "found"
    run("predict", alike / "p1", "--model", flat_run, "--out", out)
    found = run("predict", alike / "p2" / "a.avi", "--model", flat_run, "--out", out)
    assert list(found["videos"]) == ["a"] and not found["reused"]
    assert len(found["notes"]) == 1 and "p1/a.mp4, now" in found["notes"][0]


def test_plot_takes_either_spelling(data, flat_run, tmp_path):
    videos = nest(data, tmp_path / "videos")
    run("predict", videos / "P01", "--model", flat_run, "--out", tmp_path / "found")
    found, more = tmp_path / "found" / "predictions.json", ("--out", str(tmp_path / "t.png"), "--overwrite")
    full = annotate(data, tmp_path / "full.json", lambda i: f"P01/{i}")
    for name in ("v06", "P01/v06"):
        result = CliRunner().invoke(
            cli,
            ["plot", "--predictions", str(found), "--annotations", str(full), "--video", name, *more],
        )
        assert result.exit_code == 0 and "drawn without truth" not in result.output, result.output
