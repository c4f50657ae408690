"""Training: `train(config, out)` makes a run folder, or goes on with one."""

from pipelines.train.run import TrainResult, saved_config, train

__all__ = ["TrainResult", "saved_config", "train"]
