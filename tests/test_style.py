"""The house rules of CONTRIBUTING.md that a machine can check, over all files of the four packages."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("featstore", "tal", "pipelines", "benchmarks")
FILES = [ROOT / "cli.py", *sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))]
GOOGLE_SECTION = re.compile(r"^\s*(Args|Arguments|Returns|Raises|Yields|Attributes):\s*$", re.M)
INDENTED_SECTION = re.compile(r"^ +(\w[\w ]*)\n *-{3,} *$", re.M)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SHORT_WORD = 12  # characters, the full stop included


def docstrings(path):
    """(line, docstring) of every one in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def paragraphs(text):
    """Lists of lines of one indentation, without NumPy's rules below headings and click's marks."""
    block = []
    for line in [*text.splitlines(), ""]:
        is_mark = re.fullmatch(r"\s*(-{3,}|\x08)\s*", line)
        if block and (is_mark or not line.strip() or indent_of(line) != indent_of(block[0])):
            yield block
            block = []
        if line.strip() and not is_mark:
            block.append(line)


def indent_of(line):
    return len(line) - len(line.lstrip())


def hanging_words(text):
    """Short words that are alone on the last line of a paragraph."""
    for block in paragraphs(text):
        word = block[-1].strip()
        if len(block) > 1 and " " not in word and len(word) <= SHORT_WORD:
            yield word


def faults(check):
    return [
        f"{path.relative_to(ROOT)}:{line}: {item}"
        for path in FILES
        for line, text in docstrings(path)
        for item in check(text)
    ]


def test_docstrings_have_no_google_sections():
    assert faults(lambda text: GOOGLE_SECTION.findall(text)) == []


def test_sections_of_docstrings_are_not_indented():
    assert faults(INDENTED_SECTION.findall) == []


def test_no_short_word_hangs_alone_at_the_end_of_a_docstrings_paragraph():
    assert faults(hanging_words) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One line.", []),
        ("A line that is full to its end and\nmore.", ["more."]),
        ("First.\n\nA second paragraph whose end\nhangs.\n\nThird.", ["hangs."]),
        ("Title.\n\nParameters\n----------\nname\n    its meaning, told in two\n    lines.", ["lines."]),
        ("Title.\n\nRaises\n------\nValueError\n    a value is wrong.\nTypeError\n    a type is.", []),
        ("Title.\n\n\b\nExample:\n  longtal init", []),
        ("A line and\n`tal.annotations.ids.match_ids`.", []),
    ],
)
def test_hanging_words_are_found(text, expected):
    assert list(hanging_words(text)) == expected


def test_google_sections_are_found():
    assert GOOGLE_SECTION.findall("Title.\n\nArgs:\n    x: a value.\n\nRaises:\n    ValueError: no.") == [
        "Args",
        "Raises",
    ]


def test_indented_sections_are_found():
    section = "Raises\n------\nValueError\n    a value is wrong."
    assert INDENTED_SECTION.findall(f"Title.\n\nText.\n\n{section}") == []
    assert INDENTED_SECTION.findall("Title.\n\nText.\n\n    Raises\n    ------\n    ValueError") == ["Raises"]


def test_imports_are_absolute():
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
