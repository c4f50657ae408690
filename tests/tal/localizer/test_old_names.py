"""States that version 0.1 saved load into today's modules."""

import pytest
import torch

from tal.decoders.temporalmaxer import TemporalMaxerConfig
from tal.decoders.tridet import TriDetConfig
from tal.decoders.tridet.block import SGPBlock
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


def test_a_gate_of_one_position_computes_the_same_as_one_of_the_window():
    """TriDet with windows above 1, whose gate in 0.1 saw a position alone."""
    decoder = TriDetConfig(embed_dim=8, head_dim=8, levels=2, window=(3, 5), max_positions=16)
    localizer = Localizer(LocalizerConfig(decoder=decoder), 8, 3).eval()
    blocks = [m for m in localizer.modules() if isinstance(m, SGPBlock) and m.narrow.kernel_size[0] > 1]
    assert len(blocks) == 1  # of the second level; the first's are the stem's
    state, x = localizer.state_dict(), torch.randn(2, 8, 16)
    (name,) = [n for n, v in state.items() if n.endswith(".window_gate.weight") and v.shape[2] > 1]
    pointwise = torch.randn(8, 1, 1)
    old = {f"localizer.{n}": pointwise if n == name else v for n, v in state.items()}
    loaded = {n.removeprefix("localizer."): v for n, v in with_new_names(old).items()}
    localizer.load_state_dict(loaded, strict=True)
    gate = blocks[0].window_gate
    expected = torch.nn.functional.conv1d(x, pointwise, gate.bias, groups=8)
    torch.testing.assert_close(gate(x), expected)
    assert with_new_names(old).keys() == old.keys()
