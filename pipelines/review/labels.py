"""A class that a user adds in the page: what may be one."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from pipelines.review.changes import ChangeError
from tal.annotations.labels import clean_label, looks_like

MOST_CHARACTERS = 100
MOST_LABELS = 1000
# Line breaks and what has no meaning or no glyph, and marks that turn the direction of the text after them.
_REFUSED = ("Cc", "Cs", "Co", "Zl", "Zp")
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What files call the tree of classes: it would be read as their parent.
_ROOT = "Root"


def new_label(text: Any, labels: Sequence[str]) -> str:
    """A class as it is kept, of what was typed.

    Raises
    ------
    ChangeError
        it is blank, too long, holds characters that cannot be seen, or is like one of ``labels``.
    """
    if not isinstance(text, str) or not clean_label(text):
        raise ChangeError("a class needs a name")
    label = clean_label(text)
    if len(label) > MOST_CHARACTERS:
        raise ChangeError(f"a class has at most {MOST_CHARACTERS} characters, this one {len(label)}")
    if any(unicodedata.category(c) in _REFUSED or c in _TURNING for c in label):
        raise ChangeError("a class is one line of characters that can be seen")
    if label == _ROOT:
        raise ChangeError(f"“{_ROOT}” is what files call the tree of all classes: give another name")
    if like := next((known for known in labels if looks_like(known) == looks_like(label)), None):
        raise ChangeError(f"there is a class “{like}” already")
    if len(labels) >= MOST_LABELS:
        raise ChangeError(f"a review has at most {MOST_LABELS} classes")
    return label
