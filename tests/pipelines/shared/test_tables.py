"""Tables: nothing is cut at any width, and a pipe gets a line per row."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from pipelines.shared import console
from pipelines.shared.tables import build_table

WIDE = pd.DataFrame(
    {
        "video": ["video_0001_of_a_series_with_a_name_that_has_no_blank_in_it", "b"],
        "start_s": [1234.5678, 2.0],
        "end_s": [44.123456, 3.5],
        "rows": [123456789, 1],
        "AP (%)": ["44.12", "8.30 ± 1.20"],
        "encoder": ["timm:tf_efficientnet_lite0.in1k", "swin3d_b"],
        "label": ["climbing stairs very slowly", "日本語のラベル"],
        "a head of several words": ["x", "y"],
    }
)


def shown(frame, width, **options):
    terminal = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    terminal.print(build_table(frame, width, **options))
    return terminal.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_names_and_numbers_are_whole(width):
    text = shown(WIDE, width, title="A title", digits=2)
    assert all(cell_len(line.rstrip()) <= width for line in text.splitlines())
    assert "…" not in text
    for number in ("1234.57", "44.12", "123456789", "8.30 ± 1.20", "2.00"):
        assert re.search(rf"(?<![\w.]){re.escape(number)}(?![\w.])", text), number
    letters = re.sub(r"\s", "", text)
    for name in ("climbing", "日本語のラベル", "A title"):
        assert name.replace(" ", "") in letters


def test_a_folded_name_reads_on_in_its_column():
    frame = pd.DataFrame({"video": ["abcdefghijklmnopqrstuvwxyz" * 3], "rows": [7]})
    lines = shown(frame, 40).splitlines()[1:]
    assert "".join(line.split()[0] for line in lines) == frame["video"][0]
    assert [line.split()[-1] for line in lines if line.split()[-1].isdigit()] == ["7"]


def test_a_table_that_is_too_wide_is_turned():
    text = shown(WIDE, 60)
    assert text.count("start_s") == 2 and text.index("start_s") < text.index("1234.568")
    assert len(re.findall(r"^video ", text, flags=re.M)) == 2


def test_a_pipe_gets_a_line_per_row_and_no_box(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console.print_table(WIDE, title="[bold]T[/]")
    title, head, *rows = capsys.readouterr().out.splitlines()
    assert title == "[bold]T[/]" and len(rows) == len(WIDE)
    assert head.split()[:3] == ["video", "start_s", "end_s"]
    assert WIDE["video"][0] in rows[0] and "climbing stairs very slowly" in rows[0]
    assert not re.search("[━─│┃]", "".join(rows)) and all(line == line.rstrip() for line in rows)


def test_columns_without_rows_and_values_that_are_no_text():
    assert "video" in shown(pd.DataFrame({"video": [], "n": []}), 80)
    odd = pd.DataFrame({"a": [None, "x\x1b[31m\n"], "b": [float("nan"), np.float32(0.5)], "c": [True, 3]})
    text = shown(odd, 80)
    assert "\x1b" not in text and "nan" in text and "0.500" in text and "True" in text


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=90),
            st.integers(-(10**12), 10**12),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(30, 140),
)
@settings(max_examples=300, deadline=None)
def test_every_character_is_there(cells, width):
    frame = pd.DataFrame({"name of a thing": [c[0] for c in cells], "count": [c[1] for c in cells]})
    text = shown(frame, width)
    assert all(cell_len(line.rstrip()) <= width for line in text.splitlines())
    for _, number in cells:
        assert re.search(rf"(?<!\S){number}(?!\S)", text)
    upright = isinstance(build_table(frame, width), Table)
    heads = "".join("".join(frame.columns).split()) * (1 if upright else len(frame))
    cells_text = "".join(f"{name}{number}" for name, number in cells)
    assert sorted("".join(text.split())) == sorted(heads + cells_text)
