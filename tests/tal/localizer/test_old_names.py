"""States that version 0.1 saved load into today's modules."""

import pytest
import torch

from tal.decoders.temporalmaxer import TemporalMaxerConfig
from tal.localizer import Localizer, LocalizerConfig
from tal.localizer.old_names import with_new_names

# a parameter of each module under the name of 0.1, and today's
NAMES = {
    "localizer.neck.convs.0.weight": "localizer.downsampling.convs.0.weight",
    "localizer.rows.linear.bias": "localizer.row_classifier.linear.bias",
    "localizer.decoder.neck.norms.0.weight": "localizer.decoder.neck.norms.0.weight",
    "localizer.decoder.loss_normaliser": "localizer.decoder.loss_normaliser",
    "encoder.model.neck.weight": "encoder.model.neck.weight",
}


def test_a_whole_state_of_the_old_names_loads_strictly():
    decoder = TemporalMaxerConfig(embed_dim=8, head_dim=8, levels=2, max_positions=16)
    config = LocalizerConfig(downsample=2, width=8, row_loss=0.5, decoder=decoder)
    torch.manual_seed(0)
    saved = Localizer(config, 4, 3)
    torch.manual_seed(1)
    loaded = Localizer(config, 4, 3)
    old_state = {}
    for name, value in saved.state_dict().items():
        module, rest = name.split(".", 1)
        old = {"downsampling": "neck", "row_classifier": "rows"}.get(module, module)
        old_state[f"localizer.{old}.{rest}"] = value
    assert {n.split(".")[1] for n in old_state} == {"neck", "rows", "decoder"}
    state = {n.removeprefix("localizer."): v for n, v in with_new_names(old_state).items()}
    loaded.load_state_dict(state, strict=True)
    for (name, value), other in zip(saved.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize(("old", "new"), NAMES.items())
def test_only_what_was_renamed_changes(old, new):
    value = torch.zeros(1)
    assert list(with_new_names({old: value})) == [new] == list(with_new_names({new: value}))
