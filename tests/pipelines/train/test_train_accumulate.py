"""Micro-batches: the same steps as without them."""

import pytest

from pipelines.config import parse_config
from pipelines.train import train
from pipelines.train.run_log import read_log
from tal.errors import ConfigError
from tests.pipelines.tiny_run import tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"embed_dim": 16, "head_dim": 16, "levels": 3}
ANCHORS = {"channels": 16, "num_heads": 2, "mlp_channels": 32, "fpn_channels": 16, "num_levels": 3}
# without random numbers: a batch draws others than its parts
DECODERS = {
    "actionformer": {"name": "actionformer", **TINY, "heads": 2, "window": 5, "drop_path": 0.0},
    "temporalmaxer-ota": {"name": "temporalmaxer", **TINY, "drop_path": 0.0, "assignment": "sim_ota"},
    "daotad": {"name": "daotad", **ANCHORS, "dropout": 0.0},
    "afsd": {
        "name": "afsd",
        "labels": "segment",
        "channels": 32,
        "upsample": 2,
        "regression_ranges": ((0, 8), (4, 10000)),
    },
}


@pytest.mark.parametrize(
    "name",
    ["actionformer", *(pytest.param(name, marks=pytest.mark.slow) for name in ("daotad", "afsd"))],
)
def test_micro_batches_take_the_steps_of_whole_batches(data, tmp_path, name):
    logs = []
    for parts in (1, 2):
        config = tiny_config(
            data,
            data={"val_subset": ""},
            memory={"ratio": 0.25},
            localizer={"row_loss": 0.5, "decoder": DECODERS[name]},
            train={"batch_size": 4, "accumulate": parts},
        )
        train(config, tmp_path / str(parts))
        logs.append(read_log(tmp_path / str(parts), "step"))
    assert len(logs[0]) == len(logs[1]) > 2
    for one, two in zip(*logs, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=2e-4)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=2e-3)
        assert two["fresh_rows"] == one["fresh_rows"] and two["stored_rows"] == one["stored_rows"]


@pytest.mark.parametrize(
    ("decoder", "setting"),
    [(DECODERS["temporalmaxer-ota"], "sim_ota"), ({"name": "tridet", "regression_weight": 0}, "weight 0")],
    ids=["sim_ota", "balanced"],
)
def test_losses_of_whole_batches_are_refused_at_once(decoder, setting):
    with pytest.raises(ConfigError, match=f"{setting}.*train.accumulate to 1"):
        parse_config({"localizer": {"decoder": decoder}, "train": {"batch_size": 4, "accumulate": 2}})
    parse_config({"localizer": {"decoder": decoder}, "train": {"batch_size": 4}})
