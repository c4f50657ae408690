"""RUN/model: a folder that holds all that prediction needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig, portable_text
from pipelines.train.validate import Validation
from tal.annotations import AnnotationSet
from tal.inference.model_folder import trunk_of, write_model
from tal.memory.network import MemoryNetwork
from tal.metrics import calibrate


def export_model(
    folder: Path,
    network: MemoryNetwork,
    config: RunConfig,
    labels: Sequence[str],
    provenance: dict[str, Any],
    validation: Validation | None,
    ground_truth: AnnotationSet | None,
) -> Path:
    """Write the network as a model folder, in the place of one that is there.

    Thresholds are those of the best F1 of each class on the validation videos; none without validation.
    """
    weights = {k: v for k, v in network.exported().items() if k.startswith(("encoder.", "localizer."))}
    encoder = config.encoder
    if network.encoder is not None and encoder is not None:
        provenance = provenance | {"adapter": network.encoder.adapter_sha256}
        if network.resting:
            provenance = provenance | {"trunk": trunk_of(network.encoder)}
        if encoder.adapter is not None and encoder.adapter.kind == "lora":  # merged: nothing to add any more
            plain = encoder.model_copy(update={"adapter": None, "adapter_weights": None})
            config = config.model_copy(update={"encoder": plain})
    thresholds = {}
    if validation is not None and ground_truth is not None and len(validation.predictions):
        thresholds = calibrate(ground_truth, validation.predictions)
    return write_model(folder, weights, portable_text(config), labels, thresholds, provenance, replace=True)
