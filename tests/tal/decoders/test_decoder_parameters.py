"""Numbers of parameters as published: millions of encoder and whole decoder, from the presets."""

import pytest

from pipelines.config import load_config
from tal.decoders import build_decoder

# preset, channels, classes, encoder, total (CLTDR-GMG's released code instantiated; the papers' tables)
COUNTS = [
    ("thumos14-i3d-actionformer", 2048, 20, 26.06, 29.3),
    ("thumos14-i3d-temporalmaxer", 2048, 20, 3.93, 7.1),
    ("thumos14-i3d-tridet", 2048, 20, 9.54, 16.0),
    ("thumos14-i3d-cltdr", 2048, 20, 9.51, 21.9),
    ("thumos14-internvideo2-cltdr", 3200, 20, 11.28, 23.7),
    ("thumos14-videomaev2-cltdr", 1408, 20, 8.53, 20.9),
    ("activitynet-tsp-cltdr", 512, 1, 8.0, 15.0),
    ("epic-verb-cltdr", 2304, 97, 9.9, 23.3),
    ("epic-noun-cltdr", 2304, 300, 11.75, 27.9),
    ("multithumos-i3d-rgb-cltdr", 1024, 65, 7.9, 20.9),
    ("hacs-i3d-cltdr", 2048, 200, 26.5, 84.4),
    ("hacs-slowfast-cltdr", 2304, 200, 27.2, 85.1),
]


@pytest.mark.parametrize(("preset", "channels", "classes", "encoder", "total"), COUNTS, ids=lambda v: str(v))
def test_parameter_counts(preset, channels, classes, encoder, total):
    import torch

    config = load_config(f"cltdr/{preset}").localizer.decoder
    with torch.device("meta"):
        decoder = build_decoder(config, channels, classes)

    def millions(module):
        return sum(p.numel() for p in module.parameters()) / 1e6

    assert millions(decoder.backbone) == pytest.approx(encoder, abs=0.051)
    assert millions(decoder) == pytest.approx(total, abs=0.051)


# Tables 1-5 of CLTDR-GMG, rows of the four methods: (data set and features, table) -> method: average mAP
ROWS = {
    ("thumos14-i3d", 1): {"actionformer": 66.8, "temporalmaxer": 67.7, "tridet": 69.3, "cltdr": 69.9},
    ("thumos14-videomaev2", 1): {"actionformer": 69.6, "tridet": 70.1, "cltdr": 71.8},
    ("thumos14-internvideo2", 1): {
        "actionformer": 71.9,
        "temporalmaxer": 72.5,
        "tridet": 73.0,
        "cltdr": 74.3,
    },
    ("multithumos-i3d-rgb", 2): {"actionformer": 28.6, "temporalmaxer": 29.9, "tridet": 30.7, "cltdr": 37.1},
    ("multithumos-i3d", 2): {"tridet": 36.2, "cltdr": 42.7},
    ("multithumos-videomaev2", 2): {"tridet": 37.5, "cltdr": 44.9},
    ("epic-verb", 3): {"actionformer": 23.5, "temporalmaxer": 24.5, "tridet": 25.4, "cltdr": 26.0},
    ("epic-noun", 3): {"actionformer": 21.9, "temporalmaxer": 22.8, "tridet": 23.8, "cltdr": 24.5},
    ("activitynet-tsp", 4): {"actionformer": 36.6, "tridet": 36.8, "cltdr": 37.1},
    ("hacs-i3d", 5): {"tridet": 36.8, "cltdr": 37.2},
    ("hacs-slowfast", 5): {"tridet": 38.6, "cltdr": 39.3},
}
NAMES = {"cltdr": "cltdr_gmg"}


@pytest.mark.parametrize(
    ("place", "methods"), ROWS.items(), ids=lambda v: v[0] if isinstance(v, tuple) else ""
)
def test_every_row_of_the_tables_has_a_preset_that_builds(place, methods):
    import torch

    data, table = place
    for method, published in methods.items():
        config = load_config(f"cltdr/{data}-{method}")
        decoder = config.localizer.decoder
        assert decoder.name == NAMES.get(method, method) and decoder.masking == "release"
        assert f"Table {table}: {published} average mAP" in config.description
        with torch.device("meta"):
            build_decoder(decoder, 512, 3)
    ours = load_config(f"cltdr/{data}-cltdr-longtal").localizer.decoder
    assert ours.name == "cltdr_gmg" and ours.strict


