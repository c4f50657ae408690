"""`longtal plan` finds the largest that fits, in few looks; the probe trains for real."""

import json

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.budget.plan import Plan, PlanError, fits, largest, parse_bytes, plan
from pipelines.budget.probe import measure
from pipelines.budget.probe_process import Probe, ratio_of
from pipelines.commands.plan import command
from pipelines.config import load_config, parse_config
from tal.errors import ConfigError
from tal.memory.clip_sampling import num_sampled

TINY = {
    "data": {"videos": "videos", "store": "rows.zarr", "fps": 5},
    "encoder": {"clip_frames": 4, "size": 32, "crop": 32},
    "window": {"num_rows": 32},
    "memory": {"ratio": 0.25},
    "localizer": {"decoder": {"name": "actionformer", "levels": 3, "embed_dim": 32, "head_dim": 32}},
    "train": {"batch_size": 4, "device": "cpu"},
}


def memory(base, a_clip, a_window):
    """Cost of a made-up network, linear as real ones are; every look is noted."""
    looks = []

    def cost(clips, micro_batch):
        looks.append((clips, micro_batch))
        peak = base + micro_batch * (a_window + clips * a_clip)
        return Probe(clips, micro_batch, peak, (0.3 * clips * micro_batch, 0.1 * clips * micro_batch))

    return cost, looks


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 200), st.floats(0.1, 50), st.floats(0, 1000), st.floats(0, 20), st.floats(1, 9000))
def test_largest_is_what_trying_all_would_find(num_clips, slope, base, noise, budget):
    def cost(clips):
        wobble = noise * ((clips * 7919) % 3) * slope / 100  # real measurements are not quite linear
        return Probe(clips, 1, base + slope * clips + min(wobble, 0.9 * slope), (1.0,))

    looks = []

    def look(clips):
        looks.append(clips)
        return cost(clips)

    first = cost(1)
    if not fits(first, budget):
        return
    found = largest(1, num_clips, look, first, budget)
    wanted = max(n for n in range(1, num_clips + 1) if fits(cost(n), budget))
    assert found.clips == wanted
    assert len(looks) == len(set(looks)) and all(1 < n <= num_clips for n in looks)


def test_a_line_needs_few_looks():
    cost, looks = memory(base=1e9, a_clip=1e8, a_window=2e8)
    first = cost(1, 1)
    assert largest(1, 500, lambda n: cost(n, 1), first, 12e9).clips == 108
    assert len(looks) <= 5


def test_a_candidate_that_broke_down_is_one_that_does_not_fit():
    def cost(clips):
        return Probe(clips, 1, 10.0 * clips if clips < 6 else None, (1.0,) if clips < 6 else ())

    assert largest(1, 50, cost, cost(1), 1e9).clips == 5


def test_ratio_first_then_windows():
    config = parse_config(TINY)
    cost, looks = memory(base=100, a_clip=10, a_window=10)
    roomy = plan(config, 1000, measure=cost)  # 8 clips of 4 rows
    assert (roomy.ratio, roomy.micro_batch, roomy.accumulate) == (1.0, 4, 1)
    assert roomy.sets == ["memory.ratio=1.0", "train.batch_size=4", "train.accumulate=1"]
    tight = plan(config, 165, measure=cost)
    assert (tight.clips, tight.ratio, tight.micro_batch, tight.accumulate) == (5, 0.625, 1, 4)
    between = plan(config, 280, measure=cost)
    assert (between.clips, between.micro_batch, between.accumulate) == (8, 2, 2)
    assert between.optimizer_step_s == pytest.approx(2 * 0.1 * 8 * 2)
    with pytest.raises(PlanError, match="one clip of one window"):
        plan(config, 110, measure=cost)
    assert looks


def test_a_decoder_that_needs_the_whole_batch_gets_all_windows_at_once():
    decoder = {"name": "temporalmaxer", "levels": 3, "embed_dim": 32, "head_dim": 32, "assignment": "sim_ota"}
    config = parse_config(TINY | {"localizer": {"decoder": decoder}})
    cost, looks = memory(base=100, a_clip=10, a_window=10)
    found = plan(config, 280, measure=cost)
    assert (found.clips, found.micro_batch, found.accumulate) == (3, 4, 1)
    assert {windows for _, windows in looks} == {4}
    with pytest.raises(PlanError, match="a step of 4 windows, which cannot be accumulated, takes"):
        plan(config, 170, measure=cost)


@given(st.integers(1, 300), st.data())
def test_the_ratio_gives_the_number_of_clips(num_clips, data):
    clips = data.draw(st.integers(1, num_clips))
    assert num_sampled(num_clips, ratio_of(clips, num_clips)) == clips


def test_without_an_encoder_only_windows_are_chosen():
    config = parse_config(TINY | {"data": {"store": "rows.zarr"}})
    found = plan(config, 125, measure=memory(base=100, a_clip=0, a_window=10)[0])
    assert found.ratio is None and found.micro_batch == 2
    assert found.sets == ["train.batch_size=4", "train.accumulate=2"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("12GB", 12e9), ("12g", 12e9), ("1.5GiB", 1.5 * 2**30), ("800 MB", 8e8), ("1000", 1000), ("2TB", 2e12)],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0GB", "-1GB", "GB", "12 apples", "1e9", "1..5GB"])
def test_wrong_sizes(text):
    with pytest.raises(ConfigError, match="12GB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"memory": {"ratio": 0.25, "write_back": "canonical"}},
        {"memory": {"baseline": "stochastic_backprop"}},
    ],
)
def test_the_probe_trains_real_steps(change):
    found = measure(parse_config(TINY | change), channels=0, num_classes=3, steps=3)
    assert found["peak_bytes"] > 5e7
    assert len(found["tries_s"]) == 2 and min(found["tries_s"]) > 0


def test_the_probe_without_an_encoder():
    found = measure(parse_config(TINY | {"data": {"store": "x"}}), channels=16, num_classes=3, steps=2)
    assert found["peak_bytes"] > 5e7


@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_written_loads_for_a_file_and_for_a_preset(tmp_path, monkeypatch, is_file):
    folder = tmp_path / "odd: name #1 é"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    chosen = Plan(None, 0, 0, 2, 4, 2, 1e9, 1.0, [])
    monkeypatch.setattr("pipelines.budget.plan.plan", lambda *given: chosen)
    out, source = tmp_path / "planned.yaml", "tiny.yaml" if is_file else "gym"
    arguments = ["--config", source, "--memory", "4GB", "--set", "train.epochs=7", "--write", str(out)]
    result = CliRunner().invoke(command, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(out.read_text())["extends"] == (f"{folder.name}/tiny.yaml" if is_file else "gym")
    written, base = load_config(out), load_config(folder / "tiny.yaml" if is_file else "gym")
    assert (written.train.epochs, written.train.accumulate) == (7, 2)
    assert written.localizer == base.localizer


@pytest.mark.slow
def test_command_end_to_end(tmp_path):
    """Six candidates in processes of their own; the plan loads as a configuration."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    out = tmp_path / "planned.yaml"
    arguments = ["--config", str(path), "--memory", "20GB", "--device", "cpu", "--steps", "2"]
    result = CliRunner().invoke(command, [*arguments, "--write", str(out), "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["ratio"] == 1.0 and shown["accumulate"] == 1
    assert all(probe["step_s"] == min(probe["tries_s"]) for probe in shown["probes"])
    config = load_config(out)
    assert config.memory.ratio == 1.0 and config.window.num_rows == 32
    few = CliRunner().invoke(command, [*arguments[:3], "1MB", *arguments[4:]])
    assert isinstance(few.exception, PlanError)
