"""Moments of a video as text."""

from __future__ import annotations


def clock(seconds: float, hours: bool | None = None) -> str:
    """Whole seconds as h:mm:ss, or m:ss below an hour; ``hours`` fixes which."""
    whole = round(seconds)
    full, rest = divmod(whole, 3600)
    if hours if hours is not None else full:
        return f"{full}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"
