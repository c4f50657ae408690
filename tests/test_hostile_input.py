"""Everything that reads files of users, on broken and hostile ones: a message or a result, nothing else.

The targets are those of ``python -m benchmarks.fuzz``; with ``-m slow -s`` each gets thousands of inputs. The
readers of annotations have a fuzzing of their own (tests/tal/annotations/test_reader_fuzz.py).
"""

import os
import pickle

import pytest
from hypothesis import strategies as st

from benchmarks.fuzz.attacks import pickle_bomb
from benchmarks.fuzz.tally import Attack, Target, run
from benchmarks.fuzz.targets import TARGETS
from tal.errors import ConfigError


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "examples", [pytest.param(12, id="quick"), pytest.param(3000, id="thorough", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.timeout(3600)
def test_no_file_is_a_crash_or_leads_elsewhere(target, examples):
    tally = run(target, examples)
    print(
        f"\n{target.name}: {tally.inputs} inputs, {tally.refused} refused, {tally.accepted} accepted, "
        f"{len(tally.crashes)} crashes, {len(tally.outside)} outside; "
        f"the longest took {tally.longest_s:.2f} s"
    )
    assert tally.refused
    assert not tally.crashes
    assert not tally.outside


def _reads_what_it_should_not(folder):
    """A reader with every fault that is counted."""
    text = (folder / "a").read_bytes()
    if text == b"memory":
        bytearray(1 << 40)
    if text == b"outside":
        (folder.parent / "outside" / "a").read_bytes()
    if text == b"removes":
        os.unlink(folder.parent / "outside" / "a")
    if text == b"crash":
        raise KeyError("a")
    if text == b"silent":
        raise ConfigError
    if text == b"refused":
        raise ConfigError("no")
    if text.startswith(b"\x80"):
        pickle.loads(text)


def test_the_count_sees_what_is_wrong():
    def attack(content):
        def do(folder):
            (folder / "a").write_bytes(
                pickle_bomb(folder.parent / "ran") if content == b"pickle" else content
            )

        return Attack(content.decode(), do)

    def make(folder):
        (folder / "a").write_bytes(b"sound")

    for content, refused, crashes, outside in (
        (b"refused", 1, 0, 0),
        (b"fine", 0, 0, 0),
        (b"crash", 0, 1, 0),
        (b"silent", 0, 1, 0),
        (b"memory", 0, 1, 0),
        (b"outside", 0, 0, 1),
        (b"pickle", 0, 0, 2),
        (b"removes", 0, 0, 2),
    ):
        target = Target("t", make, st.just(attack(content)), _reads_what_it_should_not)
        tally = run(target, 1)
        counted = (tally.refused, len(tally.crashes), len(tally.outside))
        assert counted == (refused, crashes, outside), content
