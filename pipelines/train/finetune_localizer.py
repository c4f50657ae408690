"""The end of a run through the memory: all rows anew, then the localizer alone learns on them.

While the encoder learns, most stored rows are those of older weights; the rows at inference are all of the
last. So a localizer that stops there has hardly seen what it is used on. Before the last
``memory.finetune_localizer_epochs`` every training row is encoded once more, without gradient and
augmentation, and from there on the encoder rests: rows, weights and model agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

from accelerate import Accelerator
from torch import Tensor

from pipelines.config import RunConfig
from pipelines.shared.console import progress
from pipelines.train.encode import encode_training_videos
from tal.encoders import Encoder
from tal.memory.sampler import TrainingVideo
from tal.memory.store_reader import RowStore


def take_average(encoder: Encoder, average: Mapping[str, Tensor]) -> None:
    """Give an encoder its averaged weights; ``average`` is the state of a whole network (``encoder.*``)."""
    prefix = "encoder."
    encoder.load_state_dict(
        {name.removeprefix(prefix): value for name, value in average.items() if name.startswith(prefix)}
    )


def encode_memory(
    encoder: Encoder,
    store: RowStore,
    videos: Sequence[TrainingVideo],
    step: int,
    config: RunConfig,
    accelerator: Accelerator,
) -> int:
    """Write all rows of the videos as the encoder, put in evaluation mode, gives them now.

    Parameters
    ----------
    step
        optimizer steps done, which the store notes as the rows' origin.

    Returns
    -------
    int
        rows written. Interrupted, it has to be done again from the start.
    """
    count = 0
    with (
        progress("videos") as bar,
        closing(encode_training_videos(encoder, videos, config, accelerator)) as encoded,
    ):
        task = bar.add_task("rows of the memory anew", total=len(videos))
        for video in encoded:
            store.write(video.key, 0, video.rows, step=step)
            count += len(video.rows)
            bar.advance(task)
    return count
