"""Places that cannot be written: exit code 2 and one line, in the same words from every command."""

import json

import numpy as np
import pytest

from cli import main
from featstore import FeatureSpec, FeatureStore

TRUTH = {
    "database": {
        "v": {
            "subset": "test",
            "duration": 9.0,
            "annotations": [{"segment": [1.0, 2.0], "label": "run"}],
        }
    }
}
FOUND = {"results": {"v": [{"segment": [1.0, 2.0], "label": "run", "score": 0.5}]}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with annotations, predictions, a store, and a file that is not a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(TRUTH))
    (tmp_path / "p.json").write_text(json.dumps(FOUND))
    (tmp_path / "FILE").write_text("stays")
    with FeatureStore.create("s.zarr", FeatureSpec("e", "w", 2, 1, 1)) as store:
        store.add_video("v", num_rows=4, fps=1.0, duration_s=4.0, num_frames=4)
        store.write("v", 0, np.zeros((4, 2), np.float16), step=0)
        store.complete("v")
        store.commit()
    return tmp_path


CONVERT, EVALUATE = "annotations convert a.json", "evaluate --annotations a.json --predictions p.json"


@pytest.mark.parametrize(
    "words",
    [
        f"{CONVERT} --out FILE/b.json",
        f"{CONVERT} --out b.json --manifest FILE/m.json",
        f"{EVALUATE} --no-diagnosis --csv FILE/x.csv",
        f"{EVALUATE} --no-diagnosis --plots FILE",
        "staleness s.zarr --out FILE/x.csv",
        "staleness s.zarr --plot FILE/x.png",
    ],
)
def test_a_file_where_a_folder_should_be(folder, capfd, monkeypatch, words):
    monkeypatch.setattr("sys.argv", ["longtal", *words.split()])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capfd.readouterr().err.splitlines()
    errors = [line for line in shown if line.startswith("error: ")]
    assert end.value.code == 2
    assert errors == [f"error: FILE cannot be written: {folder}/FILE is a file"] and shown[-1] == errors[0]
    assert (folder / "FILE").read_text() == "stays"
