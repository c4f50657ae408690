"""Synthetic untrimmed videos with annotations: articulated figures seen by a camera."""

from pipelines.demo.synth.config import SynthConfig
from pipelines.demo.synth.controls import shuffle_frames, shuffle_labels
from pipelines.demo.synth.generate import SynthReport, synthesize

__all__ = ["SynthConfig", "SynthReport", "shuffle_frames", "shuffle_labels", "synthesize"]
