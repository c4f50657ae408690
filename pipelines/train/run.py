"""Training: `train(config, out)` makes a run folder, or goes on with one.

RUN/ config.yaml · provenance.json · labels.json · memory.zarr · log.jsonl · tensorboard/ · checkpoints/ ·
validation/ · models/ (the best) · model/ (the one to predict with).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featstore.documents import read_json
from pipelines.config import RunConfig, parse_config, read_mapping, save_resolved
from pipelines.data.run_annotations import RunAnnotations
from pipelines.shared.console import log, set_quiet
from pipelines.shared.files import write_text
from pipelines.shared.provenance import provenance
from pipelines.shared.run_folder import located
from pipelines.train.checkpoint import list_checkpoints
from pipelines.train.resume import require_same_annotations, settings_to_go_on_with
from tal.device import out_of_memory
from tal.encoders import self_contained
from tal.errors import CheckpointError, ConfigError, DeviceMemoryError, LongtalError
from tal.video import resolve_reader

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pipelines.train.hosts.group import Hosts
    from pipelines.train.hosts.share import Share
    from pipelines.train.preflight import Ready
    from pipelines.train.run_log import OnStep


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    ``best``: highest validation mAP, None without validation; ``best_step``: the step that reached it;
    ``annotations``: those that it learnt from and was measured on.
    """

    out: Path
    step: int
    best: float | None
    best_step: int | None
    num_parameters: int
    annotations: RunAnnotations
    unmeasured: str = ""  # why the last validation has no result; empty: it has one, or none was asked for
    is_main: bool = True  # false in all but one of several processes


def train(
    config: RunConfig,
    out: str | Path,
    resume: bool = False,
    command: Sequence[str] = (),
    ready: Ready | None = None,
    on_step: OnStep | None = None,
) -> TrainResult:
    """Train until ``train.epochs`` are done. With ``resume`` an interrupted run goes on where it stood.

    Parameters
    ----------
    ready
        what `pipelines.train.ensure_store` found; what it did not look at is looked at here.
    on_step
        called after each step with (steps done, steps in all, loss), in place of lines on the console.

    Raises
    ------
    ConfigError
        when ``out`` holds a run already and ``resume`` is not set, or the configuration does not fit here.
    LongtalError
        whatever else keeps the run from its first step; a NotReadyError where that is several things.
    """
    from pipelines.train.hosts.group import Hosts
    from pipelines.train.setup import build_trainer, new_run_id

    out = Path(out)
    if config.encoder is not None:
        config = config.model_copy(update={"encoder": self_contained(config.encoder)})
    if os.environ.get("RANK", "0") != "0":
        set_quiet(True)
    hosts = Hosts.here()
    config, begun, ready, share, accelerator = _meet(config, out, resume, ready, hosts)
    assert ready.data is not None
    accelerator.wait_for_everyone()
    run_id = hosts.first(new_run_id())
    if hosts.leads and not begun:
        _begin(config, ready.annotations, out, run_id, command)
    if hosts.leads and begun:
        save_resolved(config, out)
    accelerator.wait_for_everyone()
    with hosts.together():
        facts = read_json(out / "provenance.json", CheckpointError)
        if not isinstance(facts, dict) or not isinstance(facts.get("run_id"), str):
            raise CheckpointError(f"{out / 'provenance.json'} does not name the run: put back a copy of it")
        require_same_annotations(facts, ready.annotations, out)
    run_id = hosts.first(facts["run_id"])
    with hosts.together():
        if facts["run_id"] != run_id:
            raise CheckpointError(f"{out} is of another run than the first host's folder: give its own --out")
    trainer = build_trainer(config, out, accelerator, run_id, facts, ready.data, ready.encoder, hosts, share)
    trainer.on_step = on_step
    if hosts.leads:
        labels = json.dumps(list(trainer.keeper.labels), indent=1, ensure_ascii=False)
        write_text(out / "labels.json", labels, overwrite=True)
    if accelerator.is_main_process:
        log.info("%d parameters, %s", _count(trainer.network), accelerator.device)
    try:
        state = trainer.run()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, LongtalError) or not out_of_memory(error):
            raise
        raise DeviceMemoryError(
            f"out of memory behind step {trainer.state.step}: lower memory.ratio or raise train.accumulate "
            f"(`longtal plan` measures what fits), then begin again; "
            f"{str(error).splitlines()[0] if str(error) else 'no more is known'}"
        ) from error
    finally:
        if trainer.write_back is not None:
            trainer.write_back.close()
        if trainer.train_step.store is not None:
            trainer.train_step.store.close()
        trainer.log.close()
    best = state.best[0] if state.best else {"value": None, "step": None}
    return TrainResult(
        out,
        state.step,
        best["value"],
        best["step"],
        _count(trainer.network),
        ready.annotations,
        trainer.unmeasured,
        accelerator.is_main_process,
    )


