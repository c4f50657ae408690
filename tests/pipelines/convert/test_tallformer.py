"""`longtal convert --from tallformer`: what the converted models compute is what the released code wrote."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.golden.afsd import head_outputs
from cli import cli
from pipelines.convert.run import convert
from tal.grid import FeatureGrid
from tal.inference.detector import Detector
from tal.inference.localize import localize
from tal.inference.model_folder import read_model
from tal.suppression import SuppressionConfig, suppress
from tests.pipelines.convert.tallformer_files import behind_consistency, golden, published

FILES = ("daotad", "daotad_conv", "afsd", "afsd_bias")
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def converted(tmp_path, weights, **options):
    torch.save(weights, tmp_path / "epoch_1000_weights.pth")
    made = convert(tmp_path / "epoch_1000_weights.pth", "tallformer", tmp_path / "model", **options)
    return made, Detector.load(made.folder, device="cpu")


def per_anchor(levels, values):
    """Maps [A * values, T] of the levels -> [N, values]."""
    return torch.cat([level.t().reshape(-1, values) for level in levels])


def by_level(reference, prefix):
    tensors = reference.under(prefix)
    return [tensors[str(level)] for level in range(len(tensors))]


@pytest.mark.parametrize("name", FILES)
def test_outputs_are_the_releases(tmp_path, name):
    reference = golden(name)
    weights = published(reference.under("weights/"), afsd=name.startswith("afsd"))
    made, detector = converted(tmp_path, {f"module.{key}": value for key, value in weights.items()})
    assert (made.channels, made.classes) == (48, 5)
    assert detector.encoder is None and "released defaults of post-processing" in made.assumed
    for index in reference.samples:
        features = reference.tensors[f"in/{index}/feats"][None]
        expected = reference.under(f"out/{index}/")
        mask = torch.ones(1, 1, features.shape[2], dtype=torch.bool)
        with torch.no_grad():
            outputs, _ = detector.localizer(features, mask)
        if name.startswith("afsd"):
            for key, ours in head_outputs(outputs, frames=8).items():
                torch.testing.assert_close(ours, expected[key], **TOLERANCE)
        else:
            cls, reg = by_level(reference, f"out/{index}/cls/"), by_level(reference, f"out/{index}/reg/")
            torch.testing.assert_close(outputs.logits[0], per_anchor(cls, 5), **TOLERANCE)
            torch.testing.assert_close(outputs.offsets[0], per_anchor(reg, 2), **TOLERANCE)
            scores = outputs.logits[0].sigmoid()
            torch.testing.assert_close(scores, expected["candidates/scores"], **TOLERANCE)


def of_anchors(reference, index):
    """Seconds, scores, labels of the released anchors, cut a position beyond the 60 of the window."""
    segments = torch.cat(by_level(reference, f"out/{index}/decoded/")).double().clamp(-1, 60) * 8 / 15
    scores = per_anchor(by_level(reference, f"out/{index}/cls/"), 5).sigmoid()
    keep = (scores > 0.005) & (segments.clamp(0, 32).diff(dim=1) > 0)
    anchor, label = keep.nonzero(as_tuple=True)
    rule = SuppressionConfig(method="nmw", iou_threshold=0.5, min_score=0.005, max_segments=1200)
    found, best, labels = suppress(segments[anchor], scores[anchor, label], label, rule)
    return found.clamp(0, 32), best, labels


def of_locations(reference, index):
    """The same of AFSD's locations, whose window has 64 positions of 8 frames: at 8 (p + 1/2) frames."""
    out = reference.under(f"out/{index}/")
    place = torch.cat([(torch.arange(64 >> level) + 0.5) * 8 * 2**level for level in range(6)])
    moved = out["loc"] + 0.5 * out["loc"].sum(1, keepdim=True) * out["prop_loc"]
    segments = torch.stack([place - moved[:, 0], place + moved[:, 1]], 1).double().clamp(-4, 516) / 12
    scores = (out["conf"].softmax(1) + out["prop_conf"].softmax(1))[:, 1] / 2 * out["center"][:, 0].sigmoid()
    chance, classes = out["action_logits"].softmax(0)[1:].topk(2)
    keep = segments.clamp(0, 512 / 12).diff(dim=1)[:, 0] > 0
    rule = SuppressionConfig(method="soft_nms", sigma=0.85, min_score=1e-9, max_segments=5000)
    found, best, labels = suppress(
        segments[keep].repeat_interleave(2, 0),
        (scores[keep, None] * chance).flatten(),
        classes.repeat(int(keep.sum())),
        rule,
    )
    return found.clamp(0, 512 / 12), best, labels


def matched(ours, theirs):
    """Share of their (start, end, label, score) that is among ours."""
    return float((torch.cdist(theirs, ours, p=float("inf")).amin(1) < 1e-3).double().mean())


