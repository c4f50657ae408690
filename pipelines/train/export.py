"""RUN/model: a folder that holds all that prediction needs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from pipelines.config import RunConfig, save_resolved
from pipelines.train.validate import Validation
from tal.annotations import AnnotationSet
from tal.memory.network import MemoryNetwork
from tal.metrics import calibrate
from tal.weights import contiguous


def write_model(
    folder: Path,
    network: MemoryNetwork,
    config: RunConfig,
    labels: Sequence[str],
    provenance: dict[str, Any],
    validation: Validation | None,
    truth: AnnotationSet | None,
) -> Path:
    """Write weights (``encoder.*``, ``localizer.*``), config, labels, calibrated thresholds and provenance.

    The folder is written beside its place and then renamed. Thresholds are those of the best F1 of each class
    on the validation videos; none without validation.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = {k: v for k, v in network.state_dict().items() if k.startswith(("encoder.", "localizer."))}
    save_file(contiguous(weights), temporary / "model.safetensors")
    save_resolved(config, temporary)
    thresholds = {}
    if validation is not None and truth is not None and len(validation.predictions):
        thresholds = calibrate(truth, validation.predictions)
    write_json(temporary / "labels.json", list(labels))
    write_json(temporary / "thresholds.json", thresholds)
    write_json(temporary / "provenance.json", provenance)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder


def link_model(source: Path, target: Path) -> None:
    """Make ``target`` the same model as ``source``: hard links where possible, else copies."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)

    def link(a: str, b: str) -> None:
        try:
            os.link(a, b)
        except OSError:
            shutil.copy2(a, b)

    shutil.copytree(source, temporary, copy_function=link)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
