"""The scripts of docs/cluster: they parse, and run dry; what they call is what these programs take."""

import contextlib
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

import cli

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "docs" / "cluster").glob("*"))
# Options of srun that the scripts use; what follows them is the command.
SRUN = r"--(nodes|ntasks|ntasks-per-node|nodelist)=.+|--overlap"
STUBS = {
    "srun": f"""while [[ "$1" =~ ^({SRUN})$ ]]; do shift; done; exec "$@" """,
    "hostname": "echo 10.0.0.1 fe80::1",
    "longtal": 'exit "$(cat "$STUBS/code.$2" 2>/dev/null || cat "$STUBS/code.$1" 2>/dev/null || echo 0)"',
    "scontrol": '[ "$1" = show ] && printf "node1\\nnode2\\n" || true',
    "ray": "",
    "torchrun": '[ -z "${LIMIT:-}" ] || { kill -USR1 "$PPID"; sleep 0.5; }',
    "accelerate": "",
}
ENVIRONMENT = {
    "VIDEOS": "/data/my clips",
    "ANNOTATIONS": "/data/anno.json",
    "PLACE": "s3://bucket/gym",
    "STORE": "/local/gym.zarr",
    "CONFIG": "run.yaml",
    "OUT": "/shared/run",
    "GENERATION": "3",
    "PARTS": "2",
    "RAY_START_S": "0",
    "SLURM_JOB_ID": "7",
    "SLURM_ARRAY_JOB_ID": "7",
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_CPUS_PER_TASK": "8",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "0",
}


