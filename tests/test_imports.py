"""The walls of the house: imports point one way, between packages and between the floors inside them.

Every import counts: at the top of a module, inside functions, under ``TYPE_CHECKING``.
"""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "featstore": {"torch", "torchvision", "timm", "tal", "pipelines", "cli"},
    "tal": {"pipelines", "cli"},
    "pipelines": {"cli"},
}
# From the top down; a part imports from the floors below its own, and from no other part of its own floor.
FLOORS = {
    "tal": (
        ("inference", "memory", "review"),
        ("encoders", "plot"),
        ("localizer", "video", "released", "metrics"),
        ("decoders", "annotations"),
        ("suppression", "grid", "device"),
        ("losses", "config", "shared"),
        ("errors",),
    ),
    "pipelines": (
        ("commands",),
        ("demo",),
        ("init",),
        ("budget",),
        ("train", "review"),
        ("extract", "report"),
        ("data", "store", "evaluate", "predict", "push", "plot", "convert", "encoders"),
        ("config",),
        ("actors",),
        ("presets", "shared"),
    ),
}
LOOSE = {"tal": 4, "pipelines": 2}


def module_name(path, root=ROOT):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path):
    """Dotted names that a file imports, wherever it does; ``from a import b`` gives ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative imports are not used here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(root=ROOT, packages=tuple(FORBIDDEN)):
    """Module -> modules of the packages that it imports; the most exact name where there are several."""
    files = {module_name(path, root): path for package in packages for path in (root / package).rglob("*.py")}
    graph = {}
    for name, path in files.items():
        found = {other for other in imported_names(path) if other in files and other != name}
        # `from a.b import c` names the package a.b too: that import is of c where c is a module
        graph[name] = {
            other for other in found if not any(inner.startswith(f"{other}.") for inner in found)
        } | {other for other in found if files[other].name != "__init__.py"}
    return graph


def circles(graph):
    """Groups of modules that reach each other (Tarjan's strongly connected components of two or more)."""
    order, low, stack, groups = {}, {}, [], []

    def visit(name):
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in graph:
        if name not in order:
            visit(name)
    return groups


def arrows_against_the_floors(graph, package, floors):
    """``a -> b`` between parts of a package where b does not lie on a lower floor than a."""
    level = {part: number for number, floor in enumerate(floors) for part in floor}
    wrong = defaultdict(set)
    for name, others in graph.items():
        for other in others:
            here, there = name.split(".")[:2], other.split(".")[:2]
            inside = here[0] == there[0] == package and len(here) == len(there) == 2
            if inside and here != there and level[there[1]] <= level[here[1]]:
                wrong[name].add(other)
    return dict(wrong)


@pytest.fixture(scope="module")
def graph():
    return import_graph()


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_import_points_upwards(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {}
    for file in files:
        roots = {name.split(".")[0] for name in imported_names(file)}
        if bad := roots & FORBIDDEN[package]:
            wrong[str(file.relative_to(ROOT))] = sorted(bad)
    assert not wrong


def test_no_modules_import_each_other_in_a_circle(graph):
    assert circles(graph) == []


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_every_part_stands_on_a_floor(package):
    parts = {p.stem for p in (ROOT / package).glob("*.py")} | {
        p.parent.name for p in (ROOT / package).glob("*/__init__.py")
    }
    assert parts - {"__init__"} == {part for floor in FLOORS[package] for part in floor}


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_no_arrow_against_the_floors(graph, package):
    assert arrows_against_the_floors(graph, package, FLOORS[package]) == {}


@pytest.mark.parametrize("package", sorted(LOOSE))
def test_few_modules_lie_loose(package):
    loose = [p.name for p in (ROOT / package).glob("*.py") if p.name != "__init__.py"]
    assert len(loose) <= LOOSE[package], loose


def test_the_checks_see_what_is_wrong(tmp_path):
    low, high = tmp_path / "p" / "low", tmp_path / "p" / "high"
    for folder in (low, high):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    (tmp_path / "p" / "__init__.py").write_text("")
    (high / "a.py").write_text("from p.low import b\n")
    (low / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.high.a import X\n"
    )
    graph = import_graph(tmp_path, ("p",))
    assert circles(graph) == [["p.high.a", "p.low.b"]]
    assert arrows_against_the_floors(graph, "p", (("high",), ("low",))) == {"p.low.b": {"p.high.a"}}
    (low / "b.py").write_text("def f():\n    import p.high.a\n    import torch.nn\n")
    assert "torch.nn" in set(imported_names(low / "b.py"))
    assert circles(import_graph(tmp_path, ("p",))) == [["p.high.a", "p.low.b"]]
    (low / "b.py").write_text("import math\n")
    assert circles(import_graph(tmp_path, ("p",))) == []


def test_no_file_is_longer_than_it_reads_well():
    long = {
        str(f.relative_to(ROOT)): n
        for package in (*FORBIDDEN, "tests", "benchmarks")
        for f in (ROOT / package).rglob("*.py")
        if (n := len(f.read_text().splitlines())) > 500
    }
    assert not long