def _meet(
    config: RunConfig, out: Path, resume: bool, ready: Ready | None, hosts: Hosts
) -> tuple[RunConfig, bool, Ready, Share, Accelerator]:
    """Look at all that a run needs, on each of its hosts; several then train one run, or none does.

    Returns
    -------
    tuple
        The configuration to train with, whether the run goes on, what was read, this process's share, and all
        of its processes.
    """
    from pipelines.train.hosts.alike import require_same_data, require_same_settings
    from pipelines.train.hosts.group import common_start, require_own_folder
    from pipelines.train.hosts.holdings import take_stock
    from pipelines.train.hosts.share import share_of
    from pipelines.train.preflight import make_ready
    from pipelines.train.setup import build_accelerator

    several = hosts.count > 1
    # hosts talk before they look at their videos, of which none sees all
    accelerator = build_accelerator(config) if several else None
    require_own_folder(out, hosts)
    with hosts.together():
        begun = bool(list_checkpoints(out / "checkpoints"))
        if not resume:
            require_new(out)
    begun = common_start(begun, out, hosts)
    with hosts.together():
        if begun:
            config = settings_to_go_on_with(saved_config(out), config, out)
        if several and config.data.corrections:
            raise ConfigError("corrections are learnt on one host: start one torchrun alone")
    holdings = None
    if several:
        require_same_settings(config, hosts)
        holdings = take_stock(config, out, begun, hosts)
    with hosts.together():
        if ready is None or ready.data is None:
            annotations = ready.annotations if ready else None
            ready = make_ready(config, out, begun, annotations=annotations, holdings=holdings)
    assert ready is not None and ready.data is not None
    if several:
        require_same_data(ready.data, ready.annotations.fingerprint, hosts)
    share = share_of(config, ready.data, hosts, holdings, _missing(ready))
    return config, begun, ready, share, accelerator or build_accelerator(config)


def require_new(out: Path) -> None:
    """Raise ConfigError where a run has begun in a folder."""
    if list_checkpoints(out / "checkpoints"):
        raise ConfigError(f"{out} holds a run already: --resume goes on with it, or give another --out")


def saved_config(out: str | Path) -> RunConfig:
    """The configuration of a run folder, with its paths as they are from here (`run_folder.located`)."""
    path = Path(out) / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{out} holds no run to go on with: there is no config.yaml")
    return parse_config(located(read_mapping(path), Path(out)), str(path))


def _begin(
    config: RunConfig, annotations: RunAnnotations, out: Path, run_id: str, command: Sequence[str]
) -> None:
    """Write config.yaml, with the subsets as the annotations call them, and provenance.json.

    What an attempt that never began left behind goes.
    """
    config = config.model_copy(update={"data": annotations.named(config.data)})
    out.mkdir(parents=True, exist_ok=True)
    if (out / "memory.zarr").exists():
        shutil.rmtree(out / "memory.zarr")
    (out / "log.jsonl").unlink(missing_ok=True)
    facts = provenance(command) | {
        "run_id": run_id,
        "folder": str(out.absolute()),
        "annotations_sha256": annotations.fingerprint,
        "data": annotations.counts,
        "seed": config.train.seed,
        "reader": resolve_reader(config.data.reader),
        "write_back": config.memory.write_back,
        "precision": config.train.precision,
    }
    write_text(out / "provenance.json", json.dumps(facts, indent=1), overwrite=True)
    save_resolved(config, out)


def _missing(ready: Ready) -> list[str]:
    """Annotated training videos that are nowhere."""
    assert ready.data is not None
    there = {video.id for video in ready.data.train}
    return [name for name in ready.annotations.train.videos if ready.data.ids.get(name) not in there]


def _count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())
