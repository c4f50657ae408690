"""`longtal store split`: one store cut into those of several hosts, by the slots of a run's batch.

A slot's videos are a function of the seed, the batch size and the videos (`WindowSampler`), whatever the
number of processes: so a part of the slots is a part of the videos, and a host that holds their rows trains
on them and on no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featstore import FeatureStore, split_store
from pipelines.config import RunConfig
from pipelines.data.run_annotations import read_run_annotations
from pipelines.shared.console import progress
from pipelines.shared.dealing import deal
from pipelines.train.data import load_data
from tal.errors import ConfigError
from tal.memory.sampler import WindowSampler


@dataclass(frozen=True)
class Part:
    """A host's share of a store.

    Attributes
    ----------
    store
        where it stands.
    slots
        of the batch that its training videos fill.
    training, others
        numbers of videos: those that the run learns from, and all others, such as those of validation.
    rows
        of both together.
    """

    store: Path
    slots: range
    training: int
    others: int
    rows: int


def split_by_slots(
    source: Path, config: RunConfig, number: int, folder: Path | None = None
) -> tuple[Part, ...]:
    """Cut a store into ``number`` stores FOLDER/K-of-N.zarr, one for each host of a run.

    Part K has the training videos of the K-th of N equal shares of the batch's slots. Other videos are dealt
    out so that the parts have about as many rows of them. Rows and ledgers stay as they are.

    Parameters
    ----------
    source
        the store of all videos: an extraction, or the memory of the run.
    folder
        None: NAME.parts beside the store.

    Raises
    ------
    ConfigError
        the batch cannot be shared by so many hosts.
    StoreExistsError
        the folder is there already.
    LongtalError
        annotations, videos or store do not fit together, as `load_data`.
    """
    batch = config.train.batch_size
    if number < 1 or batch % (number * config.train.accumulate):
        raise ConfigError(
            f"train.batch_size {batch} is not a multiple of {number} parts x train.accumulate "
            f"{config.train.accumulate}: a slot of the batch belongs to one host"
        )
    annotations = read_run_annotations(config.data, config.learns_one_class)
    folder = folder or source.with_name(f"{source.stem}.parts")
    with FeatureStore.open(source) as store:
        data = load_data(config.data.model_copy(update={"store": str(source)}), annotations, store)
        windows = WindowSampler(data.train, batch, config.window, config.memory, config.train.seed)
        rows = {name: store.video(name).num_rows for name in store.video_ids}
    share = batch // number
    slots = [range(k * share, (k + 1) * share) for k in range(number)]
    training = [[video.id for video in windows.videos_of(part)] for part in slots]
    left = rows.keys() - {name for part in training for name in part}
    owner = deal({name: rows[name] for name in sorted(left)}, number)
    others = [[name for name, part in owner.items() if part == k] for k in range(number)]
    stores = [f"{k + 1}-of-{number}.zarr" for k in range(number)]
    ids = [{*ours, *theirs} for ours, theirs in zip(training, others, strict=True)]
    with progress("rows") as bar:
        task = bar.add_task(f"splitting {source.name}", total=sum(rows.values()))
        split_store(
            source, folder, dict(zip(stores, ids, strict=True)), lambda count: bar.advance(task, count)
        )
    sums = [sum(rows[name] for name in part) for part in ids]
    return tuple(
        Part(folder / stores[k], slots[k], len(training[k]), len(others[k]), sums[k]) for k in range(number)
    )
