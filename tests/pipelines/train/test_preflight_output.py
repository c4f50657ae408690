"""The run's folder and its disk, before the first step; and a model whatever becomes of the validation."""

import json
import os
import shutil
from collections import namedtuple

import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from cli import cli, main
from pipelines.train import train
from pipelines.train.checkpoint import KEEP
from pipelines.train.findings import Findings
from pipelines.train.preflight import make_ready, output
from pipelines.train.preflight.output import Need, check_disk, check_output
from pipelines.train.run_log import read_log
from pipelines.train.validate import Validator
from tal.errors import EvaluationError, OutputError, VideoError
from tests.pipelines.tiny_run import Killed, losses, tiny_config


@pytest.mark.parametrize("name", ["checkpoints", "model", "memory.zarr"])
def test_a_file_in_the_way_of_a_runs_own_folder(tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("")
    findings = Findings()
    check_output(tmp_path / "run", findings)
    with pytest.raises(OutputError, match=rf"{name} is a file where the run needs a folder"):
        findings.settle()


def test_a_folder_that_takes_no_file(tmp_path, monkeypatch):
    def refuses(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(output.tempfile, "TemporaryFile", refuses)
    findings = Findings()
    check_output(tmp_path / "a" / "b", findings)
    with pytest.raises(OutputError, match=rf"{tmp_path}: Read-only file system; give another --out"):
        findings.settle()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("free", "said"), [(99, "error"), (101, "warning"), (149, "warning"), (151, "")])
def test_room_is_compared_with_all_that_one_disk_is_to_take(tmp_path, monkeypatch, caplog, free, said):
    monkeypatch.setattr(output.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(free * 1_000_000))
    findings = Findings()
    needs = [
        Need("for rows", 60_000_000, tmp_path / "s.zarr"),
        Need("for models", 40_000_000, tmp_path / "r"),
    ]
    check_disk(needs, findings)
    if said == "error":
        with pytest.raises(OutputError, match=r"needs 0.10 GB \(60.0 MB for rows, 40.0 MB for models\)"):
            findings.settle()
    else:
        findings.settle()
    assert [r.getMessage().endswith("little more than that") for r in caplog.records] == [True] * (
        said == "warning"
    )


@pytest.mark.parametrize(
    "sections", [{}, {"train": {"ema_decay": 0.9, "keep_best": 2}}, {"memory": {"ratio": 0.0}}]
)
def test_a_run_takes_what_was_foreseen(data, tmp_path, monkeypatch, sections):
    """Beside the files of a real run; names and types of so small tensors take a tenth of them."""
    needs = []
    monkeypatch.setattr("pipelines.train.preflight.run.check_disk", lambda found, _: needs.extend(found))
    monkeypatch.setattr(output, "_shares_blocks", lambda *_: False)
    once = {"validate_from": 0, "epochs": 3, **sections.get("train", {})}
    train(configured(data, **{**sections, "train": once}), tmp_path / "run")
    foreseen = {need.what.split()[-1]: need.num_bytes for need in needs}
    run = tmp_path / "run"
    checkpoint = max((run / "checkpoints").iterdir())
    assert foreseen["checkpoints"] == pytest.approx((KEEP + 1) * size(checkpoint), rel=0.2)
    kept = max(1, once.get("keep_best", 1)) + 2
    assert foreseen["models"] == pytest.approx(
        kept * (run / "model/model.safetensors").stat().st_size, rel=0.05
    )
    if (run / "memory.zarr").exists():
        assert foreseen["store.zarr"] == pytest.approx(size(data / "store.zarr"), rel=0.3)
    else:
        assert "store.zarr" not in foreseen


def size(folder):
    return sum(os.stat(path).st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def configured(folder, **sections):
    paths = {"annotations": "annotations.json", "videos": "videos", "store": "store.zarr"}
    keys = {name: str(folder / file) for name, file in paths.items()}
    return tiny_config(folder, data={**keys, "fps": 8.0, **sections.pop("data", {})}, **sections)


def failing(monkeypatch, error, after=0):
    """Validations end in an error, but for the first ``after``."""
    real, runs = Validator.run, []

    def run(self, network):
        runs.append(1)
        if len(runs) > after:
            raise error
        return real(self, network)

    monkeypatch.setattr(Validator, "run", run)


@pytest.mark.parametrize("select", ["best", "last"])
def test_a_validation_that_fails_costs_no_model(data, tmp_path, monkeypatch, caplog, select):
    config = configured(data, train={"validate_from": 0, "epochs": 2, "select": select})
    whole = train(config, tmp_path / "whole")
    failing(monkeypatch, EvaluationError("nothing to measure"))
    result = train(config, tmp_path / "run")
    assert result.unmeasured == "nothing to measure" and result.best is None and result.step == whole.step
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    model = load_file(tmp_path / "run" / "model" / "model.safetensors")
    last = load_file(max((tmp_path / "run" / "checkpoints").iterdir()) / "model.safetensors")
    assert all((model[name] == last[name]).all() for name in model)
    assert any("nothing to measure; the model has the last weights" in r.getMessage() for r in caplog.records)
    assert len(read_log(tmp_path / "run", "validation_failed")) == 2


def test_after_a_good_validation_the_best_weights_stay(data, tmp_path, monkeypatch):
    failing(monkeypatch, VideoError("gone"), after=1)
    config = configured(data, train={"validate_from": 0, "epochs": 2})
    result = train(config, tmp_path / "run")
    assert result.unmeasured == "gone" and result.best_step == 3
    facts = json.loads((tmp_path / "run" / "model" / "provenance.json").read_text())
    assert facts["step"] == 3
    subsets = {"training": {"videos": 6, "segments": 6}, "validation": {"videos": 2, "segments": 2}}
    assert facts["data"] == subsets  # what a model card says


def test_a_process_that_ends_in_its_last_validation_leaves_a_model(data, tmp_path, monkeypatch):
    failing(monkeypatch, Killed())
    with pytest.raises(Killed):
        train(configured(data, train={"epochs": 1}), tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_the_command_ends_with_1_when_nothing_was_measured(data, tmp_path, monkeypatch):
    failing(monkeypatch, EvaluationError("nothing to measure"))
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(configured(data, train={"epochs": 1}).model_dump(mode="json")))
    run = ["train", "--config", str(path), "--out", str(tmp_path / "run"), "--json"]
    result = CliRunner().invoke(cli, run)
    assert result.exit_code == 1 and json.loads(result.stdout)["unmeasured"] == "nothing to measure"


def test_a_run_that_goes_on_is_not_refused_for_what_it_cannot_measure(data, tmp_path, caplog):
    """Its weights are worth a model; its own memory stands in for the store."""
    tree = json.loads((data / "annotations.json").read_text())
    for video in tree["database"].values():
        if video["subset"] == "validation":
            video["annotations"] = []
    (tmp_path / "a.json").write_text(json.dumps(tree))
    shutil.copytree(data / "store.zarr", tmp_path / "s.zarr")
    config = configured(data, data={"store": str(tmp_path / "s.zarr")}, train={"epochs": 1})
    train(config, tmp_path / "run")
    shutil.rmtree(tmp_path / "s.zarr")
    changed = configured(
        data, data={"store": str(tmp_path / "s.zarr"), "annotations": str(tmp_path / "a.json")}
    )
    ready = make_ready(changed, tmp_path / "run", begun=True)
    assert len(ready.data.train) == 6
    assert any("nothing can be measured" in record.getMessage() for record in caplog.records)


def test_the_command_shows_each_problem_on_a_line(tmp_path, monkeypatch, capsys):
    missing = tmp_path / "nowhere.json"
    sets = [f"data.annotations={missing}", "encoder.weights=none.pth", "data.videos=."]
    command = ["longtal", "train", "--config", "demo", "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", [*command, *(word for value in sets for word in ("--set", value))])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err.splitlines()
    head = next(number for number, line in enumerate(shown) if line.startswith("error: "))
    assert shown[head].endswith("things keep this run from its first step:")
    assert [line[:5] for line in shown[head + 1 :]] == ["  1. ", "  2. "]
    assert any("nowhere.json" in line for line in shown[head:])
