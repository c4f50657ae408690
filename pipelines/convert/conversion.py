"""What a conversion made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Conversion:
    """The model folder that was made, facts about the model, and settings that had to be assumed."""

    folder: Path
    decoder: str
    parameters: int
    channels: int
    classes: int
    assumed: tuple[str, ...]
