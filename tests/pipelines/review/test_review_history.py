"""Undo and redo after a reload, a crash and a restart; what others wrote is never undone unseen."""

import json
import os

import pytest

from pipelines.review import history as history_module
from tal.annotations.corrections import read_corrections
from tests.pipelines.browser import needs_chromium
from tests.pipelines.review.review_data import action, ask, document, edited, post, save, serving
from tests.pipelines.review.reviewer import Reviewer


def stacks(server, number=0):
    """(changes to undo, changes to redo) that the server tells a page."""
    kept = json.loads(ask(server, f"history/{number}")[2])
    assert kept["version"] == document(server, number)["version"]
    return kept["past"], kept["future"]


def turned(change):
    return {"minus": change["plus"], "plus": change["minus"]}


def send(server, step, change, version):
    return post(server, "document/0", {"version": version, "changes": [{"step": step, **change}]})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "c.json"


def fill(folder, out, ends=(2.0, 3.0, 4.0)):
    """An action whose end moves; the history of it stays beside ``out``."""
    with serving(folder, out) as server:
        for version, end in enumerate(ends, 1):
            assert save(server, edited(annotations=[action(1, end)]), version=version)[0] == 200
    return out.with_name(f".{out.name}.undo")


def ends_of(part):
    return [[item["segment"][1] for item in side.get("annotations", [])] for side in part]


def test_another_server_knows_what_can_be_undone(folder, out):
    fill(folder, out)
    with serving(folder, out) as server:
        past, future = stacks(server)
        assert [ends_of((c["minus"], c["plus"])) for c in past] == [
            [[], [2.0]],
            [[2.0], [3.0]],
            [[3.0], [4.0]],
        ]
        assert future == [] and stacks(server, 1) == ([], [])
        assert send(server, "undo", turned(past[2]), 1)[0] == 200
        assert send(server, "undo", turned(past[1]), 2)[0] == 200
        assert stacks(server) == (past[:1], [past[2], past[1]])
        assert send(server, "redo", past[1], 3)[0] == 200
    assert [j.segment.end_s for j in read_corrections(out).videos["a"].actions] == [3.0]
    with serving(folder, out) as server:
        assert stacks(server) == (past[:2], past[2:])
        assert save(server, edited(annotations=[]))[0] == 200
        assert len(stacks(server)[0]) == 3 and stacks(server)[1] == [], (
            "a new change ends what could be redone"
        )


def test_what_another_program_wrote_ends_the_history(folder, out):
    fill(folder, out)
    content = json.loads(out.read_text())
    content["database"]["a"]["annotations"].append(action(8, 9))
    out.write_text(json.dumps(content))
    with serving(folder, out) as server:
        assert stacks(server) == ([], [])
        assert save(server, document(server) | {"reviewed": [[0, 1]]})[0] == 200
        assert len(stacks(server)[0]) == 1
        content = json.loads(out.read_text())
        content["database"]["a"]["annotations"].pop()
        out.write_text(json.dumps(content))
        status, theirs = save(server, edited(), version=2)
        assert status == 409 and len(theirs["annotations"]) == 1
        assert stacks(server) == ([], []), "also while the page is open"


def test_facts_and_draws_are_no_changes(folder, out):
    fill(folder, out)
    content = json.loads(out.read_text())
    content["database"]["a"] |= {"subset": "train", "sampled": [{"segment": [0, 5], "probability": 0.5}]}
    out.write_text(json.dumps(content))
    with serving(folder, out) as server:
        assert len(stacks(server)[0]) == 3


def test_a_file_begun_anew_has_no_history(folder, out):
    fill(folder, out, (2.0,))
    out.unlink()
    with serving(folder, out) as server:
        assert stacks(server) == ([], [])


def test_a_crash_between_history_and_file(folder, out):
    """The line of a change that never came to the file counts for nothing, then and later."""
    undo = fill(folder, out, (2.0, 3.0))
    before = out.read_bytes()
    with serving(folder, out) as server:
        assert save(server, edited(annotations=[action(1, 9)]))[0] == 200
    out.write_bytes(before)
    with undo.open("ab") as file:
        file.write(b'{"video": "a", "step": "do", "min')  # and the next is torn
    for more in (4.0, 5.0):
        with serving(folder, out) as server:
            past = len(stacks(server)[0])
            assert save(server, edited(annotations=[action(1, more)]))[0] == 200
            assert len(stacks(server)[0]) == past + 1
    with serving(folder, out) as server:
        assert [ends_of([c["plus"]])[0] for c in stacks(server)[0]] == [[2.0], [3.0], [4.0], [5.0]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"\xff" * 50,
        lambda line: b"[" * 20_000,
        lambda line: b"null",
        lambda line: line.replace(b'"do"', b'["do"]'),
        lambda line: line.replace(b'"jump"', b"7"),
        lambda line: line.replace(b'"minus"', b'"more"'),
        lambda line: line.replace(b'"video": "a"', b'"video": ["a"]'),
    ],
)
def test_a_damaged_line_ends_the_history_and_harms_nothing_else(folder, out, damage):
    undo = fill(folder, out)
    lines = undo.read_bytes().split(b"\n")
    lines[1] = damage(lines[1])
    undo.write_bytes(b"\n".join(lines))
    with serving(folder, out) as server:
        assert [ends_of([c["plus"]])[0] for c in stacks(server)[0]] == [[4.0]]
        assert document(server)["annotations"][0]["segment"] == [1, 4.0]


