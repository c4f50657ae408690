"""Video-level class scores from elsewhere, to name segments that a localizer only found to be actions.

The way of most published ActivityNet results: segments from the localizer, classes from a separate
classifier of whole videos.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from tal.annotations.builder import first_ids
from tal.annotations.files import load_json
from tal.annotations.ids import IdIndex
from tal.annotations.labels import clean_label
from tal.errors import AnnotationError
from tal.suppression import FusionRule, fuse_video_scores


class VideoScores:
    """Class scores in [0, 1] of videos, float64 [num_labels] each, in the order of a run's labels."""

    def __init__(self, scores: Mapping[str, NDArray[np.float64]], source: str = "video scores") -> None:
        self.scores, self.source = scores, source
        self._index = IdIndex(scores)

    @classmethod
    def read(cls, path: str | Path, labels: Sequence[str]) -> VideoScores:
        """Read JSON, with the scores of each video in the order of ``labels``.

        The file holds ``{"results": {video: {label: score}}}``, or lists of scores beside a list ``"class"``
        of labels (the form in which the CUHK classifier's scores are passed around); without ``results`` the
        whole object is taken.

        Raises
        ------
        AnnotationError
            no such file, another form, a key or a label twice, a score that is not a number in [0, 1], or
            none of the run's labels.
        """
        tree = load_json(Path(path))
        if not isinstance(tree, dict):
            raise AnnotationError(f"{path}: video scores are an object {{video: {{label: score}}}}")
        names = tree.get("class")
        table = tree.get("results", tree)
        if not isinstance(table, dict):
            raise AnnotationError(f'{path}: "results" must be an object {{video: {{label: score}}}}')
        index = {label: number for number, label in enumerate(labels)}
        scores = {
            str(video): _in_order(value, names, index, f"{path}, video {video!r:.80}")
            for video, value in table.items()
        }
        return cls(scores, str(path))

    def for_videos(self, video_ids: Iterable[str]) -> tuple[VideoScores, list[str]]:
        """The scores under the ids of these videos, and notes on ids that are written otherwise here."""
        matches = self._index.match(video_ids)
        scores = {video_id: self.scores[here] for video_id, here in matches.pairs.items()}
        return VideoScores(scores, self.source), matches.notes("video id")

    def name(self, detections: pd.DataFrame, video_id: str, top: int, rule: FusionRule) -> pd.DataFrame:
        """Each segment once for each of the video's ``top`` best classes, best first.

        ``detections`` has columns start_s, end_s, label_index, score (`tal.inference.localize`), as has the
        result. ``rule``: score × class score (TALLFormer, AFSD), or its square root (ActionFormer's family).

        Raises
        ------
        AnnotationError
            there are no scores for the video, or it could mean several.
        """
        matches = self._index.match([video_id])
        if video_id not in matches.pairs:
            why = f"it has {first_ids(list(self.scores)) or 'none at all'}"
            if video_id in matches.unclear:
                why = f"the id {matches.unclear[video_id]}"
            raise AnnotationError(f"{self.source} has no scores for video {video_id!r}: {why}")
        values = self.scores[matches.pairs[video_id]]
        segments, fused, labels = fuse_video_scores(
            torch.from_numpy(detections[["start_s", "end_s"]].to_numpy(dtype=np.float64, copy=True)),
            torch.from_numpy(detections["score"].to_numpy(dtype=np.float64, copy=True)),
            torch.from_numpy(values),
            top,
            rule,
        )
        named = pd.DataFrame(
            {
                "start_s": segments[:, 0].numpy(),
                "end_s": segments[:, 1].numpy(),
                "label_index": labels.numpy(),
                "score": fused.numpy(),
            }
        )
        return named.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _in_order(value: Any, names: Any, index: Mapping[str, int], where: str) -> NDArray[np.float64]:
    """Scores of one video by label index; labels unknown to the run are left out, missing ones are 0."""
    scores = _by_label(value, names, where)
    ordered = np.zeros(len(index))
    own = [label for label in scores if label in index]
    if not own:
        raise AnnotationError(
            f"{where}: none of the labels {first_ids(list(scores))} is one of the run's, "
            f"{first_ids(list(index))}"
        )
    for label in own:
        score = scores[label]
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise AnnotationError(f"{where}: the score of {label!r} is {score!r}, not a number from 0 to 1")
        ordered[index[label]] = score
    return ordered


def _by_label(value: Any, names: Any, where: str) -> dict[str, Any]:
    """Label -> score, labels without blanks around them; one label must not have two scores."""
    if isinstance(value, list) and isinstance(names, list) and len(value) == len(names):
        pairs = list(zip(map(str, names), value, strict=True))
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise AnnotationError(
            f'{where}: write {{label: score}}, or a list of scores as long as the list "class" of the file'
        )
    scores: dict[str, Any] = {}
    for label, score in pairs:
        if clean_label(label) in scores:
            raise AnnotationError(f"{where}: label {clean_label(label)!r} is there twice")
        scores[clean_label(label)] = score
    return scores
