"""How a row classifier scores segments that are known already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tal.encoders.streaming import row_buffer
from tal.errors import ConfigError
from tal.inference.videos import VideoRows
from tal.localizer import Localizer
from tal.localizer.row_classifier import segment_means


def row_scores(
    localizer: Localizer, video: VideoRows, segments_s: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean probability of each segment's label over its rows, float64 [N].

    Parameters
    ----------
    segments_s
        [N, 2] in seconds.
    labels
        [N], the classifier's classes.

    Raises
    ------
    ConfigError
        the localizer has no row classifier.
    """
    classifier = localizer.row_classifier
    if classifier is None:
        raise ConfigError("the localizer was trained without a row classifier (localizer.row_loss 0)")
    with row_buffer(len(video.rows), classifier.num_classes) as probabilities:
        classifier.probabilities(video.rows, probabilities)
        return segment_means(probabilities, video.grid.to_positions(segments_s), labels, video.valid)
