"""The detector's part of a prediction, as an actor does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.actors import Actors, Message
from pipelines.actors.cluster import connected
from pipelines.actors.loop import run_on_actors
from pipelines.actors.work import Round
from pipelines.shared.malloc import keep_freed_buffers
from tal.errors import VideoError
from tal.inference.detector import Detector
from tal.inference.videos import VideoResult
from tal.video.pool import DecodePool, DecodeTask


@dataclass(frozen=True)
class DetectVideos:
    """What an actor needs to find what this process would find; `pipelines.actors.Work`.

    Attributes
    ----------
    model
        its folder.
    device, precision
        as in `Detector.load`.
    workers
        decoding processes.
    threads
        of torch: sums in another order round differently.
    video_ids
        of all videos, for a model with video-level class scores.
    """

    model: Path
    device: str
    precision: str
    workers: int
    threads: int
    video_ids: tuple[str, ...]

    @property
    def at_once(self) -> int:
        return max(1, self.workers)

    @contextmanager
    def open(self) -> Iterator[Round]:
        torch.set_num_threads(self.threads)
        detector, _ = Detector.load(self.model, self.device, self.precision).for_videos(self.video_ids)
        if detector.device.type == "cpu":
            keep_freed_buffers()
        clips = detector.clip_encoder()
        with DecodePool(clips.encoder.clip_shape, self.workers) as pool:

            def detect(tasks: Iterator[DecodeTask]) -> Iterator[Message]:
                for result in detector.predict_decoded(clips, pool.decode(tasks)):
                    yield Message(result.id, result, last=True)

            yield detect

    def failure(self, task: DecodeTask, reason: str) -> VideoResult:
        return VideoResult(task.key, None, VideoError(reason))


def predict_on_actors(
    detector: Detector, videos: Mapping[str, Path], actors: Actors, device: str
) -> Iterator[VideoResult]:
    """What `Detector.predict_videos` gives, found by actors that load the detector's folder.

    Parameters
    ----------
    device
        of the actors; the detector here may be on any.

    Raises
    ------
    CheckpointError
        the model has no encoder.
    """
    detector.require_encoder()
    with connected(actors, device) as cluster:
        work = DetectVideos(
            model=detector.folder.path,
            device=device,
            precision=detector.precision,
            workers=cluster.decoders if cluster.gpus else 0,
            threads=torch.get_num_threads(),
            video_ids=tuple(videos) if detector.video_scores is not None else (),
        )
        tasks: Iterable[DecodeTask] = (detector.decode_task(name, path) for name, path in videos.items())
        with closing(run_on_actors(cluster, work, tasks)) as results:
            yield from results
