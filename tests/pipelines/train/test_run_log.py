"""Steps a second and time left, as the console shows them."""

import time

import pytest

from pipelines.train.run_log import Pace


def test_pace_counts_only_steps_whose_time_it_counts(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    pace = Pace(0)
    now += 5.0
    assert pace.look(10) == pytest.approx(2.0)
    now += 2.0  # four more steps, then a validation of 30 s
    now += 30.0
    pace.skip(14)
    now += 0.5
    assert pace.look(15) == pytest.approx(2.0)
    now += 5.0
    assert pace.look(20) == pytest.approx(0.7 * 2.0 + 0.3 * 1.0)
