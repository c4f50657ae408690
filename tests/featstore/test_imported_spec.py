"""Imported rows are what their owner says they are, not the files of the first import."""

import pytest

from featstore import FeatureSpec, StoreSpecError
from featstore.spec import imported_weights

OLD, OTHER = "imported:4f471f30a9d2c5e8", "imported:34420011223344ff"


def spec(weights="imported", encoder="i3d", stride=4, **fields):
    return FeatureSpec(encoder, weights, 16, stride, stride, **{"window_frames": 16, "fps": 30.0} | fields)


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (spec(), spec(), 0),
        (spec(OLD), spec(OTHER), 1),
        (spec(OLD), spec(), 0),
        (spec(), spec(OLD), 0),
        (spec(OLD), spec(OTHER, fps=0.0), 2),
        (spec(fps=0.0), spec(fps=25.0), 1),
        (spec(window_frames=0), spec(window_frames=4), 0),
        (spec(f"{OLD}:192 rows"), spec(imported_weights(192)), 0),
    ],
)
def test_imports_that_are_said_to_be_alike_are(one, two, said):
    for a, b in ((one, two), (two, one)):
        assert a.differences(b) == {} and a.differences(b.to_dict()) == {}
        assert len(a.require(b, "a model", then="import it again")) == said
        assert len(a.remarks(b)) == said


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (spec(encoder="tsp"), "encoder"),
        (spec(fps=25.0), "fps"),
        (spec(stride=8), "frame_stride"),
        (spec(window_frames=32), "window_frames"),
        (spec(OTHER, window_frames=0), "window_frames"),
        (spec(imported_weights(192)), "weights"),
        (spec("sha256-of-an-encoder"), "weights"),
        (spec("imported:not-a-digest"), "weights"),
    ],
)
def test_imports_of_something_else_are_refused(other, field):
    for a, b in ((spec(OLD), other), (other, spec(OLD))):
        assert field in a.differences(b)
        with pytest.raises(StoreSpecError, match=field):
            a.require(b, "a model", then="import it again")


def test_the_files_of_both_imports_are_named():
    (remark,) = spec(OLD).remarks(spec(OTHER))
    assert OLD in remark and OTHER in remark and "'i3d'" in remark


def test_rows_of_an_encoder_are_held_to_every_field():
    made = FeatureSpec("net", "sha", 16, 4, 4, fps=5.0)
    assert made.differences(FeatureSpec("net", "sha", 16, 4, 4, fps=0.0)) == {"fps": (5.0, 0.0)}
    assert not made.imported and made.resampled_rows == 0 and made.remarks(made) == ()
    assert spec(OLD).imported and spec(imported_weights(192)).resampled_rows == 192
