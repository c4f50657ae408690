"""`longtal review`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from pipelines.commands.options import (
    FileOrUrl,
    max_per_video_option,
    open_option,
    port_option,
    run_server,
)

_PATH = click.Path(path_type=Path)
_ALL = 10**9
# Stretches that the page has at a time.
_QUEUE = 20


@click.command()
@click.argument("source", type=_PATH, required=False)
@click.option("--videos", type=_PATH, help="Folder of the video files; a run's own by default.")
@click.option(
    "--annotations", type=FileOrUrl(), help="Actions that are known; each video begins with its own."
)
@click.option("--subset", help="Subset of the annotations, such as validation.")
@click.option("--labels", help="Classes, separated by commas, beside those of SOURCE and the annotations.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("corrections.json"),
    show_default=True,
    help="File that every change is saved to; one that exists is gone on with.",
)
@max_per_video_option
@click.option(
    "--copies",
    type=_PATH,
    help="Folder for copies of videos that browsers do not play; default: the user's cache.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page as it stands, to look at without a server, and end.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@click.option(
    "--next", "count", type=click.IntRange(1), help="Print this many stretches to look at next, and end."
)
@click.option(
    "--against",
    multiple=True,
    type=_PATH,
    help="Other predictions, as SOURCE, whose disagreement is looked at; may be given often.",
)
@click.option(
    "--against-rows",
    metavar="MODEL",
    type=_PATH,
    help="Model, as `predict` takes it, whose row classifier's disagreement with SOURCE is looked at.",
)
@click.option("--threshold", type=float, help="Score from which a detection counts; the model's by default.")
@click.option("--thresholds", type=_PATH, help="File of scores by class (thresholds.json of a model).")
@click.option("--seed", default=0, show_default=True, help="Seed of the random stretches of --next.")
@click.option("--json", "as_json", is_flag=True, help="Print --next as JSON.")
@port_option
@open_option
def command(
    source: Path | None,
    videos: Path | None,
    annotations: Path | None,
    subset: str | None,
    labels: str | None,
    out: Path,
    max_per_video: int,
    copies: Path | None,
    page: Path | None,
    overwrite: bool,
    count: int | None,
    against: tuple[Path, ...],
    against_rows: Path | None,
    threshold: float | None,
    thresholds: Path | None,
    seed: int,
    as_json: bool,
    port: int,
    open_browser: bool,
) -> None:
    """Judge and mend detections in the browser; without any, annotate videos.

    SOURCE is a predictions file, a folder that `longtal predict` wrote, or a run folder. The page plays each
    video over a timeline, and every change is saved to --out at once. It is in ActivityNet's form, so that
    other tools read it; the command goes on with one that exists. It runs until Ctrl-C and listens on
    127.0.0.1 only: for a server on another machine, forward the port with `ssh -L 8765:127.0.0.1:8765 HOST`.

    \b
    Examples:
      longtal review predictions.json --videos videos/ --out corrections.json
      longtal review runs/first --out corrections.json
      longtal review --videos videos/ --labels walk,run,jump --out corrections.json
      longtal review predictions.json --videos videos/ --threshold 0.3 --next 20
    """
    from pipelines.review import (
        OutputFile,
        Proxies,
        Review,
        ReviewServer,
        ReviewState,
        Upcoming,
        collect_review,
        default_folder,
        write_page,
    )
    from pipelines.review.next import NextOptions, items_table, known_lines, look_next
    from pipelines.shared import console
    from pipelines.shared.files import require_new

    if page is not None:
        require_new([page], overwrite)
    names = [name for name in (labels or "").split(",") if name.strip()]

    def collect(most: int) -> Review:
        return collect_review(source, videos, annotations, subset, names, most)

    # what to look at next is chosen among all detections
    review = collect(max_per_video if count is None else _ALL)
    for note in review.notes:
        console.log.info(note)
    options = NextOptions(count or _QUEUE, threshold, thresholds, against, against_rows, seed)
    if count is not None:
        sitting = look_next(source, review, out, options)
        for note in sitting.notes:
            console.log.warning(note)
        if as_json:
            console.print_json(sitting.to_json())
            return
        console.print_table(items_table(sitting.queue))
        for line in known_lines(sitting.estimate):
            console.out.print(line, markup=False)
        return
    with OutputFile(out) as file:
        state = ReviewState(review, file)
        if page is not None:
            write_page(review, state, page, overwrite)
            console.out.print(f"{page}: {len(review.videos)} videos", markup=False)
            return
        with (
            closing(Proxies(copies or default_folder())) as proxies,
            ReviewServer(
                review, state, proxies, Upcoming(source, options, lambda: collect(_ALL)), port
            ) as server,
        ):
            run_server(server, len(review.videos), open_browser, f"ended; {out} holds every change")
