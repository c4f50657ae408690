"""Who trains and measures what, by what the hosts hold; what keeps hosts from training one run."""

import shutil
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from accelerate import Accelerator, InitProcessGroupKwargs

from featstore import FeatureStore
from pipelines.data.run_annotations import read_run_annotations
from pipelines.train import setup
from pipelines.train.data import load_data
from pipelines.train.encode import share_by_duration
from pipelines.train.hosts import HostError, Hosts
from pipelines.train.hosts.alike import require_same_data, require_same_settings
from pipelines.train.hosts.group import PATIENCE, common_start, require_own_folder
from pipelines.train.hosts.holdings import take_stock
from pipelines.train.hosts.share import share_of, slots_by_host
from pipelines.train.split import split_by_slots
from tal.errors import ConfigError, VideoError
from tests.pipelines.tiny_run import tiny_config
from tests.pipelines.train.wired import on_threads


def place(monkeypatch, **environment):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    return Hosts.here()


def test_where_this_process_is(monkeypatch):
    alone = place(monkeypatch)
    assert (alone.count, alone.number, alone.leads) == (1, 0, True)
    third = place(monkeypatch, RANK=5, WORLD_SIZE=6, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2)
    assert (third.count, third.number, third.leads) == (3, 2, False)
    one_host = place(monkeypatch, RANK=1, WORLD_SIZE=2)
    assert (one_host.count, one_host.number, one_host.leads) == (1, 0, False)
    with pytest.raises(ConfigError, match="start as many on each host"):
        place(monkeypatch, RANK=2, WORLD_SIZE=3, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2)


SLOTS = [["a", "b"], ["c"], ["d"], ["e", "f"]]


@pytest.mark.parametrize(
    ("stored", "processes", "expected"),
    [
        (["abc", "def"], 1, [(0, 1), (2, 3)]),
        (["abc", "def"], 2, [(0,), (1,), (2,), (3,)]),
        (["defxy", "abc"], 1, [(2, 3), (0, 1)]),  # started in another order
        (["abd", "cef"], 1, [(0, 2), (1, 3)]),
        (["abcdef", "abcdef"], 1, [(0, 1), (2, 3)]),  # rows that nobody writes may be everywhere
    ],
)
def test_slots_go_to_the_host_that_holds_their_videos(stored, processes, expected):
    assert slots_by_host(SLOTS, [set(held) for held in stored], processes) == expected


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (["abce", "df"], r"slot 3: e on host 0; f on host 1"),
        (["bc", "def"], r"slot 0: b on host 0; a on none; 2 training videos are in no store \(g, h\)"),
        (["abcd", "ef"], r"host 0 holds 3 of 4 slots, host 1 holds 1 of 4 slots"),
    ],
)
def test_stores_that_are_not_cut_by_the_slots_are_refused(stored, said):
    with pytest.raises(ConfigError, match=said):
        slots_by_host(SLOTS, [set(held) for held in stored], 1, missing=("g", "h"))


@pytest.fixture
def parts(data, tmp_path):
    """The tiny store and its videos, cut for two hosts: the configuration of each."""
    config = tiny_config(data, train={"batch_size": 4})
    configs = []
    for number, part in enumerate(split_by_slots(data / "store.zarr", config, 2, tmp_path / "parts")):
        videos = tmp_path / f"videos{number}"
        videos.mkdir()
        with FeatureStore.open(part.store) as store:
            for name in store.video_ids:
                shutil.copy(data / "videos" / f"{name}.mp4", videos)
        own = config.data.model_copy(update={"store": str(part.store), "videos": str(videos)})
        configs.append(config.model_copy(update={"data": own}))
    return configs


def shares(hosts, configs, out):
    """What a host sees of the run, and its share of it."""
    config = configs[hosts.number]
    holdings = take_stock(config, out, False, hosts)
    annotations = read_run_annotations(config.data)
    data = load_data(config.data, annotations, holdings.rows, None, holdings.files)
    require_same_data(data, annotations.fingerprint, hosts)
    return data, share_of(config, data, hosts, holdings)


def test_hosts_see_one_run_and_share_it(data, parts, tmp_path):
    config = tiny_config(data, train={"batch_size": 4})
    with FeatureStore.open(data / "store.zarr") as store:
        whole = load_data(config.data, read_run_annotations(config.data), store)
    seen = on_threads(2, shares, parts, tmp_path)
    for host, (theirs, share) in enumerate(seen):
        assert [v.id for v in theirs.train] == [v.id for v in whole.train]
        for ours, other in zip(theirs.train, whole.train, strict=True):
            np.testing.assert_array_equal(ours.segments, other.segments)
            assert ours.num_rows == other.num_rows
        assert share.slots == share.of_host[0] == ((0, 1), (2, 3))[host] and share.place == host
        assert len(share.validation) == 1 and share.validation[0].path
        assert all(f"videos{host}" in v.path for v in theirs.train if v.path)
    swapped = on_threads(2, shares, parts[::-1], tmp_path)
    assert [share.slots for _, share in swapped] == [(2, 3), (0, 1)]
    assert [share.place for _, share in swapped] == [1, 0]
    measured = [{v.id for v in share.validation} for _, share in swapped]
    assert measured == [{v.id for v in share.validation} for _, share in seen][::-1]


