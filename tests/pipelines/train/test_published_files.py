"""Annotation files as ActionFormer, TriDet, OpenTAD and the data sets' authors publish them.

With a preset of the data set, `--set data.annotations=FILE --set data.store=STORE` is all that is needed.
"""

import csv
import json

import numpy as np
import pytest
import yaml

from featstore import FeatureSpec, FeatureStore
from pipelines.config import load_config
from pipelines.data.run_annotations import ONE_CLASS, read_run_annotations
from pipelines.presets import list_presets
from pipelines.train import train
from pipelines.train.data import load_data
from tal.annotations import read_annotations
from tal.errors import AnnotationError, ConfigError, EvaluationError
from tal.metrics.protocols import PROTOCOLS, get_protocol

# Every file has these videos to learn from and to be measured on, each 60 s with two actions.
TRAIN, MEASURED = ("one", "two", "three"), ("four",)


def json_of(train, measured, more=(), labels=("Diving", "HighJump"), **top):
    """ActivityNet's form, with the two subsets' names; ``more``: subsets whose videos have no annotation."""
    database = {}
    for names, subset in ((TRAIN, train), (MEASURED, measured)):
        for name in names:
            actions = [
                {"label": label, "segment": [5.0 + 20 * k, 15.0 + 20 * k], "label_id": k}
                for k, label in enumerate(labels)
            ]
            database[name] = {"subset": subset, "duration": 60.0, "fps": 30.0, "annotations": actions}
    for subset in more:
        database[f"of {subset}"] = {"subset": subset, "duration": 60.0, "annotations": []}
    return {"version": "1", **top, "database": database}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def thumos_text(folder):
    """The authors' folders of text files."""
    for subset, names in (("validation", TRAIN), ("test", MEASURED)):
        inner = folder / f"temporal_annotations_{subset}"
        inner.mkdir(parents=True)
        short = {"validation": "val", "test": "test"}[subset]
        for k, label in enumerate(("Diving", "HighJump")):
            lines = [f"{name}  {5.0 + 20 * k} {15.0 + 20 * k}" for name in names]
            (inner / f"{label}_{short}.txt").write_text("\n".join(lines) + "\n")
    return folder


