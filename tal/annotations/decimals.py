"""Numbers as countries write them: 1.5 or 1,5, and 1,234.5 or 1.234,5."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tal.errors import AnnotationError

_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*", re.ASCII)
# decimal sign -> numbers that are written with it
_WRITTEN = {
    ",": re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)?(?:,\d*)?", re.ASCII),
    ".": re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?", re.ASCII),
}
# 1,500: a half more than one, or fifteen hundred
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
# 1 234 567 or 1'234'567: thousands, whatever the decimal sign is
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[ \u00a0\u202f'\u2019]\d{3})+(?:[.,]\d+)?", re.ASCII)
_MAX_TEXT = 60  # characters of a number that people write
_BETWEEN = str.maketrans("", "", " \u00a0\u202f'\u2019")


@dataclass(frozen=True)
class Decimals:
    """How a table writes numbers, told by all of them.

    Attributes
    ----------
    delimiter
        what separates the table's cells: where it is a semicolon or a tab, 1,500 is 1.5 unless another
        number says otherwise.
    comma, point
        whether some number can only be read with that decimal sign.
    """

    delimiter: str
    comma: bool
    point: bool

    @classmethod
    def told_by(cls, cells: Iterable[str], delimiter: str) -> Decimals:
        """What the numbers among ``cells`` say; others say nothing."""
        signs = {_sign(cell) for cell in cells}
        return cls(delimiter, comma="," in signs, point="." in signs)

    def plain(self, cell: str, where: str) -> str:
        """A number with a decimal point and nothing between thousands; what is not a number as it is.

        Raises
        ------
        AnnotationError
            the number can be read in two ways; the message begins with ``where``.
        """
        text = cell.strip()
        if len(text) > _MAX_TEXT:
            return text
        if _GROUPED.fullmatch(text):
            text = text.translate(_BETWEEN)
        if not ("," in text or self.comma) or not _NUMBER.fullmatch(text):
            return text
        sign = self._sign_of(text, where) if _EITHER.fullmatch(text) else _sign(text) or "."
        if not _WRITTEN[sign].fullmatch(text):
            return text
        return text.replace("." if sign == "," else ",", "").replace(",", ".")

    def _sign_of(self, text: str, where: str) -> str:
        """The decimal sign of a number that can be read in two ways."""
        own = "," if "," in text else "."
        if self.comma != self.point:
            sign = "," if self.comma else "."
            if sign == own or own == ",":
                return sign
        elif not self.comma and self.delimiter in ";\t":
            return own
        raise AnnotationError(
            f"{where}: {text!r} can be {text.replace(own, '.')} or {text.replace(own, '')}: write times with "
            "a decimal point, and nothing between thousands"
        )


def _sign(cell: str) -> str:
    """The decimal sign that a number must have; "" where nothing tells."""
    text = cell.strip()
    if len(text) > _MAX_TEXT:
        return ""
    if _GROUPED.fullmatch(text):
        text = text.translate(_BETWEEN)
        return "," if "," in text else "." if "." in text else ""
    if not _NUMBER.fullmatch(text):
        return ""
    commas, points = text.count(","), text.count(".")
    if commas and points:
        return "," if text.rfind(",") > text.rfind(".") else "."
    if commas > 1 or points > 1:
        return "." if commas else ","
    if commas + points == 0 or _EITHER.fullmatch(text):
        return ""
    return "," if commas else "."
