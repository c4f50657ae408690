"""Window sizes by level, read off the shapes of a checkpoint."""

import pytest

from benchmarks.golden import FOLDER
from benchmarks.golden.reference import Reference
from tal.errors import CheckpointError
from tal.released import complete_options, decoder_config, infer_config
from tal.released.infer import _scale


def test_a_checkpoint_with_windows_by_level_tells_them():
    reference = Reference.read(FOLDER / "tridet_lists.safetensors")
    assert reference.config["model"]["n_sgp_win_size"] == [1, 3, 3, 5]
    found = infer_config("tridet", reference.under("weights/"))
    config = decoder_config("tridet", complete_options("tridet", {**found, "max_seq_len": 128}))
    given = decoder_config("tridet", complete_options("tridet", reference.config["model"]))
    # the first size is the stem's, which is 1 whatever it says
    assert config.window[1:] == given.window[1:] == (3, 3, 5)
    assert [config.wide_kernel(w) for w in config.window[1:]] == [
        given.wide_kernel(w) for w in given.window[1:]
    ]


@pytest.mark.parametrize("windows", [(1, 3, 5, 7), (3, 3, 5), (1,), (15, 15, 15)])
@pytest.mark.parametrize("k", [1.5, 2.0, 2.2, 2.5, 5.0])
def test_k_gives_the_kernel_of_every_level(windows, k):
    def kernel(window, scale):
        size = round((window + 1) * scale)
        return size + 1 - size % 2

    kernels = [kernel(w, k) for w in windows]
    assert [kernel(w, _scale(windows, kernels)) for w in windows] == kernels


def test_kernels_of_no_k_are_refused():
    with pytest.raises(CheckpointError, match=r"no k gives wide kernels \[3, 31\] of windows \[1, 3\]"):
        _scale((1, 3), (3, 31))
