"""What each host of a run holds, told to all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from featstore import FeatureSpec, FeatureStore, VideoRecord
from pipelines.config import RunConfig
from pipelines.data.videos import open_folder
from pipelines.train.hosts.group import Hosts
from pipelines.train.stores import rows_path, writes_memory
from tal.errors import ConfigError

_LISTED = 10


@dataclass(frozen=True)
class SharedRows:
    """The videos of several hosts' stores, as one store would list them; rows cannot be read through it."""

    spec: FeatureSpec
    records: Mapping[str, VideoRecord]

    @property
    def video_ids(self) -> list[str]:
        """Ids of the complete videos."""
        return [name for name, record in self.records.items() if record.state == "complete"]

    def video(self, video_id: str) -> VideoRecord:
        return self.records[video_id]

    def videos(self) -> pd.DataFrame:
        """Columns id and state."""
        return pd.DataFrame(
            {"id": list(self.records), "state": [record.state for record in self.records.values()]}
        )


@dataclass(frozen=True)
class Holdings:
    """What the hosts of a run hold.

    Attributes
    ----------
    rows
        of all hosts together; None: the run reads no store.
    stored
        of each host, ids of the complete videos of its store.
    files
        ids of the video files of all hosts.
    """

    rows: SharedRows | None
    stored: tuple[frozenset[str], ...]
    files: tuple[str, ...]


def take_stock(config: RunConfig, out: Path, begun: bool, hosts: Hosts) -> Holdings:
    """Let each host say what it holds.

    Raises
    ------
    ConfigError
        two hosts hold rows of one video, which the run writes.
    StoreSpecError
        a store's rows are made otherwise than the first host's.
    LongtalError
        a store or a folder cannot be read.
    """
    records: list[VideoRecord] = []
    files: list[str] = []
    spec: FeatureSpec | None = None
    path = rows_path(config, out, begun)
    with hosts.together():
        if hosts.leads and path is not None:
            with FeatureStore.open(path) as store:
                spec = store.spec
                states = ("complete", "reserved", "failed")
                records = [store.video(name) for state in states for name in store.ids(state)]
            if config.data.videos:
                files = list(open_folder(Path(config.data.videos)).files)
    said = hosts.exchange((spec, records, files))
    first = said[0][0]
    if first is None:
        return Holdings(None, (frozenset(),) * hosts.count, ())
    for number, (theirs, _, _) in enumerate(said):
        if theirs is None:
            raise ConfigError(f"host {number} names no store, the first one does (data.store)")
        theirs.require(
            first, "the first host's store", then="take rows made in one way", store=f"host {number}"
        )
    stored = tuple(frozenset(r.id for r in of_host if r.state == "complete") for _, of_host, _ in said)
    doubled = sorted(name for name, n in Counter(name for ids in stored for name in ids).items() if n > 1)
    if doubled and writes_memory(config):
        raise ConfigError(
            f"{len(doubled)} videos are in the stores of several hosts ({listed(doubled)}): their rows would "
            "part. Cut one store with `longtal store split`"
        )
    merged: dict[str, VideoRecord] = {}
    for _, of_host, _ in said:
        for record in of_host:
            if record.state == "complete" or record.id not in merged:
                merged[record.id] = record
    listed_files = sorted({name for _, _, there in said for name in there})
    return Holdings(SharedRows(first, merged), stored, tuple(listed_files))


def listed(names: Collection[str]) -> str:
    """The first names of many, sorted, and how many there are."""
    known = sorted(names)
    return ", ".join(known[:_LISTED]) + (f", … ({len(known)})" if len(known) > _LISTED else "")
