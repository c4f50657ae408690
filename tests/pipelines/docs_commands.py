"""Every command that README and docs tell: found in the text, and made tiny enough to run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("longtal", "python", "make", "torchrun", "grep", "eval", "_LONGTAL_COMPLETE=fish_source")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


@dataclass(frozen=True)
class Told:
    """A command as a page tells it; ``inline``: within a sentence, where it may leave things out."""

    page: str
    text: str
    inline: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """(language, content) of each code block."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.S | re.M)


def told() -> list[Told]:
    """Commands in the order of the pages; a bare name (`longtal train`) is no command."""
    found: dict[tuple[str, str], Told] = {}
    for page in PAGES:
        for language, block in fences(page):
            if language in ("", "sh", "bash"):
                for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                    line = line.strip().removeprefix("$ ").removeprefix("CUDA_VISIBLE_DEVICES=$gpu ")
                    text = re.sub(r"\s+", " ", re.sub(r"(\s+#.*|\s+&\s*)$", "", line)).strip()
                    if text and not is_drawing(text) and not re.fullmatch(r"for .*; do|done|wait", text):
                        found.setdefault((page.name, text), Told(page.name, text, inline=False))
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
        for span in re.findall(r"`([^`]+)`", prose):
            text = " ".join(span.split())
            if text.split()[0] in PROGRAMS and not is_name(text):
                found.setdefault((page.name, text), Told(page.name, text, inline=True))
    return list(found.values())


def is_drawing(line: str) -> bool:
    """A line of a diagram."""
    return bool(re.search(r"[─→│┬┴├└▼►]", line))


def is_name(text: str) -> bool:
    """`longtal`, `longtal store copy`, `longtal store info | verify | …`: only names of commands."""
    import click

    import cli

    program, *words = text.replace("|", " ").split()
    if program != "longtal":
        return not words
    group: click.Command | None = cli.cli
    for word in words:
        if not isinstance(group, click.Group):
            return False
        child = group.get_command(click.Context(group), word)
        if child is None:
            return False
        if not isinstance(child, click.Group) and "|" in text:
            continue  # the next alternative
        group = child
    return True


_DATA = "--set data.annotations=anno.json --set data.videos=clips --set data.store=gym.zarr"

# What stands for something else in the docs -> what the world of the tests has. In this order.
MEANS = [
    ("cli.py COMMAND", "cli.py evaluate --help"),
    ("longtal --quiet COMMAND …", "longtal --quiet presets"),
    ("longtal --debug COMMAND …", "longtal --debug presets"),
    ("longtal COMMAND", "longtal evaluate"),
    ("longtal presets NAME", "longtal presets gym"),
    ("--device cuda ", "--device cpu "),
    ("--precision fp16", "--precision fp32"),
    ("train.precision=bf16", "train.precision=fp32"),  # accelerate holds one precision a process
    ("YAML|PRESET", "gym"),
    ("--set key=value …", _DATA),
    ("[--store PATH]", "--store gym.zarr"),
    ("data.annotations=…", "data.annotations=anno.json"),
    ("data.videos=…", "data.videos=clips"),
    ("data.store=…", "data.store=gym.zarr"),
    ("--set …", _DATA),
    ("--ray local", "--actors 1 --ray local"),
    ("--ray auto", "--actors 1 --ray local"),
    ("extract … --actors", "extract --videos clips --annotations anno.json --store OUT --actors"),
    ("extract … --part", "extract --videos clips --annotations anno.json --part"),
    ("convert CKPT --from tridet …", "convert epoch_040.pth.tar --from tridet --out OUT"),
    ("--annotations FILE", "--annotations labels.csv"),
    ("--videos DIR --", "--videos clips --"),
    ("predict DIR --", "predict clips --"),
    ("prepare --videos DIR", "prepare --videos clips"),
    ("check --annotations labels.csv --videos DIR", "check --annotations labels.csv --videos clips"),
    ("--videos clips --out DIR", "--videos clips --out OUT"),
    ("study hapt --data DIR", "study hapt --data hapt"),
    ("demo --out DIR", "demo --out OUT"),
    ("--seed N", "--seed 1"),
    ("pack features.zarr s3://bucket/gym", "pack features.zarr OUT"),
    ("unpack s3://bucket/gym", "unpack packed.zarr"),
    ("push features.zarr s3://bucket/gym-store", "push features.zarr OUT"),
    ("push all.zarr s3://bucket/gym-store", "push features.zarr OUT"),
    ("status all.zarr", "status features.zarr"),
    ("split all.zarr", "split features.zarr"),
    ("status STORE", "status features.zarr"),
    ("pull s3://bucket/gym-store", "pull pushed.zarr"),
    ("--store s3://bucket/gym-store", "--store pushed.zarr"),
    ("--features s3://bucket/i3d --store i3d.zarr", "--features hapt/features --store OUT"),
    ('--to hf:me/gym --private --dataset "our gym"', "--to hf:me/gym --dry-run"),
    ("--model hf:me/gym", "--model RUN"),
    ("RUN/memory.zarr", "runs/gym/memory.zarr"),
    ("--nproc-per-node 4", "--nproc-per-node 2"),
    ("--nproc-per-node 8", "--nproc-per-node 2"),
    ("--kills 200", "--kills 3"),
]