@pytest.fixture
def dry(tmp_path):
    """``dry(script, code=…, VARIABLE=…)``: (exit code, command lines of all programs that it called)."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name, body in STUBS.items():
        log = f'printf "%s\\n" "$(printf "%q " {name} "$@")" >> "$STUBS/calls"\n' if name != "srun" else ""
        (stubs / name).write_text(f"#!/bin/bash\n{log}{body}\n")
        (stubs / name).chmod(0o755)

    def run(script, codes=(), **more):
        (stubs / "calls").unlink(missing_ok=True)
        for command, code in dict(codes).items():
            (stubs / f"code.{command}").write_text(str(code))
        environment = {
            "PATH": f"{stubs}:{os.environ['PATH']}",
            "STUBS": str(stubs),
            "TMPDIR": str(tmp_path),
            **ENVIRONMENT,
            **more,
        }
        done = subprocess.run(
            ["bash", str(ROOT / "docs" / "cluster" / script)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        calls = (stubs / "calls").read_text().splitlines() if (stubs / "calls").exists() else [done.stderr]
        return done.returncode, [shlex.split(call) for call in calls]

    return run


def require_taken(words):
    """What `longtal` itself says of a command line, without running it; launchers are asked as well."""
    program, *rest = words
    if program == "torchrun":
        from torch.distributed.run import get_args_parser

        parsed = get_args_parser().parse_args(rest)
        assert parsed.no_python and parsed.training_script == "longtal"
        require_taken([parsed.training_script, *parsed.training_script_args])
    elif program == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        parsed = launch_command_parser().parse_args(rest[1:])
        assert parsed.no_python and parsed.training_script == "longtal"
        require_taken([parsed.training_script, *parsed.training_script_args])
    elif program == "ray":
        # apart: Ray reads how it listens once a process, when it is imported, and other tests say how
        code = (
            "import sys; from ray.scripts.scripts import cli; "
            "from tests.pipelines.test_cluster import context; context(cli, sys.argv[1:])"
        )
        asked = subprocess.run([sys.executable, "-c", code, *rest], cwd=ROOT, capture_output=True, text=True)
        assert asked.returncode == 0, asked.stderr
    elif program == "longtal":
        context(cli.cli, rest)


def context(command, words):
    """The context of a click command, groups entered; a usage error where it does not take the words."""
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(click.Context(command), name)
        assert command is not None, name
    with contextlib.closing(command.make_context(command.name, list(words))) as made:
        return made.params


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_parses_it(script):
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    text = script.read_text()
    assert "set -euo pipefail" in text and not script.stat().st_mode & stat.S_IXOTH
    page = (ROOT / "docs" / "cluster.md").read_text()
    assert f"cluster/{script.name}" in page, "docs/cluster.md does not speak of it"
    # what a user has to say is said in the head
    for name in re.findall(r"\$\{(\w+):\?", text):
        assert f"{name}=" in text.split("#SBATCH")[0], f"{script.name}: {name} is not in its example"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_it_runs_dry_and_calls_what_is_there(script, dry):
    code, calls = dry(script.name)
    assert code == 0 and any("longtal" in call for call in calls), calls
    for call in calls:
        require_taken(call)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_is_not_said_is_asked_for(script, dry):
    for name in re.findall(r"\$\{(\w+):\?", script.read_text()):
        code, calls = dry(script.name, **{name: ""})
        assert code != 0 and not any("longtal" in call for call in calls)


def programs(calls, program="longtal"):
    return [call[1:] for call in calls if call[0] == program]


def test_a_task_of_the_array_has_its_part_and_its_place(dry, tmp_path):
    code, calls = dry("extract_array.sbatch", EXTRACT_OPTIONS="--config run.yaml --batch 64")
    pull, extract, push = programs(calls)
    assert code == 0 and not programs(calls, "scontrol")
    store = f"{tmp_path}/7/part2.zarr"
    assert pull == ["store", "pull", "s3://bucket/gym/part2", store]
    assert push == ["store", "push", store, "s3://bucket/gym/part2"]
    assert (
        extract[extract.index("--part") + 1] == "2/4"
        and extract[extract.index("--videos") + 1] == "/data/my clips"
    )
    assert extract[-4:] == ["--config", "run.yaml", "--batch", "64"]


@pytest.mark.parametrize(
    ("code", "pushed", "queued_again"), [(0, 1, 0), (1, 1, 0), (130, 1, 1), (2, 0, 0), (137, 0, 0)]
)
def test_how_an_extraction_ended_decides(dry, code, pushed, queued_again):
    ended, calls = dry("extract_array.sbatch", {"extract": code})
    assert ended == code
    assert sum(call[:2] == ["store", "push"] for call in programs(calls)) == pushed
    assert programs(calls, "scontrol") == [["requeue", "7_2"]] * queued_again


def test_the_first_attempt_has_nothing_to_pull(dry):
    code, calls = dry("extract_array.sbatch", {"pull": 2})
    assert code == 0 and [call[0] for call in programs(calls)] == ["store", "extract", "store"]


def test_parts_are_merged_and_brought_to_their_place(dry):
    _, calls = dry("merge.sbatch", PARTS="3")
    *pulls, merge, push = programs(calls)
    assert [pull[2] for pull in pulls] == [f"s3://bucket/gym/part{n}" for n in (1, 2, 3)]
    assert merge[2:5] == [pull[3] for pull in pulls] and push[3] == "s3://bucket/gym/all"
    code, calls = dry("merge.sbatch", {"merge": 2})
    assert code == 2 and programs(calls)[-1][1] == "merge"  # half a store is not pushed


def test_ray_is_guarded_by_a_token_and_begins_before_the_command(dry):
    code, calls = dry("extract_ray.sbatch")
    starts = programs(calls, "ray")
    assert code == 0 and len(starts) == 2
    head = next(start for start in starts if "--head" in start)
    assert head[head.index("--node-ip-address") + 1] == "10.0.0.1"
    assert ["start", "--address", "10.0.0.1:6379", "--block"] in starts
    assert "RAY_AUTH_MODE=token" in (ROOT / "docs/cluster/extract_ray.sbatch").read_text()
    extract = next(call for call in programs(calls) if call[0] == "extract")
    assert extract[extract.index("--ray") + 1] == "auto"


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_training_goes_on_and_names_its_generation(dry, launcher):
    _, calls = dry("train.sbatch", LAUNCHER=launcher)
    (launch,) = programs(calls, launcher)
    train = launch[launch.index("longtal") + 1 :]
    assert "--resume" in train and train[train.index("--store") + 1] == "s3://bucket/gym"
    assert "data.store_generation=3" in train and "4" in launch
    require_taken([launcher, *launch])


def test_training_is_queued_again_at_its_time_limit(dry):
    """SLURM's signal reaches the script while the processes still work."""
    code, calls = dry("train.sbatch", LIMIT="1")
    assert code != 0 and programs(calls, "scontrol") == [["requeue", "7"]]
    assert programs(dry("train.sbatch")[1], "scontrol") == []
