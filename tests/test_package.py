"""What a built package holds: the code and its presets, no tests."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("featstore", "tal", "pipelines", "tests", "cli.py", "pyproject.toml", "MANIFEST.in", "README.md")


def test_built_packages_hold_the_code_and_no_tests(tmp_path):
    pytest.importorskip("setuptools", reason="builds with setuptools")
    source, out = tmp_path / "source", tmp_path / "out"
    for name in (*PARTS, "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    code = f"import setuptools.build_meta as b; b.build_sdist({str(out)!r}); b.build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
    with tarfile.open(sdist) as archive:
        packed = [name.partition("/")[2] for name in archive.getnames()]
    for names in (held, packed):
        assert {"cli.py", "tal/inference/detector.py", "pipelines/presets/gym.yaml"} <= set(names)
        assert not [name for name in names if name.startswith("tests")]
