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
