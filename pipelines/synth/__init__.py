"""Synthetic untrimmed videos with annotations: articulated figures seen by a camera, made on the spot."""

from pipelines.synth.config import SynthConfig
from pipelines.synth.controls import shuffle_frames, shuffle_labels
from pipelines.synth.generate import SynthReport, synthesize

__all__ = ["SynthConfig", "SynthReport", "shuffle_frames", "shuffle_labels", "synthesize"]
