"""All that can be known before a run's first step is looked at, and all that is wrong is said at once.

Reading annotations, pairing videos and loading weights are needed by the run itself: what was read is handed
on to it (`Ready`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from featstore import FeatureStore
from featstore.documents import read_json
from pipelines.config import RunConfig
from pipelines.data.run_annotations import RunAnnotations, read_run_annotations
from pipelines.data.videos import pair_with_files
from pipelines.shared.console import log
from pipelines.train.data import RunData, load_data, planned_videos
from pipelines.train.findings import Findings
from pipelines.train.hosts.holdings import Holdings
from pipelines.train.measure import measure_video
from pipelines.train.preflight.actions import check_actions, check_pairs
from pipelines.train.preflight.output import check_disk, check_output, extraction_needs, run_needs
from pipelines.train.preflight.short_actions import check_lengths
from pipelines.train.preflight.videos import check_files, check_fit, check_scores
from pipelines.train.preflight.windows import check_windows, try_windows
from pipelines.train.setup import build_network, require_device, require_shares
from pipelines.train.stores import check_spec, require_store, rows_path
from tal.encoders import Encoder, build_encoder
from tal.errors import CheckpointError
from tal.inference.model_folder import read_model
from tal.memory.network import MemoryNetwork
from tal.metrics.evaluate import check_thresholds
from tal.video import require_reader


@dataclass(frozen=True)
class Ready:
    """What was read and found good before a run.

    Attributes
    ----------
    annotations
        of the run.
    encoder
        with the weights that it begins with; None: the run has none, or it is yet to be built.
    data
        None: the rows are yet to be extracted (`with_rows`), or nothing but the annotations was looked at.
    """

    annotations: RunAnnotations
    encoder: Encoder | None
    data: RunData | None


def make_ready(
    config: RunConfig,
    out: Path,
    begun: bool = False,
    extracting: bool = False,
    annotations: RunAnnotations | None = None,
    holdings: Holdings | None = None,
) -> Ready:
    """Look at everything that a run needs.

    Parameters
    ----------
    out
        the run's folder.
    begun
        the run goes on: its own memory stands in for the store, and a fault that keeps it from being
        measured is a warning, since the weights are worth a model all the same.
    extracting
        an extraction comes first: rows are judged by what the annotations say of the videos' lengths.
    annotations
        where they were read already.
    holdings
        what the hosts of the run hold together; None: there is one.

    Raises
    ------
    LongtalError
        what keeps the run from its first step: the error itself where there is one, a NotReadyError of all.
    """
    findings = Findings()
    check_output(out, findings)
    with findings.collected():
        require_device(config, _device(config))
    with findings.collected():
        require_shares(config, int(os.environ.get("WORLD_SIZE", "1")))
    with findings.collected():
        check_thresholds(config.train.val_tiou)
    with findings.collected():
        if config.data.videos:
            require_reader(config.data.reader)
    encoder = data = None
    with findings.collected():
        if config.encoder is not None:
            encoder = build_encoder(config.encoder, seed=config.train.seed)
    with findings.collected():
        annotations = annotations or read_run_annotations(config.data, config.learns_one_class)
        annotations = annotations.in_order_of(_first_labels(config, out, begun))
    if annotations is not None:
        for note in (*annotations.whole.notes, *annotations.notes):
            log.info("%s", note)
        check_actions(annotations, findings, begun)
        if extracting:
            _check_plan(config, annotations, encoder, out, findings)
        else:
            data = _check_rows(config, annotations, encoder, out, begun, findings, holdings)
    findings.settle()
    assert annotations is not None and (data is not None or extracting)
    # an encoder that waits for the end of an extraction would hold memory that this one needs
    return Ready(annotations, None if extracting else encoder, data)


def _first_labels(config: RunConfig, out: Path, begun: bool) -> tuple[str, ...]:
    """Classes that have their places already: those of the run, or of the one that it starts from."""
    if begun and (out / "labels.json").is_file():
        labels = read_json(out / "labels.json", CheckpointError)
        return tuple(map(str, labels)) if isinstance(labels, list) else ()
    return read_model(config.train.start_from).labels if config.train.start_from else ()


def with_rows(ready: Ready, config: RunConfig, out: Path) -> Ready:
    """What was made ready before an extraction, with the rows that it made.

    Raises
    ------
    LongtalError
        as `make_ready`.
    """
    findings = Findings()
    encoder = build_encoder(config.encoder, seed=config.train.seed) if config.encoder is not None else None
    data = None
    with findings.collected():
        data = _pair(config, ready.annotations, encoder, rows_path(config, out, begun=False), findings)
        check_windows(config, data.train, encoder, findings)
        check_pairs(data, findings)
    findings.settle()
    assert data is not None
    return replace(ready, encoder=encoder, data=data)


def _check_rows(
    config: RunConfig,
    annotations: RunAnnotations,
    encoder: Encoder | None,
    out: Path,
    begun: bool,
    findings: Findings,
    holdings: Holdings | None,
) -> RunData | None:
    """Everything about videos and rows that are there."""
    data, path = None, rows_path(config, out, begun)
    with findings.collected():
        require_store(config)
        data = _pair(config, annotations, encoder, path, findings, holdings)
    if data is None:
        return None
    check_pairs(data, findings, begun)
    check_windows(config, data.train, encoder, findings)
    check_scores(config, [v.id for v in data.validation] if data.ground_truth else [], data.labels, findings)
    with findings.collected(), FeatureStore.open(path) if path else nullcontext() as store:
        channels = store.spec.channels if store is not None else encoder.channels if encoder else 0
        network = _network(config, len(data.labels), channels, encoder)
        check_lengths(config, data.train, data.labels, network.localizer, findings)
        try_windows(config, network, channels, data.train)
        check_disk(run_needs(config, out, network, store, begun), findings)
    return data


def _check_plan(
    config: RunConfig, annotations: RunAnnotations, encoder: Encoder | None, out: Path, findings: Findings
) -> None:
    """Everything about videos whose rows are yet to be extracted."""
    subsets = {"training": annotations.train}
    if annotations.validation is not None:
        subsets["validation"] = annotations.validation
    files: Mapping[str, Path] | None = None
    with findings.collected():
        files = pair_with_files(Path(config.data.videos), annotations.whole).by_annotation
    if files is not None:
        for kind, subset in subsets.items():
            check_files(kind, subset, files, config, findings)
    labels = annotations.whole.labels
    if encoder is None or not labels:
        return
    planned = planned_videos(annotations.whole, encoder.grid, config.data)
    train = [video for video in planned if video.id in subsets["training"].videos]
    check_windows(config, train, encoder, findings)
    measured = list(annotations.validation.videos) if annotations.validation is not None else []
    check_scores(config, measured, labels, findings)
    with findings.collected():
        network = _network(config, len(labels), encoder.channels, encoder)
        check_lengths(config, train, labels, network.localizer, findings)
        try_windows(config, network, encoder.channels, train)
        needs = extraction_needs(config, planned, encoder.channels, out)
        check_disk([*needs, *run_needs(config, out, network, None, begun=False)], findings)


def _pair(
    config: RunConfig,
    annotations: RunAnnotations,
    encoder: Encoder | None,
    path: Path | None,
    findings: Findings,
    holdings: Holdings | None = None,
) -> RunData:
    """Videos with their rows; the store against the encoder, and its rows against the videos."""
    measure = measure_video(config)
    if path is None:
        return load_data(config.data, annotations, None, measure)
    with FeatureStore.open(path) as store:
        if encoder is not None:
            with findings.collected():
                check_spec(config, encoder, store)
        if holdings is not None:
            everywhere = config.data.model_copy(update={"store": "any host's store"})  # for messages
            data = load_data(everywhere, annotations, holdings.rows, measure, holdings.files)
        else:
            data = load_data(config.data, annotations, store, measure)
        check_fit(annotations, data, store, findings)
    return data


def _device(config: RunConfig) -> str:
    """The device that accelerate will choose."""
    if config.train.device == "cpu":
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _network(config: RunConfig, num_classes: int, channels: int, encoder: Encoder | None) -> MemoryNetwork:
    """The run's network, as random as it begins."""
    network = build_network(config, num_classes, channels, encoder)
    return network.eval()
