"""The age of a store's rows, as a table or a picture."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.shared.files import save_figure, write_text
from tal.errors import ConfigError
from tal.shared.files import output_errors

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("table", "csv", "json", "parquet")
_SHOWN_VIDEOS = 60
_COLUMNS = 100


def staleness_table(path: Path, by: str = "video", now_step: int | None = None) -> pd.DataFrame:
    """Age of a store's rows by video, clip or row; the columns are those of `FeatureStore.staleness`."""
    from featstore import FeatureStore

    with FeatureStore.open(path) as store:
        return store.staleness(now_step=now_step, by=by)


def headline(path: Path) -> str:
    """One line about the store: generation, videos, and the rows that a live writer has not committed."""
    from featstore import FeatureStore

    with FeatureStore.open(path) as store:
        waiting = store.uncommitted_rows
        run = f", refreshed by run {store.run_id}" if store.run_id else ", pristine extraction"
        more = f"; a writer holds {waiting} rows not yet committed" if waiting else ""
        return f"{path}: generation {store.generation}, {len(store)} videos{run}{more}"


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table in human-readable form: short column names, local times, no wider than 80 characters."""
    import pandas as pd

    moments = pd.to_datetime(frame["written_at"], unit="s", utc=True).dt.tz_convert(_local_zone())
    frame = frame.assign(written=moments.dt.strftime("%m-%d %H:%M").fillna("never")).drop(
        columns="written_at"
    )
    if "age_median" in frame:
        ages = ["age_mean", "age_median", "age_p90", "age_max"]
        frame[ages] = frame[ages].map("{:.0f}".format)
        frame = frame.drop(columns="age_mean")
        names = {"never_refreshed": "unrefreshed", "age_median": "age", "age_p90": "p90", "age_max": "max"}
        frame = frame.rename(columns=names)
    return frame


def _local_zone() -> Any:
    return datetime.now().astimezone().tzinfo


def render(frame: pd.DataFrame, form: str, out: Path | None) -> str | None:
    """The table as CSV, JSON or Parquet, written to ``out``, else returned as text; Parquet needs ``out``."""
    if form == "parquet":
        if out is None:
            raise ConfigError("parquet is binary: name a file with --out FILE.parquet")
        try:
            with output_errors(out):
                out.parent.mkdir(parents=True, exist_ok=True)
                frame.to_parquet(out, index=False)
        except ImportError as error:
            raise ConfigError("writing parquet needs pyarrow: pip install 'longtal[parquet]'") from error
        return None
    text = frame.to_csv(index=False) if form == "csv" else frame.to_json(orient="records", indent=1) + "\n"
    if out is None:
        return text
    write_text(out, text, overwrite=True)
    return None


def plot(path: Path, image: Path, now_step: int | None = None) -> None:
    """Draw a histogram of the ages, and a heat map by video (down) and position in the video (across)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    frame = staleness_table(path, "row", now_step)
    ages = frame["age"].to_numpy(float)
    if not np.isfinite(ages).any():
        raise ConfigError(f"{path} has no written rows in complete videos, so there are no ages to draw")
    codes = frame["video"].cat.codes.to_numpy()
    names = list(frame["video"].cat.categories)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 4.5), width_ratios=(1, 1.6), constrained_layout=True
    )
    top = max(1.0, float(np.nanmax(ages)))
    bins: Any = np.arange(-0.5, top + 1.5)
    left.hist(ages[np.isfinite(ages)], bins=bins if len(bins) <= 60 else 50, color="#33658a")
    left.set(xlabel="age of a row (optimizer steps)", ylabel="rows", title="Age histogram")
    shown = _spread(len(names), _SHOWN_VIDEOS)
    grid = np.full((len(shown), _COLUMNS), np.nan)
    for line, code in enumerate(shown):
        own = ages[codes == code]
        place = np.minimum(np.arange(len(own)) * _COLUMNS // max(1, len(own)), _COLUMNS - 1)
        written = np.isfinite(own)
        sums = np.bincount(place[written], own[written], _COLUMNS)
        counts = np.bincount(place[written], minlength=_COLUMNS)
        grid[line] = np.divide(sums, counts, out=np.full(_COLUMNS, np.nan), where=counts > 0)
        if 0 < len(own) < _COLUMNS:  # fewer rows than columns: each row is as wide as its share of the video
            grid[line] = own[np.arange(_COLUMNS) * len(own) // _COLUMNS]
    picture = right.imshow(
        grid,
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        vmin=0,
        vmax=top,
        extent=(0, 1, len(shown), 0),
    )
    title = "Mean age by video and position"
    right.set(xlabel="position in the video (0 = start, 1 = end)", title=title)
    if len(shown) <= 30:
        right.set_yticks(np.arange(len(shown)) + 0.5, [_short(names[i]) for i in shown], fontsize=7)
    else:
        right.set_ylabel(f"{len(shown)} of {len(names)} videos")
    figure.colorbar(picture, ax=right, label="age (optimizer steps)")
    save_figure(figure, image, dpi=120)
    plt.close(figure)


def _spread(count: int, most: int) -> list[int]:
    """All of range(count), or ``most`` of them at even distances."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _short(name: str) -> str:
    # Dollar signs would start mathematics in matplotlib.
    return (name if len(name) <= 24 else name[:21] + "...").replace("$", r"\$")
