"""Windows of many lengths stay compiled."""

import functools

import pytest
import torch

from pipelines.train.setup import compile_localizer
from tal.localizer import Localizer
from tests.pipelines.train.test_host_waits import config_of

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_length_is_compiled(monkeypatch):
    """torch's own limit is eight shapes; graphs of one shape each, so that a length is a compilation."""
    seen = set()

    def backend(graph, inputs):
        seen.update(x.shape[-1] for x in inputs if isinstance(x, torch.Tensor) and x.dim() == 3)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    compiling = functools.partialmethod(torch.nn.Module.compile, backend=backend, dynamic=False)
    monkeypatch.setattr(torch.nn.Module, "compile", compiling)
    localizer = Localizer(config_of("temporalmaxer").localizer, 8, 3, 64)
    compile_localizer(localizer)
    lengths = range(16, 56, 4)
    for length in lengths:
        mask = torch.ones(1, 1, length, dtype=torch.bool)
        with torch.no_grad():
            localizer(torch.zeros(1, 8, length), mask, torch.zeros(1, length))
    assert seen >= set(lengths)