def test_videos_on_two_hosts_are_listed_where_rows_are_written(parts, tmp_path):
    twice = [parts[0], parts[0]]
    for error in on_threads(2, shares, twice, tmp_path):
        assert isinstance(error, ConfigError)
        assert "videos are in the stores of several hosts (v0" in str(error)


def test_a_host_without_the_files_of_its_videos_is_told_to_all(parts, tmp_path):
    file = next((tmp_path / "videos1").glob("v0[0-5].mp4"))
    file.rename(tmp_path / "videos0" / file.name)
    first, second = on_threads(2, shares, parts, tmp_path)
    assert isinstance(second, ConfigError) and "lacks the files of 1 training videos" in str(second)
    assert isinstance(first, HostError) and str(first) == f"host 1: {second}"


def test_validation_goes_to_those_that_can(data):
    config = tiny_config(data)
    with FeatureStore.open(data / "store.zarr") as store:
        videos = load_data(config.data, read_run_annotations(config.data), store).train
    can = {video.id: [1] if number < 4 else [0, 1] for number, video in enumerate(videos)}
    parts = share_by_duration(videos, 2, can)
    assert [v.id for v in parts[0]] == [v.id for v in videos[4:]]
    assert [v.id for v in parts[1]] == [v.id for v in videos[:4]]


def test_other_settings_are_named_and_other_places_are_fine(parts):
    def same(hosts, configs):
        require_same_settings(configs[hosts.number], hosts)

    assert on_threads(2, same, parts) == [None, None]
    train = parts[1].train.model_copy(update={"seed": 7})
    for error in on_threads(2, same, [parts[0], parts[1].model_copy(update={"train": train})]):
        assert isinstance(error, ConfigError) and "host 1 has other settings" in str(error)
        assert "train.seed" in str(error)


def test_an_error_of_one_host_is_raised_on_all():
    def failing(hosts):
        with hosts.together():
            if hosts.number == 1:
                raise VideoError("no pictures")

    first, second, third = on_threads(3, failing)
    assert isinstance(second, VideoError)
    assert [str(first), str(third)] == ["host 1: no pictures"] * 2


def test_hosts_have_run_folders_of_their_own(tmp_path):
    def own(hosts, folders):
        require_own_folder(folders[hosts.number], hosts)

    apart = [tmp_path / "a", tmp_path / "b"]
    assert on_threads(2, own, apart) == [None, None]
    assert not [p for folder in apart for p in folder.iterdir()]
    errors = on_threads(2, own, [tmp_path / "a", tmp_path / "a"])
    assert all(isinstance(error, ConfigError | HostError) for error in errors)
    assert "the folder of two hosts" in str(errors[0])


def test_checkpoints_and_memories_of_a_run_are_known_to_the_first_host(tmp_path):
    def start(hosts, begun):
        return common_start(begun[hosts.number], tmp_path / str(hosts.number), hosts)

    assert on_threads(2, start, (False, False)) == [False, False]
    assert on_threads(2, start, (True, False)) == [True, True]
    for error in on_threads(2, start, (False, True)):
        assert "start that host as the first" in str(error)
    (tmp_path / "1" / "memory.zarr").mkdir(parents=True)
    assert on_threads(2, start, (True, False)) == [True, True]
    for error in on_threads(2, start, (False, False)):
        assert "holds the memory of a run that the first host does not know" in str(error)


def test_data_that_differ_are_named(data):
    config = tiny_config(data)
    annotations = read_run_annotations(config.data)
    with FeatureStore.open(data / "store.zarr") as store:
        whole = load_data(config.data, annotations, store)
    fewer = replace(whole, train=whole.train[1:])

    def same(hosts, seen, fingerprints):
        require_same_data(seen[hosts.number], fingerprints[hosts.number], hosts)

    assert on_threads(2, same, (whole, whole), "aa") == [None, None]
    for error in on_threads(2, same, (whole, fewer), "aa"):
        assert "host 1 sees other videos than the first one (v00)" in str(error)
    for error in on_threads(2, same, (whole, whole), "ab"):
        assert "host 1 has other annotations" in str(error)


def test_a_validation_of_days_ends_no_run(data, monkeypatch):
    """Nor does the copying of a large store."""
    given = {}
    monkeypatch.setattr(
        setup, "Accelerator", lambda **options: given.update(options) or Accelerator(cpu=True)
    )
    setup.build_accelerator(tiny_config(data))
    patience = [k.timeout for k in given["kwargs_handlers"] if isinstance(k, InitProcessGroupKwargs)]
    assert patience == [PATIENCE] and timedelta(days=7) <= PATIENCE