# Released configurations of CLTDR-GMG: positions, levels, window, width, heads' width, hidden width, kernels
# of heads and boundaries, bins, IoU power, noise, sd of convolutions, position codes
MODELS = {
    "thumos14-i3d": (2304, 6, 1, 512, 512, 768, 3, 3, 16, 0.2, 0.05, 0, False),
    "thumos14-videomaev2": (2304, 6, 1, 512, 512, 768, 3, 3, 16, 0.2, 0.0005, 0, False),
    "thumos14-internvideo2": (2304, 6, 1, 512, 512, 768, 3, 3, 16, 0.25, 0.0005, 0, False),
    "multithumos-i3d-rgb": (2304, 6, 1, 512, 512, 768, 3, 3, 16, 0.2, 0.0005, 0, False),
    "multithumos-i3d": (2304, 6, 1, 512, 512, 1024, 3, 3, 16, 0.2, 0.0005, 0, False),
    "multithumos-videomaev2": (2304, 6, 1, 512, 512, 1024, 3, 3, 16, 0.25, 0.05, 0, False),
    "epic-verb": (2304, 6, 5, 512, 512, 768, 3, 3, 16, 0.25, 0.0003, 0, False),
    "epic-noun": (2304, 6, 5, 512, 512, 1024, 3, 3, 16, 0.25, 0.0001, 0, False),
    "activitynet-tsp": (768, 6, 15, 256, 512, 2048, 3, 3, 12, 1, 0.5, 0.2, True),
    "hacs-i3d": (512, 7, 15, 1024, 1024, 1024, 5, 1, 12, 1, 0, 0.1, True),
    "hacs-slowfast": (960, 7, 3, 1024, 1024, 1024, 5, 1, 14, 1, 0.2, 0.1, True),
}
# lr, lowest lr, decay, warm-up and all epochs, first normaliser, clipping, smoothing, top-k, segments, sigma,
# classes apart, voting, shortest
RUNS = {
    "thumos14-i3d": (1e-4, 1e-8, 0.035, 20, 40, 100, 1, 0, 2000, 2000, 0.5, True, 0.7, 0.05),
    "thumos14-videomaev2": (1e-4, 1e-8, 0.055, 30, 62, 100, 1, 0, 2000, 2000, 0.5, True, 0.7, 0.05),
    "thumos14-internvideo2": (1e-4, 1e-8, 0.05, 32, 57, 100, 1, 0, 2000, 2000, 0.5, True, 0.7, 0.05),
    "multithumos-i3d-rgb": (1.5e-4, 1e-8, 0.03, 25, 60, 100, 1, 0, 8000, 8000, 0.5, True, 0.7, 0.05),
    "multithumos-i3d": (1.5e-4, 1e-8, 0.03, 25, 60, 100, 1, 0, 8000, 8000, 0.5, True, 0.7, 0.05),
    "multithumos-videomaev2": (1.5e-4, 1e-8, 0.03, 25, 60, 100, 1, 0, 2000, 2000, 0.5, True, 0.7, 0.05),
    "epic-verb": (1e-4, 5e-5, 0.04, 16, 28, 250, 1, 0, 5000, 2000, 0.4, True, 0.7, 0.05),
    "epic-noun": (1e-4, 5e-5, 0.05, 10, 25, 250, 1, 0, 5000, 2000, 0.4, True, 0.7, 0.05),
    "activitynet-tsp": (1e-3, 2e-5, 0.045, 10, 15, 400, 0.4, 0.1, 2000, 200, 0.7, False, 0.95, 0.1),
    "hacs-i3d": (1e-3, 1e-4, 0.03, 12, 17, 400, 1, 0.1, 2000, 250, 0.75, True, 0.95, 0.05),
    "hacs-slowfast": (1e-3, 2e-4, 0.03, 10, 15, 400, 0.5, 0.1, 2000, 250, 0.75, True, 0.95, 0.05),
}


@pytest.mark.parametrize("name", MODELS)
def test_presets_have_the_released_values(name):
    config = load_config(f"cltdr/{name}-cltdr")
    d, window, levels = config.localizer.decoder, config.window, config.localizer.decoder.levels
    assert window.num_rows == d.max_positions == config.inference.window_rows
    kernels = (d.head_kernel, d.boundary_kernel)
    values = (d.max_positions, levels, d.window, d.embed_dim, d.head_dim, d.mlp_dim, *kernels, d.num_bins)
    assert values == MODELS[name][:9]
    values = (d.iou_weight_power, d.input_noise, d.conv_init, d.absolute_position)
    assert values == MODELS[name][9:]
    # a threshold of voting has an effect only where all labels compete
    optim, train, after = config.optim, config.train, config.inference.suppression
    epochs = (optim.warmup_epochs, train.epochs)
    values = (optim.lr, optim.lr * optim.min_lr_factor, optim.weight_decay, *epochs, d.initial_normaliser)
    assert values == pytest.approx(RUNS[name][:6], rel=1e-4)
    values = (optim.clip_norm, d.label_smoothing, d.topk_per_level, after.max_segments, after.sigma)
    assert values == pytest.approx(RUNS[name][6:11])
    multiclass, voting, shortest = RUNS[name][11:]
    assert (after.multiclass, d.min_duration) == (multiclass, shortest)
    assert multiclass or after.voting_threshold == voting
    assert window.trunc_threshold == (0.3 if name.startswith("epic") else 0.5)
    assert train.batch_size == (16 if name.startswith(("activitynet", "hacs")) else 2)
