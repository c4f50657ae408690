"""Reference tensors on a pretended card: what is made on the host is moved, and the figures are the CPU's."""

import pytest

from benchmarks.golden import FOLDER, compare, system_of
from tests.pretend_cuda import PretendCuda

FILES = sorted(FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_comparison_on_the_card_finds_what_the_cpu_does(path):
    expected = compare(path, system_of(path))
    with PretendCuda().active():
        computed = compare(path, system_of(path), "cuda")
    assert computed.keys() == expected.keys() and expected
    for name, deviation in expected.items():
        assert computed[name].count == deviation.count and computed[name].notes == []
        assert computed[name].excess <= 1, name
