"""Moments of a video as text."""

from tal.annotations.clock import clock


def test_whole_seconds_rounded_with_hours_where_there_are_any():
    assert [clock(9.4), clock(59.9), clock(75), clock(3599.6), clock(3725)] == [
        "0:09",
        "1:00",
        "1:15",
        "1:00:00",
        "1:02:05",
    ]


def test_the_form_can_be_fixed_for_an_axis():
    assert [clock(75, hours=True), clock(3725, hours=False)] == ["0:01:15", "62:05"]
