"""Run folders, released checkpoints and pages of reports of which any file may be anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import yaml
from hypothesis import strategies as st

from benchmarks.fuzz import models
from benchmarks.fuzz.attacks import change_json, cut, damage, displace, pickle_bomb, several
from benchmarks.fuzz.tally import Attack, Target
from pipelines.convert.labels import read_labels
from pipelines.report import collect, render
from pipelines.report.serve import serve_page
from pipelines.shared.run_folder import step_name
from pipelines.train.checkpoint import TrainState, list_checkpoints, load_weights, save_checkpoint
from pipelines.train.run import saved_config
from pipelines.train.run_log import RunLog, read_log
from tal.errors import LongtalError
from tal.released import infer_config, read_weights

_RUN = "run"
_STEP = f"{_RUN}/checkpoints/{step_name(3)}"


def make(folder: Path) -> None:
    """A run of three steps with its model, log, checkpoint and validation; no paths to data."""
    run = folder / _RUN
    run.mkdir()
    models.make(run)
    (run / "s.zarr").rename(run / "memory.zarr")
    tree = yaml.safe_load((run / "model" / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    records = [{"kind": "step", "step": step, "loss": 1.0 / step, "parts": {"a": 0.5}} for step in (1, 2, 3)]
    records.append({"kind": "validation", "step": 3, "mAP": 0.5})
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    state = TrainState(step=3, epoch=1, run_id="r", best=[{"step": 3, "value": 0.5}])
    tensors = {"localizer.a": torch.ones(2)}
    save_checkpoint(
        run / "checkpoints", state, tensors, tensors, {"optimizer": {"state": {0: torch.ones(2)}}}
    )
    (run / "validation").mkdir()
    detections = {"results": {"v": [{"label": "jump", "score": 0.5, "segment": [1, 2]}]}}
    (run / "validation" / f"{step_name(3)}_predictions.json").write_text(json.dumps(detections))


def attempt(folder: Path) -> None:
    """Everything that reads a run; the first error is raised when all were tried."""
    run, errors = folder / _RUN, []
    for use in (_report, _checkpoints, saved_config, _log):
        try:
            use(run)
        except LongtalError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _report(run: Path) -> None:
    render(collect(run), str)


def _checkpoints(run: Path) -> None:
    for checkpoint in list_checkpoints(run / "checkpoints"):
        load_weights(checkpoint.path)


def _log(run: Path) -> None:
    if (run / "log.jsonl").is_file():
        read_log(run, "step")
        RunLog(run, from_step=2).close()
        shutil.rmtree(run / "tensorboard", ignore_errors=True)


# -- a page of `report`, shown again --


def make_page(folder: Path) -> None:
    make(folder)
    (folder / "page.html").write_text(render(collect(folder / _RUN), str), encoding="utf-8")


def attempt_page(folder: Path) -> None:
    serve_page(folder / "page.html").server_close()


# -- a released checkpoint --


def make_checkpoint(folder: Path) -> None:
    tensors = {f"model.{name}": value for name, value in _tensors().items()}
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "epoch.pth.tar")
    torch.save({"state_dict": tensors}, folder / "old.pth", _use_new_zipfile_serialization=False)
    (folder / "names.json").write_text('["jump", "run"]')


def _tensors() -> dict[str, torch.Tensor]:
    """Names and shapes from which the settings of a TemporalMaxer are read."""
    from safetensors.torch import load_file

    from benchmarks.golden import FOLDER

    return {
        name.removeprefix("weights/"): value
        for name, value in load_file(FOLDER / "tmax.safetensors").items()
        if name.startswith("weights/")
    }


def attempt_checkpoint(folder: Path) -> None:
    read_labels(folder / "names.json")
    for name in ("epoch.pth.tar", "old.pth"):
        infer_config("temporalmaxer", read_weights(folder / name))


def _pickles(*names: str) -> st.SearchStrategy[Attack]:
    def make_attack(name: str) -> Attack:
        return Attack(
            f"pickle as {name}",
            lambda folder: (folder / name).write_bytes(pickle_bomb(folder.parent / "ran")) and None,
        )

    return st.sampled_from(names).map(make_attack)


def _any_of(attack: object, *names: str) -> st.SearchStrategy[Attack]:
    return st.sampled_from(names).flatmap(attack)  # type: ignore[arg-type]


def _lines() -> st.SearchStrategy[Attack]:
    """Lines of the log that are no records, or strange ones."""
    lines = [
        "", "{", "5", "null", "[]", "[" * 5000, '{"step": 1e999}', '{"step": ' + "9" * 400 + "}",
        '{"step": "1"}', '{"step": 1, "loss": ' + "9" * 400 + "}", '{"step": 1, "loss": NaN}',
        '{"kind": [], "step": 1}', '{"step": 1, "a": ' + '{"a": ' * 900 + "1" + "}" * 900 + "}",
        '{"step": true}', "\ud800", "\0", '{"step": -5}',
        '{"step": 1, "kind": "' + "x" * 5000 + '", "loss": 1}',
    ]  # fmt: skip

    def make_attack(line: str) -> Attack:
        def do(folder: Path) -> None:
            with (folder / _RUN / "log.jsonl").open("ab") as file:
                file.write(line.encode("utf-8", "surrogatepass"))

        return Attack(f"log line {line!r:.100}", do)

    return st.sampled_from(lines).map(make_attack)


_PREDICTIONS = f"{_RUN}/validation/{step_name(3)}_predictions.json"
_TEXTS = (f"{_RUN}/config.yaml", f"{_RUN}/log.jsonl", f"{_STEP}/state.json", _PREDICTIONS)
_JSON = (
    f"{_STEP}/state.json",
    _PREDICTIONS,
    f"{_RUN}/model/provenance.json",
    f"{_RUN}/model/thresholds.json",
)
_WEIGHTS = (f"{_STEP}/model.safetensors", f"{_STEP}/average.safetensors", f"{_STEP}/optimizer.pt")
TARGETS = [
    Target(
        "run folder",
        make,
        several(
            st.one_of(
                _any_of(damage, *_TEXTS, *_WEIGHTS),
                _any_of(cut, *_TEXTS, *_WEIGHTS),
                _any_of(change_json, *_JSON),
                displace([*_TEXTS, *_WEIGHTS, _STEP], links=False),
                _pickles(*_WEIGHTS),
                _lines(),
            )
        ),
        attempt,
    ),
    Target("report page", make_page, st.one_of(damage("page.html"), cut("page.html")), attempt_page),
    Target(
        "released checkpoint",
        make_checkpoint,
        st.one_of(
            _any_of(damage, "epoch.pth.tar", "old.pth", "names.json"),
            _any_of(cut, "epoch.pth.tar", "old.pth", "names.json"),
            _pickles("epoch.pth.tar", "old.pth"),
            change_json("names.json"),
        ),
        attempt_checkpoint,
    ),
]
