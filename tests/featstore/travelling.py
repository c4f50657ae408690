"""Stores for the tests of what travels: every state of a video, rows written twice, rows never written."""

import numpy as np
import pandas as pd

from featstore import FeatureSpec, FeatureStore

SPEC = FeatureSpec(
    "net", "none", channels=16, clip_frames=16, frame_stride=2, fps=15, extra={"precision": "bf16"}
)
ROWS = 300


def make_store(path, spec=SPEC, rows=ROWS, videos=6, run=None, seed=0):
    """A store of `videos` videos below `path`: one removed, one failed, one unfinished, one refreshed."""
    rng = np.random.default_rng(seed)
    with FeatureStore.create(path, spec, run=run, chunk_bytes=1 << 14) as store:
        for i in range(videos):
            name = f"d/v{i}"
            store.add_video(name, num_rows=rows + 20, duration_s=40.0 + i)
            store.write(name, 0, rng.normal(size=(rows, spec.channels)), 0)
            if i != 1:
                store.complete(name, num_rows=rows + 3)  # the last three rows were never written
        store.add_video("times", num_rows=4, row_times_s=[0.5, 2.0, 7.0, 7.5])
        store.write("times", 0, rng.normal(size=(4, spec.channels)), 0)
        store.complete("times")
        store.commit()
        store.add_video("bad", num_rows=5, fps=15.0)
        store.fail("bad", "no such file")
        store.remove(["d/v2"])
        store.write("d/v0", 10, rng.normal(size=(rows // 6, spec.channels)), 7)
        store.commit()
    return path


def assert_equal_stores(one, other):
    """What two stores say of videos, rows, ledger, staleness and themselves is the same to the bit."""
    with FeatureStore.open(one) as a, FeatureStore.open(other) as b:
        assert (a.generation, a.run_id, a.spec) == (b.generation, b.run_id, b.spec)
        pd.testing.assert_frame_equal(a.videos(), b.videos())
        pd.testing.assert_frame_equal(a.staleness(by="row"), b.staleness(by="row"))
        for name in a.video_ids:
            count = a.video(name).num_rows
            rows, others = (store.read(name, 0, count, return_valid=True) for store in (a, b))
            assert rows[0].tobytes() == others[0].tobytes()
            assert (rows[1] == others[1]).all()
            for column, values in a.ledger(name).items():
                assert values.tobytes() == b.ledger(name)[column].tobytes()
        assert b.verify().empty
