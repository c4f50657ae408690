"""The end of a run through the memory: all rows anew, then the localizer alone learns on them.

While the encoder learns, most stored rows are those of older weights; the rows at inference are all of the
last. So a localizer that stops there has hardly seen what it is used on. Before the last
``memory.settle_epochs`` every training row is encoded once more, without gradient and augmentation, and from
there on the encoder rests: rows, weights and model agree.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipelines.shared.console import log, progress
from pipelines.train.encode import encode_whole

if TYPE_CHECKING:
    from pipelines.train.loop import Trainer


def settle(trainer: Trainer) -> None:
    """Write all rows of this process's training videos with the encoder that the run's model will have.

    That encoder is the averaged one, when an average is kept; the network's own becomes the same.
    Interrupted, it is done again from the epoch's begin.
    """
    assert trainer.memory is not None and trainer.network.encoder is not None
    start = time.perf_counter()
    if trainer.write_back is not None:
        trainer.write_back.drain()
    if trainer.average is not None:
        prefix = "encoder."
        averaged = {
            name.removeprefix(prefix): value
            for name, value in trainer.average.state.items()
            if name.startswith(prefix)
        }
        trainer.network.encoder.load_state_dict(averaged)
    trainer.network.encoder.eval()
    videos = trainer.sampler.windows.videos_of(trainer.sampler.slots)
    rows = 0
    with progress("videos") as bar:
        task = bar.add_task("rows of the memory anew", total=len(videos))
        for video in videos:
            fresh = encode_whole(trainer.network.encoder, video, trainer.accelerator.device)
            trainer.memory.write(video.id, 0, fresh, step=trainer.state.step)
            rows += len(fresh)
            bar.advance(task)
    trainer.accelerator.wait_for_everyone()
    seconds = time.perf_counter() - start
    trainer.log.write("settle", trainer.state.step, rows=rows, seconds=seconds)
    log.info("the encoder rests from here on; %d rows of the memory encoded anew in %.0f s", rows, seconds)