_ENCODER = [
    "name=timm:test_efficientnet",
    "weights=null",
    "clip_frames=4",
    "frame_stride=2",
    "size=40",
    "crop=32",
]
_STORED = [
    *(
        "data.fps=8",
        "window.num_rows=32",
        "window.mode=random",
        "localizer.downsample=1",
        "localizer.tcm.layers=0",
    ),
    *(
        "localizer.decoder.name=actionformer",
        "localizer.decoder.embed_dim=16",
        "localizer.decoder.head_dim=16",
    ),
    *("localizer.decoder.levels=3", "localizer.decoder.heads=2", "localizer.decoder.window=5"),
    *("train.epochs=1", "train.batch_size=2", "train.device=cpu", "train.seed=0", "train.checkpoint_every=0"),
]
_TINY = [
    *_STORED,
    *(f"encoder.{setting}" for setting in _ENCODER),
    *("data.max_frames=0", "memory.ratio=0.25"),
    *("memory.warmup_epochs=0", "memory.finetune_localizer_epochs=0"),  # of one epoch nothing can be left
]


def translated(text: str) -> str:
    """A command as the tests can run it: nothing stands for something else any more."""
    for said, meant in MEANS:
        text = text.replace(said, meant)
    return re.sub(r"([\w-]+)(\|[\w-]+)+", r"\1", text)  # of alternatives the first


def _sets(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def tiny(words: list[str]) -> list[str]:
    """Options that make a `longtal` command a matter of a second; the last of two equal options counts."""
    name = words[0] if words else ""
    if name == "train" and "--resume" not in words:
        return [*words, *_sets(_STORED if "hapt" in words else _TINY)]
    if name == "extract" and "--config" not in words:
        small = ["--encoder", "timm:test_efficientnet", "--weights", "random", "--size", "40", "--crop", "32"]
        return [*words, *small, "--workers", "0"]
    more = {
        "extract": ["--workers", "0"],
        "init": ["--encoder", "timm:test_efficientnet", "--no-estimate"],
        "plan": ["--steps", "2", *_sets(["encoder.checkpointing=false"])],
        "synth": ["--videos", "3", "--seconds", "8", "--size", "32"],
        "demo": ["--videos", "8", "--seconds", "8", *_sets([*_TINY, "train.validate_from=0"])],
        "study": [
            *_sets([*(_STORED if "hapt" in words else _TINY)]),
            *("--seeds", "1"),
            *(["--only", "actionformer", "--only", "tridet"] if "hapt" in words else []),
        ],
        "report": ["--port", "0", "--no-open"],
        "review": ["--port", "0", "--no-open"],
    }.get(name, [])
    return [*words, *more]