@pytest.mark.parametrize("name", FILES)
def test_detections_are_those_of_the_releases_outputs(tmp_path, name):
    """Through windows, candidates, suppression and seconds.

    DaoTAD's weighting has a threshold, at which the last bit of an output decides. The release's ``final`` is
    of segments that it cut to the window before suppression, ours keep up to a position more.
    """
    reference = golden(name)
    afsd = name.startswith("afsd")
    _, detector = converted(tmp_path, published(reference.under("weights/"), afsd))
    fps, duration = (12.0, 512 / 12) if afsd else (15.0, 32.0)
    grid, windows = FeatureGrid(fps, 8, 8), detector.config.windows
    for index in reference.samples:
        rows = reference.tensors[f"in/{index}/feats"].t().numpy()
        table = localize(detector.localizer, rows, grid, windows, duration)
        found = torch.from_numpy(table[["start_s", "end_s", "label_index", "score"]].to_numpy())
        segments, scores, labels = (of_locations if afsd else of_anchors)(reference, index)
        expected = torch.cat([segments, labels[:, None], scores[:, None].double()], 1)
        assert len(found) == pytest.approx(len(expected), rel=0 if afsd else 0.01)
        assert matched(found, expected) >= (1 if afsd else 0.97)
        final = reference.under(f"out/{index}/final/")
        published_ones = torch.cat([final["segments"], final["labels"][:, None], final["scores"][:, None]], 1)
        lasting = published_ones[:, 1] > published_ones[:, 0]
        assert matched(found, published_ones[lasting].double()) > 0.85


@pytest.mark.parametrize("name", ["daotad", "daotad_conv", "afsd"])
def test_downsampling_and_consistency_module_before_a_decoder(tmp_path, name):
    weights, reference = behind_consistency(name), golden("tcm")
    made, detector = converted(tmp_path, weights)
    localizer, config = detector.localizer, detector.config
    assert made.channels == 48 and localizer.decoder.in_channels == 64
    assert config.window_rows == config.windows.window_rows == 240
    assert config.inference.row_offset == (1.5 if name == "afsd" else -0.5)
    for index in reference.samples:
        features = reference.tensors[f"in/{index}/feats"][None]
        mask = torch.ones(1, 1, features.shape[2], dtype=torch.bool)
        with torch.no_grad():
            x, mask = localizer.downsampling(features, mask)
            y = localizer.tcm(x, mask)
        torch.testing.assert_close(x[0], reference.tensors[f"out/{index}/srm"], **TOLERANCE)
        torch.testing.assert_close(y[0], reference.tensors[f"out/{index}/tcm"], **TOLERANCE)
    if name == "afsd":  # the classifier of videos reads the rows, as released
        assert localizer.decoder.video_channels == 48 and localizer.decoder.config.release


# sizes of the reference files -> those of the published configurations
FULL = {48: 1024, 64: 512, 128: 1024, 192: 1536, 256: 2048, 32: 256, 25: 100}


@pytest.mark.parametrize(
    ("name", "preset", "sizes", "rows", "classes"),
    [
        ("daotad", "tallformer/thumos14", FULL, 240, 20),
        ("afsd", "tallformer/activitynet", FULL | {6: 201, 119: 191}, 384, 200),
        ("afsd", "tallformer/hacs", FULL | {6: 201, 119: 191}, 384, 200),
    ],
)
def test_presets_have_the_sizes_of_the_published_configurations(tmp_path, name, preset, sizes, rows, classes):
    weights = {
        key: torch.zeros([sizes.get(n, n) for n in value.shape])
        for key, value in behind_consistency(name).items()
        if not key.endswith(("relative_position_index", "pe.pe"))
    }
    torch.save(weights, tmp_path / "checkpoint-10.ckpt")
    made = convert(tmp_path / "checkpoint-10.ckpt", "tallformer", tmp_path / "model", preset)
    assert (made.assumed, made.channels, made.classes) == ((), 1024, classes)
    config = read_model(made.folder).config
    assert config.window_rows == config.inference.window_rows == rows
    assert (
        config.inference.max_candidates >= {20: 11700, 200: 378}[classes]
    )  # 585 anchors, 189 locations twice


def test_command(tmp_path):
    torch.save({"state_dict": behind_consistency("daotad")}, tmp_path / "c.pth")
    (tmp_path / "names.json").write_text('["run", "jump", "sit", "stand", "lie"]')
    arguments = ["convert", str(tmp_path / "c.pth"), "--from", "tallformer", "--json"]
    arguments += ["--labels", str(tmp_path / "names.json"), "--out", str(tmp_path / "model")]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    told = json.loads(result.stdout)
    assert told["decoder"] == "daotad" and told["classes"] == 5
    assert "8 attention heads that see 7, 7, 5, 5 positions" in told["assumed"]
    assert json.loads((tmp_path / "model/labels.json").read_text())[1] == "jump"
    provenance = json.loads((tmp_path / "model/provenance.json").read_text())
    assert provenance["converted"]["from"] == "tallformer"
    assert provenance["features"] == {"channels": 48}
