"""Labels as every reader gives them, and labels that people would take for one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Characters that take no room: a label that one of them ends looks like the label without it.
_UNSEEN = "\ufeff\u200b\u2060"
# What data sets call stretches without an action, as `looks_like` gives it.
_NOTHING = frozenset(
    (
        "background",
        "bg",
        "sil",
        "none",
        "null",
        "nothing",
        "noaction",
        "noactivity",
        "nolabel",
        "unlabeled",
        "unlabelled",
    )
)
_BETWEEN_WORDS = re.compile(rf"[\s_{_UNSEEN}]+")


def clean_label(text: str) -> str:
    """A label without blanks around it, in Unicode's composed form (NFC).

    Inner blanks stay: ``jump  high`` is not ``jump high``, but `looks_like` says that it may be meant.
    """
    before = None
    while text != before:  # a blank behind a zero-width character behind a blank
        before, text = text, text.strip().strip(_UNSEEN)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def looks_like(label: str) -> str:
    """What labels have in common that differ by nothing but case, blanks and underscores."""
    return _BETWEEN_WORDS.sub("", unicodedata.normalize("NFKC", label).casefold())


def alike(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ by nothing but case, blanks and underscores."""
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        groups.setdefault(looks_like(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def says_nothing_happens(label: str) -> bool:
    """Whether a label is one that data sets give to what lies between actions: ``background``, ``SIL``."""
    return looks_like(label) in _NOTHING
