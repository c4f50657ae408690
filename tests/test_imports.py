"""Imports point one way: cli -> pipelines -> tal -> featstore."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "featstore": {"torch", "torchvision", "timm", "tal", "pipelines", "cli"},
    "tal": {"pipelines", "cli"},
    "pipelines": {"cli"},
}


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_import_points_upwards(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {
        str(f.relative_to(ROOT)): sorted(imported_packages(f) & FORBIDDEN[package])
        for f in files
        if imported_packages(f) & FORBIDDEN[package]
    }
    assert not wrong


def test_the_check_sees_a_forbidden_import(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from tal.grid import ClipGrid\n    import torch.nn\n")
    assert imported_packages(bad) & FORBIDDEN["featstore"] == {"tal", "torch"}


def test_no_file_is_longer_than_it_reads_well():
    long = {
        str(f.relative_to(ROOT)): n
        for package in (*FORBIDDEN, "tests", "benchmarks")
        for f in (ROOT / package).rglob("*.py")
        if (n := len(f.read_text().splitlines())) > 500
    }
    assert not long
