"""What architecture and decision records name is there: `file.py:name`; among the tests `file.py::name`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECORDS = sorted((ROOT / "docs" / "design").glob("[0-9]*.md"))
NAMED = re.compile(r"`([\w./-]+\.py)(::?)(\w[\w.]*)`")


def defined(path: Path) -> set[str]:
    """Names of a module's functions, classes and values, and Class.name for those of its classes."""
    names: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{node.name}.")

    collect(ast.parse(path.read_text()).body, "")
    return names


def missing(text: str) -> list[str]:
    """Names in a text that no file defines; a test must be one that pytest collects."""
    gone = []
    for file, mark, name in NAMED.findall(text):
        path = ROOT / file
        is_test = path.name.startswith("test_") and name.lower().startswith("test")
        if not path.is_file() or name not in defined(path) or (mark == "::" and not is_test):
            gone.append(f"{file}{mark}{name}")
    return gone


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_what_a_record_names_is_there(record):
    text = record.read_text()
    assert missing(text) == []
    assert {mark for _, mark, _ in NAMED.findall(text)} == {":", "::"}
    for section in ("Problem", "Decision", "Why not otherwise", "Drawbacks", "Invariants"):
        assert f"\n## {section}\n" in text
    assert f"({record.name})" in (record.parent / "README.md").read_text()


def test_what_the_architecture_names_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert missing(text) == []
    life = text[text.index("## The life of a row") : text.index("## What must stay true")]
    steps = re.findall(r"^\d+\. ", life, flags=re.M)
    assert len(steps) > 10 and len(NAMED.findall(life)) >= len(steps)


def test_there_are_records_and_the_check_sees_what_is_not_there():
    assert RECORDS
    text = (
        "`featstore/files.py:FileOps.sync` `featstore/files.py:FileOps.sink` `featstore/fils.py:FileOps` "
        "`tests/test_design_docs.py::test_what_a_record_names_is_there` `tests/test_design_docs.py::missing`"
    )
    assert missing(text) == [
        "featstore/files.py:FileOps.sink",
        "featstore/fils.py:FileOps",
        "tests/test_design_docs.py::missing",
    ]
