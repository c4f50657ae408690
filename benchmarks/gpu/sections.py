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
    Section("videos", 20),
    Section("equality", 45),
    Section("golden", 15),
    Section("steps", 40),
    Section("scaler", 20, ("videos",)),
    Section("resume", 45, ("videos",)),
    Section("extract", 60, ("videos",)),
    Section("memory", 70),
    Section("train", 70, ("videos",)),
    Section("plan", 60, ("memory",)),
    Section("predict", 25, ("videos",)),
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
