"""What docs/review.md promises of security names tests that are there, and its keys are those of the page."""

import re
from pathlib import Path

from tests.test_design_docs import NAMED, ROOT, missing


def test_each_line_of_the_security_list_names_its_tests():
    text = (ROOT / "docs" / "review.md").read_text()
    table = text[text.index("## Security") :]
    lines = [line for line in table.splitlines() if line.startswith("| ") and "| what |" not in line]
    assert len(lines) >= 10 and all(NAMED.search(line) for line in lines)
    assert missing(text) == []


def test_every_key_of_the_page_is_in_the_docs():
    text = (ROOT / "docs" / "review.md").read_text()
    told = set(re.findall(r"`([^`]{1,5})`", text[text.index("## Keys") : text.index("## Two tabs")]))
    script = (Path(ROOT) / "pipelines" / "review" / "page" / "controls.js").read_text()
    keys = set(re.findall(r'^  \["([^"]+)", (?:null|")', script, re.M))
    assert len(keys) > 30
    assert {key.replace("−", "-") for key in keys} - told == set()
