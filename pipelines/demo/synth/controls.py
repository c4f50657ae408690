"""Two controls that remove what a model should learn from: permuted labels, and frames in a random order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from tal.annotations import AnnotationSet, Segment
from tal.errors import VideoError
from tal.video.writer import VideoWriter


def shuffle_labels(annotations: AnnotationSet, subset: str, seed: int = 0) -> AnnotationSet:
    """The same segments with the labels of one subset permuted among them; other subsets stay as they are.

    A model trained on it can find where something happens but not what: its mAP must fall to chance.
    """
    chosen = annotations.subset(subset).videos
    labels = [s.label for v in chosen.values() for s in v.segments]
    dealt = iter(np.random.default_rng(seed).permutation(len(labels)))
    videos = dict(annotations.videos)
    for name, video in chosen.items():
        segments = tuple(Segment(s.start_s, s.end_s, labels[next(dealt)]) for s in video.segments)
        videos[name] = replace(video, segments=segments)
    return replace(annotations, videos=videos)


def shuffle_frames(source: str | Path, target: str | Path, seed: int = 0) -> int:
    """Write the video with its pictures in a random order, at the same rate; returns their number.

    Every picture is still there, movement is not. All pictures are held in memory: for short videos.

    Raises
    ------
    VideoError
        the source cannot be decoded or the target not be written.
    """
    try:
        with av.open(str(source)) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or 25)
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except (OSError, av.FFmpegError, IndexError) as error:
        raise VideoError(f"{source} cannot be decoded: {error}") from error
    with VideoWriter(Path(target), fps, gop=15) as writer:
        for i in np.random.default_rng(seed).permutation(len(pictures)):
            writer.add(pictures[i])
    return len(pictures)