def epic_csv(folder):
    """The authors' table of each subset, and their lists of classes."""
    heads = ["narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp"]
    heads += ["stop_timestamp", "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun"]
    heads += ["noun_class", "all_nouns", "all_noun_classes"]
    for subset, names in (("train", TRAIN), ("validation", MEASURED)):
        with (folder / f"EPIC_100_{subset}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(heads)
            for name in names:
                for k, (verb, noun) in enumerate((("take", "plate"), ("wash", "cup"))):
                    times = [f"00:00:{5 + 20 * k:02d}.00", f"00:00:{15 + 20 * k:02d}.00"]
                    about = [f"{name}_{k}", "P01", name, times[0], *times, 1, 2, f"{verb} {noun}"]
                    table.writerow([*about, verb, k, noun, k, f"['{noun}']", f"[{k}]"])
    for part, keys in (("verb", ("take", "wash")), ("noun", ("plate", "cup"))):
        lines = ["id,key,instances,category", *(f"{k},{key},['{key}'],x" for k, key in enumerate(keys))]
        (folder / f"EPIC_100_{part}_classes.csv").write_text("\n".join(lines) + "\n")
    return folder / "EPIC_100_train.csv"


def multithumos_authors(folder):
    content = {
        name: {"subset": subset, "duration": 60.0, "actions": [[12, 5.0, 15.0], [24, 25.0, 35.0]]}
        for names, subset in ((TRAIN, "training"), (MEASURED, "testing"))
        for name in names
    }
    return write(folder / "multithumos.json", content)


# data set -> who publishes which file
FILES = {
    "thumos14": {
        "ActionFormer's thumos14.json": lambda d: write(d / "a.json", json_of("Validation", "Test")),
        "ActionFormer's, in lower case": lambda d: write(d / "a.json", json_of("validation", "test")),
        "OpenTAD's thumos_14_anno.json": lambda d: write(d / "a.json", json_of("training", "validation")),
        "another's, in mixed names": lambda d: write(d / "a.json", json_of("training", "test")),
        "one with the trimmed clips": lambda d: write(
            d / "a.json", json_of("validation", "test", ["training"])
        ),
        "the authors' text files": lambda d: thumos_text(d / "thumos14"),
    },
    "multithumos": {
        "the authors' multithumos.json": multithumos_authors,
        "TriDet's multithumos.json": lambda d: write(d / "a.json", json_of("Validation", "Test")),
        "OpenTAD's multithumos_anno.json": lambda d: write(d / "a.json", json_of("training", "validation")),
    },
    "activitynet": {
        "the authors' activity_net.v1-3.min.json": lambda d: write(
            d / "a.json",
            json_of(
                "training",
                "validation",
                ["testing"],
                taxonomy=[
                    {"nodeId": 1, "nodeName": "Diving", "parentId": 0, "parentName": "Root"},
                    {"nodeId": 2, "nodeName": "HighJump", "parentId": 0, "parentName": "Root"},
                    {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None},
                ],
            ),
        ),
        "ActionFormer's anet1.3_tsp_filtered.json": lambda d: write(
            d / "a.json", json_of("training", "validation")
        ),
    },
    "hacs": {
        "the authors' HACS_segments_v1.1.1.json": lambda d: write(
            d / "a.json", json_of("training", "validation", ["testing"])
        ),
    },
    "epic100": {
        "the authors' EPIC_100_train.csv": epic_csv,
        "ActionFormer's epic_kitchens_100_noun.json": lambda d: write(
            d / "a.json", json_of("training", "validation", labels=("take", "wash"))
        ),
    },
}
CASES = [(protocol, name) for protocol, files in FILES.items() for name in files]
FAMILIES = {
    "thumos14": ["cltdr/thumos14-i3d-cltdr", "tallformer/thumos14", "tallformer/flagship-thumos14"],
    "multithumos": ["cltdr/multithumos-i3d-tridet", "tallformer/flagship-multithumos"],
    "activitynet": [
        "cltdr/activitynet-tsp-tridet",
        "tallformer/activitynet",
        "tallformer/flagship-activitynet",
    ],
    "hacs": ["cltdr/hacs-slowfast-cltdr", "tallformer/hacs", "tallformer/flagship-hacs"],
    "epic100": ["cltdr/epic-noun-cltdr", "cltdr/epic-verb-tridet", "tallformer/flagship-epic-verb"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "store.zarr"
    spec = FeatureSpec("i3d", "imported", 8, 15, 15, fps=30.0)
    rng = np.random.default_rng(0)
    with FeatureStore.create(path, spec) as opened:
        for name in (*TRAIN, *MEASURED):
            opened.add_video(name, 120, 30.0, 60.0)
            opened.write(name, 0, rng.normal(size=(120, 8)), step=0)
            opened.complete(name)
        opened.commit()
    return path


@pytest.mark.parametrize(("protocol", "name"), CASES)
def test_a_preset_finds_the_subsets_of_every_published_file(protocol, name, tmp_path, store):
    path = FILES[protocol][name](tmp_path)
    for preset in FAMILIES[protocol]:
        sets = [f"data.annotations={path}", f"data.store={store}", "data.videos="]
        config = load_config(preset, sets)
        assert config.data.protocol == protocol
        annotated = read_run_annotations(config.data, config.learns_one_class)
        with FeatureStore.open(store) as opened:
            data = load_data(config.data, annotated, opened)
        assert sorted(v.id for v in data.train) == sorted(TRAIN), preset
        assert [v.id for v in data.validation] == list(MEASURED)
        assert set(data.ground_truth.videos) == set(MEASURED)
        assert len(data.labels) == (1 if config.learns_one_class else 2)
        if protocol == "epic100" and path.suffix == ".csv":
            nouns = {"plate", "cup"}
            assert set(data.labels) == (nouns if config.data.target == "noun" else {"take", "wash"})
        assert any("trains on" in line and f"of protocol {protocol}" in line for line in annotated.notes)


def test_every_preset_of_a_data_set_names_its_protocol():
    for name in list_presets():
        protocol = load_config(name).data.protocol
        known = [p for p, words in WORDS.items() if any(w in name.split("/")[-1] for w in words)]
        assert protocol == (known[0] if known else "generic"), name


WORDS = {
    "multithumos": ["multithumos"],
    "thumos14": ["thumos14", "pilot-", "ablation-"],
    "activitynet": ["activitynet"],
    "hacs": ["hacs"],
    "epic100": ["epic-"],
}


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("cltdr/thumos14-i3d-temporalmaxer", ("Validation", "Test")),
        ("cltdr/activitynet-tsp-actionformer", ("training", "validation")),
    ],
)
def test_nothing_but_file_and_store_is_needed_to_train(preset, names, tmp_path, store):
    """One epoch at a tenth of the size; one class where no classifier's scores are given."""
    path = write(tmp_path / "a.json", json_of(*names))
    sets = [f"data.annotations={path}", f"data.store={store}", "train.batch_size=2", "train.epochs=1"]
    small = ["window.num_rows=256", "inference.window_rows=256", "localizer.decoder.max_positions=256"]
    small += ["localizer.decoder.embed_dim=16", "localizer.decoder.head_dim=16", "train.device=cpu"]
    small += ["optim.warmup_epochs=0", "train.validate_from=0"]
    result = train(load_config(preset, sets + small), tmp_path / "run")
    assert result.best is not None
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]
    assert (written["train_subset"], written["val_subset"]) == names  # what report and resume go by
    labels = json.loads((tmp_path / "run" / "model" / "labels.json").read_text())
    assert labels == ([ONE_CLASS] if "activitynet" in preset else ["Diving", "HighJump"])


