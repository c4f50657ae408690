"""The sections in their order, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    seconds
        that it should take on an H100, its process's start included; it is killed after twice as many.
    needs
        sections that must have run before, because it uses what they leave behind.
    module
        that has its ``run``.
    """

    name: str
    seconds: float
    needs: tuple[str, ...] = ()
    module: str = ""

    @property
    def limit_s(self) -> float:
        """Seconds after which it is killed."""
        return 2 * self.seconds

    @property
    def where(self) -> str:
        """Dotted name of its module."""
        return self.module or f"benchmarks.gpu.{self.name}"


SECTIONS = (
    Section("env", 10),
    Section("videos", 30),
    Section("equality", 60),
    Section("golden", 20),
    Section("steps", 120),
    Section("scaler", 40, ("videos",)),
    Section("resume", 120, ("videos",)),
    Section("extract", 150, ("videos",)),
    Section("memory", 100),
    Section("train", 100, ("videos",)),
    Section("plan", 90, ("memory",)),
    Section("predict", 40, ("videos",)),
)


def chosen_sections(sections: tuple[Section, ...], only: tuple[str, ...]) -> list[Section]:
    """The sections of these names and those that they need, in order; all where no name is given."""
    if not only:
        return list(sections)
    wanted = set(only)
    for section in reversed(sections):
        if section.name in wanted:
            wanted |= set(section.needs)
    return [section for section in sections if section.name in wanted]
