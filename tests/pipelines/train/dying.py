"""`longtal train` that kills itself and the agent that started it, at one point of one host: for tests.

    torchrun … tests/pipelines/train/dying.py HOST POINT STEP ARGUMENTS OF `longtal train`

POINT: `step` (step STEP begins), or of the first checkpoint at or after STEP: `prepare`, `prepared`,
`checkpoint`, `checkpointed` (the first host's alone), `commit`, `committed`.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from cli import cli
from featstore import FeatureStore
from pipelines.train import loop
from pipelines.train.loop import Trainer
from pipelines.train.step import TrainStep


def die() -> None:
    """The host is gone: nothing is closed, flushed or told to anybody."""
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def main(host: str, point: str, step: str, *arguments: str) -> None:
    if os.environ["GROUP_RANK"] == host:
        arrange(point, int(step))
    cli(["train", *arguments])


def arrange(point: str, step: int) -> None:
    """Let this process die at the point."""
    due = [False]  # a checkpoint at which it is to die has begun

    def around(owner: Any, name: str, before: str, after: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def dying(*args: Any, **options: Any) -> Any:
            if due[0] and point == before:
                die()
            result = real(*args, **options)
            if due[0] and point == after:
                die()
            return result

        setattr(owner, name, dying)

    def dying_step(self: TrainStep, number: int, *more: Any) -> Any:
        if point == "step" and number >= step:
            die()
        return run(self, number, *more)

    def due_checkpoint(self: Trainer, commit: bool = True) -> None:
        due[0] = commit and self.state.step >= step
        checkpoint(self, commit)

    run, checkpoint = TrainStep.run, Trainer.checkpoint
    TrainStep.run = dying_step  # type: ignore[method-assign]
    Trainer.checkpoint = due_checkpoint  # type: ignore[method-assign]
    around(FeatureStore, "prepare_commit", "prepare", "prepared")
    around(FeatureStore, "commit", "commit", "committed")
    around(loop, "save_checkpoint", "checkpoint", "checkpointed")


if __name__ == "__main__":
    main(*sys.argv[1:])
