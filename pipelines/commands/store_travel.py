"""`longtal store pack` and its like: stores that travel."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("store", type=_PATH)
@click.argument("url")
@click.option(
    "--round-bits",
    type=int,
    metavar="N",
    help="Round numbers to N bits of mantissa (float16 has 10, float32 23); default: not rounded.",
)
@click.option(
    "--level",
    type=click.IntRange(1, 9),
    default=1,
    show_default=True,
    help="Effort of the compression: 1 is fast, 9 small.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def pack(store: Path, url: str, round_bits: int | None, level: int, as_json: bool) -> None:
    """Write the last commit of STORE as a compressed Zarr copy, to be kept, sent, or read with zarr alone.

    URL is a path, s3://bucket/name, or memory://name. The largest error of a rounding is measured, printed
    and noted in the copy.

    \b
    Example:
      longtal store pack features.zarr s3://bucket/gym-features
      longtal store pack features.zarr gym-features.zarr --round-bits 7
    """
    from pipelines.shared import console
    from pipelines.store import travel
    from pipelines.store.run import human_bytes

    facts = travel.pack(store, url, round_bits, level)
    if as_json:
        console.print_json(facts)
        return
    share = facts["packed_bytes"] / max(1, facts["row_bytes"])
    console.out.print(
        f"packed {store} to {url}: {facts['rows']:,} rows, {human_bytes(facts['row_bytes'])} of them in "
        f"{human_bytes(facts['packed_bytes'])} ({share:.0%}); "
        f"{travel.per_second(facts['row_bytes'], facts['seconds'])}",
        markup=False,
    )
    if round_bits is not None:
        console.out.print(
            f"rounded to {round_bits} bits of mantissa: numbers moved by {facts['largest_error']:.3g} at most"
        )


@click.command()
@click.argument("url")
@click.argument("store", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def unpack(url: str, store: Path, as_json: bool) -> None:
    """Make STORE out of the packed copy at URL; every row is held against its checksum.

    \b
    Example:
      longtal store unpack s3://bucket/gym-features features.zarr
    """
    from pipelines.shared import console
    from pipelines.store import travel

    facts = travel.unpack(url, store)
    if as_json:
        console.print_json(facts)
        return
    console.out.print(
        f"unpacked {url} to {store}: generation {facts['generation']}, {facts['videos']} videos, "
        f"{facts['rows']:,} rows; {travel.per_second(facts['row_bytes'], facts['seconds'])}",
        markup=False,
    )


@click.command()
@click.argument("store", type=_PATH)
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def push(store: Path, url: str, as_json: bool) -> None:
    """Bring the last commit of STORE to URL; only what changed since an earlier push is sent.

    A push that was interrupted goes on where it ended, and is not taken for a store.

    \b
    Example:
      longtal store push features.zarr s3://bucket/gym-store
    """
    from pipelines.shared import console
    from pipelines.store import travel
    from pipelines.store.run import human_bytes

    facts = travel.push(store, url)
    if as_json:
        console.print_json(facts)
        return
    sent = f"{facts['sent']} of {facts['pieces']} objects sent, {human_bytes(facts['sent_bytes'])}"
    console.out.print(
        f"{url} is at generation {facts['generation']} of {store}: {sent}; "
        f"{travel.per_second(facts['sent_bytes'], facts['seconds'])}",
        markup=False,
    )


@click.command()
@click.argument("url")
@click.argument("store", type=_PATH)
@click.option("--generation", type=int, metavar="N", help="Pull generation N; default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def pull(url: str, store: Path, generation: int | None, as_json: bool) -> None:
    """Bring STORE to the generation that was pushed to URL; only what is not here is fetched.

    A pull that was interrupted goes on where it ended; STORE is as it was until all is here.

    \b
    Example:
      longtal store pull s3://bucket/gym-store features.zarr
    """
    from pipelines.shared import console
    from pipelines.store import travel
    from pipelines.store.run import human_bytes

    facts = travel.pull(url, store, generation)
    if as_json:
        console.print_json(facts)
        return
    fetched = (
        f"{facts['fetched']} of {facts['pieces']} objects fetched, {human_bytes(facts['fetched_bytes'])}"
    )
    console.out.print(
        f"{store} is at generation {facts['generation']} of {url}, {facts['num_rows']:,} rows: {fetched}; "
        f"{travel.per_second(facts['fetched_bytes'], facts['seconds'])}",
        markup=False,
    )


TRAVEL = (pack, unpack, push, pull)
