"""Imports point one way: cli -> pipelines -> tal -> featstore, and never in a circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "featstore": {"torch", "torchvision", "timm", "tal", "pipelines", "cli"},
    "tal": {"pipelines", "cli"},
    "pipelines": {"cli"},
}
WITHOUT_CIRCLES = ["featstore", "pipelines"]


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


def import_graph(root: Path, package: str) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, in functions and under TYPE_CHECKING included."""
    files = {}
    for path in (root / package).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in files.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {name if name in files else node.module for name in inner}
        graph[module] = (names & files.keys()) - {module}
    return graph


def circle(graph: dict[str, set[str]]) -> set[str]:
    """Modules left when those that import none, or that none imports, are taken away again and again."""
    left = {module: set(imports) for module, imports in graph.items()}
    while left:
        imported = set().union(*left.values())
        free = {module for module, imports in left.items() if not imports or module not in imported}
        if not free:
            break
        left = {module: imports - free for module, imports in left.items() if module not in free}
    return set(left)


@pytest.mark.parametrize("package", WITHOUT_CIRCLES)
def test_no_imports_in_a_circle(package):
    graph = import_graph(ROOT, package)
    assert len(graph) > 1
    assert not circle(graph)


def test_the_check_sees_a_circle(tmp_path):
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "till.py").write_text("from shop.coin import Coin\nfrom shop import purse\n")
    (package / "purse.py").write_text("import os\n")
    (package / "door.py").write_text("import shop.till\n")
    (package / "coin.py").write_text("def f():\n    from shop import till\n")
    assert circle(import_graph(tmp_path, "shop")) == {"shop.till", "shop.coin"}


def test_no_file_is_longer_than_it_reads_well():
    long = {
        str(f.relative_to(ROOT)): n
        for package in (*FORBIDDEN, "tests", "benchmarks")
        for f in (ROOT / package).rglob("*.py")
        if (n := len(f.read_text().splitlines())) > 500
    }
    assert not long
