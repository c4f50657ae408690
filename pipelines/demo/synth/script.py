"""The script: subsets by person, labels dealt evenly, and the sequence of actions of each video."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipelines.demo.synth.actions import ACTIONS, BACKGROUND, BY_NAME, LABELS, Action
from pipelines.demo.synth.config import LABELS as LABEL_STREAM
from pipelines.demo.synth.config import SUBSETS, VIDEO, SynthConfig

# Lengths in seconds; one distribution for all actions, so that a length tells nothing about the class.
ACTION_S = (2.0, 4.2)
IDLE_S = (0.6, 1.6)
BACKGROUND_SHARE = 0.25  # of the pauses hold an unlabelled action
BLEND_S = 0.3


@dataclass(frozen=True)
class Event:
    """One action of a video, [start_s, end_s)."""

    action: str
    start_s: float
    end_s: float
    cycles: int
    mirrored: bool
    yaw: float

    @property
    def labelled(self) -> bool:
        return BY_NAME[self.action].labelled


@dataclass(frozen=True)
class VideoPlan:
    """Everything about one video but its pictures."""

    index: int
    id: str
    person: int
    subset: str
    num_frames: int
    events: tuple[Event, ...]


def plan(config: SynthConfig) -> list[VideoPlan]:
    """Plans of all videos. Persons belong to one subset each; with three persons every subset has one."""
    persons = max(min(config.videos, 3), math.ceil(config.videos / config.videos_per_person))
    subset_of = _subsets(config, persons)
    decks = {name: _Deck(config, i) for i, name in enumerate(("training", "validation", "test"))}
    plans = []
    for index in range(config.videos):
        person = index % persons
        plans.append(_plan_video(config, index, person, subset_of[person], decks[subset_of[person]]))
    return plans


def _subsets(config: SynthConfig, persons: int) -> list[str]:
    test = max(round(persons * config.test_share), int(config.test_share > 0 and persons >= 2))
    validation = max(
        round(persons * config.validation_share), int(config.validation_share > 0 and persons >= 3)
    )
    validation, test = min(validation, persons - 1), min(test, persons - 1)
    validation = min(validation, persons - 1 - test)
    names = ["validation"] * validation + ["test"] * test
    names = ["training"] * (persons - len(names)) + names
    return [names[i] for i in config.rng(SUBSETS).permutation(persons)]


class _Deck:
    """Labels in shuffled rounds of all: every class is equally common in a subset."""

    def __init__(self, config: SynthConfig, subset: int) -> None:
        self._rng = config.rng(LABEL_STREAM, subset)
        self._cards: list[str] = []

    def draw(self) -> str:
        if not self._cards:
            self._cards = [LABELS[i] for i in self._rng.permutation(len(ACTIONS))]
        return self._cards.pop()


def _plan_video(config: SynthConfig, index: int, person: int, subset: str, deck: _Deck) -> VideoPlan:
    rng = config.rng(VIDEO, index, 0)
    num_frames = round(config.seconds * rng.uniform(0.8, 1.2) * config.fps)
    duration_s = num_frames / config.fps
    speed = rng.uniform(0.85, 1.2)
    events: list[Event] = []
    now = rng.uniform(0.5, IDLE_S[1])
    while True:
        if rng.random() < BACKGROUND_SHARE:
            action = BACKGROUND[rng.integers(len(BACKGROUND))]
            event = _event(rng, action, now, rng.uniform(*ACTION_S), speed)
            if event.end_s > duration_s - 0.5:
                break
            events.append(event)
            now = event.end_s + rng.uniform(*IDLE_S)
        length = rng.uniform(*ACTION_S)
        if now + length > duration_s - 0.5:
            break
        events.append(_event(rng, BY_NAME[deck.draw()], now, length, speed))
        now = events[-1].end_s + rng.uniform(*IDLE_S)
    return VideoPlan(index, f"video_{index:04d}", person, subset, num_frames, tuple(events))


def _event(rng: np.random.Generator, action: Action, start_s: float, length_s: float, speed: float) -> Event:
    period = action.period_s / speed * rng.uniform(0.85, 1.15)
    cycles = max(1, round(length_s / period)) if period else 1
    return Event(
        action.name,
        round(start_s, 3),
        round(start_s + length_s, 3),
        cycles,
        bool(rng.random() < 0.5),
        float(rng.uniform(-20, 20)),
    )
