"""`longtal train` of a fresh project: the store is extracted first, once, and only where it can be."""

import json

import pytest
import yaml
from click.testing import CliRunner

from featstore import FeatureStore
from pipelines.commands.train import command
from pipelines.config import load_config
from pipelines.extract import run as extraction
from pipelines.train.ensure_store import ensure_store
from tal.errors import ConfigError, EvaluationError
from tests.pipelines.tiny_run import make_data, tiny_config


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh")
    make_data(folder, train=2, validation=1)
    return folder


@pytest.fixture
def project(videos, tmp_path):
    """A configuration whose store is not there yet."""
    tree = tiny_config(videos, train={"epochs": 1, "batch_size": 2}).model_dump(mode="json")
    tree["data"]["store"] = str(tmp_path / "features.zarr")
    path = tmp_path / "longtal.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def ensure(path, *sets):
    return ensure_store(load_config(str(path), sets), str(path), sets, path.parent / "run")


def test_train_is_one_command(project):
    out = project.parent / "run"
    result = CliRunner().invoke(command, ["--config", str(project), "--out", str(out), "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads(result.stdout)["step"] == 1
    with FeatureStore.open(project.parent / "features.zarr") as store:
        assert store.video_ids == ["v00", "v01", "v02"] and store.run_id is None
    assert not ensure(project)


def test_an_interrupted_extraction_goes_on(project, monkeypatch):
    encode = extraction.encode_stream
    ended = []

    def until_one_video_is_done(*arguments):
        for event in encode(*arguments):
            if ended:
                raise KeyboardInterrupt
            yield event
            if isinstance(event, extraction.Finished):
                ended.append(event.key)

    monkeypatch.setattr(extraction, "encode_stream", until_one_video_is_done)
    with pytest.raises(KeyboardInterrupt):
        ensure(project)
    monkeypatch.undo()
    with FeatureStore.open(project.parent / "features.zarr") as store:
        assert store.video_ids == ended
    assert ensure(project) and not ensure(project)
    with FeatureStore.open(project.parent / "features.zarr") as store:
        assert len(store) == 3


def test_what_training_would_refuse_is_refused_first(project, monkeypatch):
    with pytest.raises(EvaluationError, match="nosuch"):
        ensure(project, "data.train_subset=nosuch")
    with pytest.raises(ConfigError, match=r"data\.annotations"):
        ensure(project, "data.annotations=")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"longtal extract --config \S+ --set train\.seed=1` first"):
        ensure(project, "train.seed=1")
    assert not (project.parent / "features.zarr").exists()


def test_nothing_is_extracted_where_no_rows_are_read(project):
    (project.parent / "run" / "checkpoints" / "step_1").mkdir(parents=True)
    assert not ensure(project)  # a run that `train` refuses, or goes on with
    for setting in ("memory.baseline=fresh_only", "data.videos="):
        config = load_config(str(project), [setting])
        assert not ensure_store(config, str(project), [setting], project.parent / "new")
    assert not (project.parent / "features.zarr").exists()
