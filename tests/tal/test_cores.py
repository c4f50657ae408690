"""Cores that a process may use: affinity, and the quotas of control groups as containers write them."""

import os

import pytest

from tal.shared import cores


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/", {}, None),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "250000 100000"}, 2.5),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3.0),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "100000 100000"}, 1.0),
        # a container that is told of its place on the host, and sees its own group as the root
        ("0::/docker/1f", {"cpu.max": "400000 100000"}, 4.0),
        ("4:cpu,cpuacct:/x\n0::/", {"cpu,cpuacct/x/cpu.cfs_quota_us": "150000"}, 1.5),
        ("4:cpu,cpuacct:/x\n3:memory:/y", {"cpu,cpuacct/x/cpu.cfs_quota_us": "-1"}, None),
    ],
)
def test_the_smallest_quota_counts(tmp_path, membership, files, quota):
    (tmp_path / "membership").write_text(membership + "\n")
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        if path.name == "cpu.cfs_quota_us":
            path.with_name("cpu.cfs_period_us").write_text("100000\n")
    assert cores._quota(tmp_path / "groups", tmp_path / "membership") == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path):
    assert cores._quota(tmp_path / "groups", tmp_path / "none") is None


def test_cores_are_those_of_the_affinity_within_the_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(cores, "_quota", lambda *_: None)
    assert cores.usable_cores() == 3
    monkeypatch.setattr(cores, "_quota", lambda *_: 2.5)
    assert cores.usable_cores() == 2
    monkeypatch.setattr(cores, "_quota", lambda *_: 0.5)
    assert cores.usable_cores() == 1
