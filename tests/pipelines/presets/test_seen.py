"""What `longtal presets` says that presets were seen to give."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import cli
from pipelines.presets import list_presets
from pipelines.presets.seen import NOT_SEEN, SEEN

ROOT = Path(__file__).resolve().parents[3]


def test_every_preset_is_listed_with_what_it_was_seen_to_give():
    rows = json.loads(CliRunner().invoke(cli, ["presets", "--json"]).stdout)
    seen = {row["name"]: row["seen"] for row in rows}
    assert SEEN.keys() <= seen.keys() == list_presets().keys()
    assert seen["gym"] == SEEN["gym"] and seen["tallformer/thumos14"] == NOT_SEEN


@pytest.mark.parametrize("name", SEEN)
def test_figures_are_those_of_the_documents(name):
    figures = re.findall(r"\b0\.\d+(?: ± 0\.\d+)?", SEEN[name].partition("mAP")[2])
    documents = "".join((ROOT / f).read_text() for f in ("docs/results.md", "README.md"))
    assert figures and all(figure in documents for figure in figures)
