"""A training that dies at the begin of a step: `python -m benchmarks.gpu.killed CONFIG OUT STEP`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from pipelines.config import load_config
from pipelines.train import train
from pipelines.train.step import TrainStep


def main() -> None:
    config, out, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
    real = TrainStep.run

    def dying(self: TrainStep, number: int, *rest: Any) -> Any:
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, number, *rest)

    TrainStep.run = dying  # type: ignore[method-assign]
    train(load_config(config), out)


if __name__ == "__main__":
    main()
