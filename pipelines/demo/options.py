"""What decides a demo's result."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.demo.synth import SynthConfig

# The new video's seed lies far from the data set's: another person, another room.
_NEW_SEED = 1_000_003


@dataclass(frozen=True)
class DemoOptions:
    """Settings that decide a demo's result. ``sets`` change the preset: ``("train.epochs=2",)``.

    ``shuffled_labels`` is a control, in which the labels of the training segments are permuted: mAP must
    fall to chance.
    """

    seed: int = 0
    videos: int = 88
    test_share: float = 0.36  # many held-out segments, so that chance is low and mAP is steady
    seconds: float = 24.0
    videos_per_person: int = 1
    size: int = 128
    fps: float = 15.0
    new_seconds: float = 30.0
    sets: tuple[str, ...] = ()
    shuffled_labels: bool = False

    @property
    def data(self) -> SynthConfig:
        return SynthConfig(
            videos=self.videos,
            seconds=self.seconds,
            size=self.size,
            fps=self.fps,
            seed=self.seed,
            videos_per_person=self.videos_per_person,
            test_share=self.test_share,
        )

    @property
    def new(self) -> SynthConfig:
        return self.data.model_copy(
            update={"videos": 1, "seconds": self.new_seconds, "seed": self.seed + _NEW_SEED}
        )