# -- what decides -------------------------------------------------------------------------------------------


def run_data(path, *sets):
    return read_run_annotations(load_config("hapt", [f"data.annotations={path}", *sets]).data)


@pytest.mark.parametrize(
    ("subsets", "sets", "expected"),
    [
        (("training", "validation"), (), ("training", "validation")),
        (("train", "val"), (), ("train", "val")),
        (("training", "validation"), ("data.val_subset=",), ("training", "")),
        (
            ("Validation", "Test"),
            ("data.train_subset=Validation", "data.val_subset=Test"),
            ("Validation", "Test"),
        ),
        (("training", "validation"), ("data.protocol=thumos14", "data.val_subset="), ("training", "")),
        (("validation", "test"), ("data.protocol=thumos14", "data.val_subset="), ("validation", "")),
        (("a", "validation"), ("data.train_subset=a", "data.val_subset=validation"), ("a", "validation")),
        (
            ("training", "validation"),
            ("data.protocol=thumos14", "data.val_subset=validation"),
            ("training", "validation"),
        ),
    ],
)
def test_subsets_that_are_named_count_and_the_others_follow_the_protocol(tmp_path, subsets, sets, expected):
    found = run_data(write(tmp_path / "a.json", json_of(*subsets)), *sets)
    assert (found.train_subset, found.val_subset) == expected


def test_a_file_without_the_subsets_says_what_it_has_and_what_to_do(tmp_path):
    path = write(tmp_path / "a.json", json_of("Validation", "Test"))
    with pytest.raises(EvaluationError, match=r"'training' and 'validation', the file has 'Valid.*'Test'"):
        run_data(path)
    with pytest.raises(EvaluationError, match=r"data\.train_subset=NAME.*data\.protocol"):
        run_data(path)
    content = json_of("training", "validation")
    for video in content["database"].values():
        del video["subset"]
    with pytest.raises(EvaluationError, match=r"no video names a subset.*--info"):
        run_data(write(tmp_path / "b.json", content))
    with pytest.raises(ConfigError, match=r"protocol.*no protocol 'thumos15'"):
        run_data(path, "data.protocol=thumos15")


def test_a_run_that_goes_on_reads_the_other_file_of_epic_again(tmp_path):
    found = run_data(epic_csv(tmp_path), "data.protocol=epic100")
    data = found.named(load_config("hapt", [f"data.annotations={tmp_path / 'EPIC_100_train.csv'}"]).data)
    assert (data.train_subset, data.val_subset) == ("train", "validation")
    again = read_run_annotations(data)
    assert set(again.train.videos) == set(TRAIN) and set(again.validation.videos) == set(MEASURED)
    alone = read_run_annotations(data.model_copy(update={"val_subset": ""}))
    assert set(alone.whole.videos) == set(TRAIN) and alone.validation is None


def test_the_other_file_of_epic_needs_the_list_of_classes(tmp_path):
    path = epic_csv(tmp_path)
    (tmp_path / "EPIC_100_noun_classes.csv").unlink()
    with pytest.raises(AnnotationError, match=r"EPIC_100_noun_classes\.csv is not there"):
        run_data(path, "data.protocol=epic100", "data.target=noun")
    assert run_data(path, "data.protocol=epic100", "data.target=verb").whole.labels == ("take", "wash")


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_evaluation_measures_on_the_subset_that_training_does(tmp_path, protocol):
    from pipelines.evaluate.run import EvaluateOptions, load_ground_truth

    for names in (("validation", "test"), ("training", "validation"), ("training", "test")):
        path = write(tmp_path / "a.json", json_of(*names))
        if not get_protocol(protocol).splits_in(read_annotations(path).subsets) or protocol == "generic":
            continue
        trained = run_data(path, f"data.protocol={protocol}")
        truth, _ = load_ground_truth(EvaluateOptions(path, (), protocol=protocol))
        assert set(truth.videos) == set(trained.validation.videos) == set(MEASURED)
