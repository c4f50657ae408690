"""The warning about actions that no position learns, with the rate that would do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipelines.config import RunConfig
from pipelines.train.findings import Findings
from pipelines.train.preflight.positions import Survey, Unlearnt, rate_factor, survey
from tal.localizer import Localizer
from tal.memory.sampler import TrainingVideo

_LISTED = 8


def check_lengths(
    config: RunConfig,
    videos: Sequence[TrainingVideo],
    labels: Sequence[str],
    localizer: Localizer,
    findings: Findings,
) -> None:
    """Warn of actions that the decoder cannot learn, class by class."""
    found = survey(videos, config.window, localizer, labels)
    if found.classes:
        findings.warn(_said(config, found, len(labels), localizer))
    if found.num_too_long:
        findings.warn(
            f"{found.num_too_long} training actions are learnt nowhere: no window of "
            f"{config.window.num_rows} rows shows {config.window.trunc_threshold:.0%} of them; raise "
            "window.num_rows, or lower window.trunc_threshold"
        )


def _said(config: RunConfig, found: Survey, num_classes: int, localizer: Localizer) -> str:
    whole = [u for u in found.classes if u.count == u.total]
    some = [u for u in found.classes if u.count < u.total]
    parts = []
    if whole:
        parts.append(f"{len(whole)} of {num_classes} classes CANNOT BE LEARNT: {_listed(whole)}")
    if some:
        parts.append(f"{'besides ' if whole else ''}{_listed(some)}")
    remedy = f". {_remedy(config, found, localizer)}" if found.videos else ""
    return f"training actions that no position of the decoder learns: {'; '.join(parts)}{remedy}"


def _listed(classes: Sequence[Unlearnt]) -> str:
    shown = [f"{u.count} of {u.total} {u.label!r} ({_why(u)})" for u in classes[:_LISTED]]
    if rest := classes[_LISTED:]:
        count, total = sum(u.count for u in rest), sum(u.total for u in rest)
        shown.append(f"{count} of {total} of {len(rest)} classes more")
    return ", ".join(shown)


def _why(unlearnt: Unlearnt) -> str:
    parts = []
    if unlearnt.short:
        parts.append(f"{unlearnt.short} too short, at most {unlearnt.longest_s:.2g} s")
    if unlearnt.hidden:
        parts.append(f"{unlearnt.hidden} behind shorter ones at the same place")
    return ", ".join(parts)


def _remedy(config: RunConfig, found: Survey, localizer: Localizer) -> str:
    """Which rate of rows would do, in the words of the configuration."""
    row_s = float(np.median([video.grid.step_s for video in found.videos]))
    step = localizer.downsample * localizer.decoder.finest_stride
    apart = f"Positions that learn are {row_s * step:.2g} s apart"
    factor = rate_factor(found, config.window, localizer)
    if factor is None:
        return f"{apart}; no rate up to five times what their lengths ask for would do"
    text = (
        f"{apart}; a row every {row_s / factor:.2g} s (now {row_s:.2g} s) would give nine in ten of them one"
    )
    if step > 1:
        text += f", as would fewer rows a position (now {step}: localizer.downsample, first_level)"
    if config.encoder is None:
        return f"{text}: import features of a smaller stride"
    fps = math.ceil(config.data.fps * factor)
    capped = " with data.max_frames that allows it" if config.data.max_frames else ""
    return (
        f"{text}: data.fps={fps}{capped} (now {config.data.fps:g}), or a smaller encoder.frame_stride (now "
        f"{config.encoder.frame_stride}); then extract anew"
    )
