"""Whether the videos have files, rows that are theirs, and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.data.run_annotations import RunAnnotations
from pipelines.data.stored_fit import check_stored
from pipelines.shared.console import log
from pipelines.train.data import RunData, shortened
from pipelines.train.findings import Findings
from tal.annotations import AnnotationSet
from tal.errors import AnnotationError, ConfigError, VideoError


def check_files(
    kind: str, subset: AnnotationSet, files: Mapping[str, Path], config: RunConfig, findings: Findings
) -> None:
    missing = [name for name in subset.videos if name not in files]
    if missing and len(missing) == len(subset):
        with findings.collected():
            raise VideoError(
                f"{config.data.videos} holds none of the {len(missing)} {kind} videos of "
                f"{config.data.annotations} ({shortened(missing)})"
            )
    if missing:
        findings.warn(
            f"{len(missing)} of {len(subset)} {kind} videos have no file in {config.data.videos}: "
            f"{shortened(missing)}"
        )


def check_fit(annotations: RunAnnotations, data: RunData, store: FeatureStore, findings: Findings) -> None:
    """Imported rows end where their videos do. (Those of an extraction were made from the files.)"""
    if not store.spec.imported:
        return
    here = set(store.video_ids)  # others are those of other hosts
    videos = [video for video in (*data.train, *data.validation) if video.id in here]
    said = {v.id: v.duration_s for v in annotations.whole.videos.values() if v.duration_s}
    durations = {theirs: said.get(ours) for ours, theirs in data.ids.items()}
    fit, left_out = check_stored(store, [video.id for video in videos], durations)
    if left_out:
        log.info("%s", left_out)
    if fit.error:
        with findings.collected():
            raise ConfigError(
                f"{store.path}: the rows do not fit their videos: {fit.error}; import the features again"
            )
    if fit.warning:
        findings.warn(f"{store.path}: rows that do not fit their video: {fit.warning}")


def check_scores(config: RunConfig, ids: Sequence[str], labels: Sequence[str], findings: Findings) -> None:
    """Video-level scores can be read, and there are some for every validation video."""
    with findings.collected():
        scores = config.inference.read_video_scores(labels, config.localizer.one_class)
        if scores is None or not ids:
            return
        known, _ = scores.for_videos(ids)
        if missing := [video_id for video_id in ids if video_id not in known.scores]:
            raise AnnotationError(
                f"{scores.source} has no scores for {len(missing)} of {len(ids)} validation videos "
                f"({shortened(missing)}): give a file that has them (inference.video_scores), or measure "
                "nothing, --set data.val_subset="
            )