def test_a_link_or_a_pipe_in_the_place_of_the_history_is_refused(folder, out, tmp_path):
    undo = fill(folder, out)
    target = tmp_path / "victim"
    target.write_text("kept")
    undo.unlink()
    with serving(folder, out) as server:
        undo.symlink_to(target)
        status, answer = save(server, edited())
        assert status == 507 and "is a link" in answer["error"] and document(server)["version"] == 1
    with pytest.raises(OSError, match="is a link"), serving(folder, out):
        pass
    assert target.read_text() == "kept"
    undo.unlink()
    os.mkfifo(undo)
    with pytest.raises(OSError, match="not a plain file"), serving(folder, out):
        pass


def test_a_long_history_keeps_the_newest_half(folder, out, monkeypatch):
    undo = fill(folder, out, [2.0 + k / 100 for k in range(40)])
    monkeypatch.setattr(history_module, "MOST_BYTES", undo.stat().st_size - 10)
    with serving(folder, out) as server:
        assert 15 < len(stacks(server)[0]) < 21
        assert undo.stat().st_size <= history_module.MOST_BYTES // 2


@needs_chromium
@pytest.mark.parametrize("by", ["key", "mouse"])
def test_undo_and_redo_go_on_after_a_reload_and_a_restart(opened, folder, out, by):
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out, by)
        reviewer.select(0).do("a").select(1).do("x", "m")
        reviewer.select(0).do("r", "r", "u")
        assert reviewer.actions() == [("jump", 1.0, 3.1, "corrected")]
        reviewer.page.reload()
        again = Reviewer(reviewer.watched, out, by)
        again.watched.until("!document.getElementById('undo').disabled")
        again.do("U")
        assert again.actions() == [("jump", 1.0, 3.2, "corrected")]
        again.do("u", "u", "u")
        assert again.saved().reviewed == () and again.rejected() == [("squat", 4.03, 6.02)]
        assert again.actions() == [("jump", 1.0, 3.0, "accepted")]
    with serving(folder, out) as server:
        last = Reviewer(opened(server.address), out, by)
        last.watched.until("!document.getElementById('undo').disabled")
        last.do("u", "u")
        assert last.actions() == [] and last.rejected() == [] and last.page.locator("#undo").is_disabled()
        last.do("U", "U", "U", "U", "U")
        assert last.actions() == [("jump", 1.0, 3.2, "corrected")]
        assert last.saved().reviewed == ((0.0, 12.0),) and last.page.locator("#redo").is_disabled()


@needs_chromium
def test_undo_after_a_reload_takes_nothing_back_that_others_wrote(opened, folder, out):
    """Another tab's change that is on show is undone like one's own; another program's ends the history."""
    with serving(folder, out) as server:
        first = Reviewer(opened(server.address), out)
        first.select(0).do("a")
        first.saved()
        second = Reviewer(opened(server.address), out)
        second.select(1).do("x")
        second.saved()
        first.page.reload()
        first = Reviewer(first.watched, out)
        first.watched.until("!document.getElementById('undo').disabled")
        first.do("u")
        assert first.rejected() == [] and first.actions() == [("jump", 1.0, 3.0, "accepted")]
        content = json.loads(out.read_text())
        content["database"]["a"]["annotations"].append(
            {"label": "squat", "segment": [8.0, 9.0], "source": "added"}
        )
        out.write_text(json.dumps(content))
        first.watched.expected = "409"
        first.do("u")
        first.watched.until("document.getElementById('saving').textContent.includes('Another tab')")
        first.page.reload()
        first = Reviewer(first.watched, out)
        assert first.page.locator("#timeline .seg.added").count() == 1
        first.do("u")
        assert first.said() == "Nothing to undo." and len(first.saved().actions) == 2


@needs_chromium
def test_a_change_that_the_server_refuses_is_taken_back(opened, folder, out, monkeypatch):
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out)
        reviewer.select(0).do("a")
        reviewer.saved()
        reviewer.watched.expected = "400"
        monkeypatch.setattr("pipelines.review.changes._MOST_SEGMENTS", 1)
        reviewer.select(1).do("a")
        reviewer.watched.until("document.getElementById('saving').textContent.includes('at most 1 segments')")
        reviewer.watched.until("document.querySelectorAll('#timeline .seg.accepted').length === 1")
        reviewer.watched.until("!document.getElementById('undo').disabled")  # its history is read anew
        reviewer.do("u")
        assert reviewer.actions() == []


@needs_chromium
def test_a_history_that_does_not_fit_changes_nothing(opened, folder, out):
    undo = fill(folder, out)
    undo.write_bytes(undo.read_bytes().replace(b"[1.0, 4.0]", b"[1.0, 5.0]"))
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out)
        reviewer.watched.until("!document.getElementById('undo').disabled")
        reviewer.do("u")
        assert "not there any more" in reviewer.said()
        assert reviewer.page.locator("#timeline .seg.added").count() == 1 and document(server)["version"] == 1
