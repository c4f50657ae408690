"""The table of encoders: channels, stride, parameters, cost of a clip."""

from __future__ import annotations

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from tal.encoders import EncoderEntry, list_encoders
from tal.encoders.build import create_encoder
from tal.encoders.config import EncoderConfig
from tal.encoders.registry import find_entry


def encoders_table(names: list[str] | None = None) -> pd.DataFrame:
    """One row per encoder, at the clip and picture size of its published weights.

    Nothing is computed: networks are built and counted without memory for their weights (torch's meta
    device). ``names``: any encoders, also timm models that are not listed; None: those that are.
    """
    entries = list(list_encoders())
    if names:
        entries = [find_entry(n) or EncoderEntry(n, 0, 1, 16, 256, 224, "ImageNet: hub, file") for n in names]
    return pd.DataFrame([_row(e) for e in entries])


def _row(entry: EncoderEntry) -> dict[str, object]:
    config = EncoderConfig(
        name=entry.name,
        clip_frames=entry.clip_frames,
        frame_stride=entry.frame_stride,
        size=entry.size,
        crop=entry.crop,
    )
    with torch.device("meta"):
        encoder = create_encoder(config).eval()
        clip = torch.empty(1, 3, entry.clip_frames, entry.crop, entry.crop)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(clip)
    return {
        "encoder": entry.name,
        "channels": encoder.channels,
        "stride": encoder.own_stride,
        "clip": f"{entry.clip_frames} x {entry.crop}²",
        "params (M)": round(sum(p.numel() for p in encoder.parameters()) / 1e6, 1),
        # a multiplication and an addition are two operations
        "GFLOPs a clip": round(counter.get_total_flops() / 1e9, 1),
        "weights": entry.weights,
        "licence": entry.licence,
        "note": entry.note,
    }
