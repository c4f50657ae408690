"""A run in several processes, each of which keeps the weights that it ended with: for tests.

    torchrun --nproc-per-node 2 tests/pipelines/train/each_rank.py CONFIG OUT KEPT

writes KEPT/0.safetensors, KEPT/1.safetensors. A run folder itself has the first process's alone.
"""

import os
import sys
from pathlib import Path

from safetensors.torch import save_file

from pipelines.config import load_config
from pipelines.train import train
from pipelines.train.loop import Trainer
from tal.shared.weights import contiguous


def main(config: str, out: str, kept: str) -> None:
    run = Trainer.run

    def run_and_keep(trainer: Trainer) -> object:
        state = run(trainer)
        weights = contiguous(trainer.network.state_dict())
        save_file(weights, Path(kept) / f"{os.environ['RANK']}.safetensors")
        return state

    Trainer.run = run_and_keep  # type: ignore[method-assign, assignment]
    train(load_config(config), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
