"""Which settings a run may go on with: what it learns stays, where and how it computes may change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featstore.remote import is_url
from pipelines.config import AUTO, RunConfig
from pipelines.data.run_annotations import RunAnnotations
from pipelines.shared.config_paths import PATH_KEYS, same_path
from pipelines.shared.console import log
from pipelines.shared.dotted import leaves
from tal.errors import ConfigError

# Where things are (their content is checked by digests), and what no step of training depends on.
CHANGEABLE = (
    *PATH_KEYS,
    "data.store_place",
    "data.store_generation",
    "train.workers",
    "train.device",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_best",
    "train.validate_every",
    "train.validate_from",
    "train.max_nonfinite",
)
_WORDS = ("description", "notes")
_WHOLE = (*_WORDS, "encoder.settings")  # compared as one value each
_SUBSETS = ("data.train_subset", "data.val_subset")
_SHOWN = 5


def settings_to_go_on_with(saved: RunConfig, given: RunConfig, run: Path) -> RunConfig:
    """The configuration of a run with what may change as it is given now; the log says what did.

    Raises
    ------
    ConfigError
        something else differs; names each key with both values.
    """
    before, now = _leaves(saved), _leaves(given)
    changed = _changed(before, now)
    refused = [key for key in changed if key not in CHANGEABLE]
    if refused:
        listed = "; ".join(f"{k}: {before.get(k)!r} there, {now.get(k)!r} given" for k in refused[:_SHOWN])
        more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise ConfigError(
            f"{run} was begun with other settings ({listed}{more}): what a run learns stays as it is. Go on "
            "without them, or begin another with another --out. What may change is " + ", ".join(CHANGEABLE)
        )
    for key in changed:
        log.info("%s goes on with %s %r (before: %r)", run, key, now.get(key), before.get(key))
        section, name = key.split(".")
        part = getattr(saved, section)
        saved = saved.model_copy(update={section: part.model_copy(update={name: now.get(key)})})
    return saved


def settings_that_differ(one: RunConfig, other: RunConfig) -> list[str]:
    """Keys of what a run learns in which two configurations differ."""
    return [key for key in _changed(_leaves(one), _leaves(other)) if key not in CHANGEABLE]


def _leaves(config: RunConfig) -> dict[str, Any]:
    return dict(leaves(config.model_dump(), whole=_WHOLE))


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [k for k in {**before, **now} if not _alike(k, before.get(k), now.get(k))]


def require_same_annotations(facts: Mapping[str, Any], annotations: RunAnnotations, run: Path) -> None:
    """Hold that a run goes on with the annotations that it was begun with, wherever they are now.

    Parameters
    ----------
    facts
        the run's provenance.json.

    Raises
    ------
    ConfigError
        videos or segments of its subsets are others.
    """
    begun_with = facts.get("annotations_sha256")
    if begun_with is None:
        log.info("%s does not say what annotations it was begun with: whether they changed is not known", run)
    elif begun_with != annotations.fingerprint:
        raise ConfigError(
            f"{run} was begun with other annotations than {annotations.whole.source} has now: bring back "
            "that file, --set data.annotations=FILE, or begin another run with another --out"
        )


def _alike(key: str, saved: object, given: object) -> bool:
    """Whether a key says the same twice, or the given one leaves to the run what the run has chosen."""
    if key in _WORDS or saved == given:
        return True
    if key in _SUBSETS:
        return given == AUTO
    if key == "encoder.settings":
        return given is None
    if not (key in PATH_KEYS and isinstance(saved, str) and isinstance(given, str)) or is_url(given):
        return False
    return bool(saved) == bool(given) and same_path(Path(saved), Path(given))
