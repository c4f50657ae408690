"""Classes added in the page: saved at once, told to other tabs, refused with a reason."""

import json

import pytest

from pipelines.review import labels as labels_module
from tal.annotations.corrections import read_corrections
from tests.pipelines.browser import needs_chromium
from tests.pipelines.review.review_data import action, document, edited, post, save, serving
from tests.pipelines.review.reviewer import Reviewer


@pytest.fixture
def out(tmp_path):
    return tmp_path / "c.json"


@pytest.fixture
def server(folder, out):
    with serving(folder, out) as running:
        yield running


def test_a_class_is_in_the_file_when_the_answer_comes(server, folder, out):
    assert save(server, edited(annotations=[action(label="run")]))[0] == 400
    status, answer = post(server, "labels", {"label": "  run\u200b "})
    assert (status, answer) == (200, {"labels": ["jump", "squat", "run"]})
    assert read_corrections(out).labels == ("jump", "squat", "run")
    assert document(server)["labels"] == ["jump", "squat", "run"] and document(server)["version"] == 1
    assert save(server, edited(annotations=[action(label="run")]))[0] == 200


def test_the_next_review_has_it_also_without_a_segment(folder, out):
    with serving(folder, out) as server:
        post(server, "labels", {"label": "run"})
    with serving(folder, out) as server:
        assert document(server)["labels"] == ["jump", "squat", "run"]


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("", "needs a name"),
        (" \t\u200b", "needs a name"),
        (None, "needs a name"),
        (7, "needs a name"),
        (["run"], "needs a name"),
        ("x" * 101, "at most 100 characters, this one 101"),
        ("a\nb", "one line"),
        ("a\0b", "one line"),
        ("a\u2028b", "one line"),
        ("\ud800", "one line"),
        ("run\u202egnimmiws", "one line"),
        ("jump", "a class “jump” already"),
        ("Jump", "a class “jump” already"),
        ("ju_mp ", "a class “jump” already"),
        ("Root", "tree of all classes"),
    ],
)
def test_what_is_no_class_is_refused_with_the_reason(server, out, label, why):
    status, answer = post(server, "labels", {"label": label})
    assert status == 400 and why in answer["error"]
    assert not out.exists() and document(server)["labels"] == ["jump", "squat"]


@pytest.mark.parametrize("content", [b"", b"[]", {}, {"label": "run", "more": 1}, {"labels": ["run"]}])
def test_a_request_for_a_class_holds_just_its_name(server, out, content):
    status, answer = post(server, "labels", content)
    assert status == 400 and answer["error"] and not out.exists()


@pytest.mark.parametrize("header", ["Origin", "X_Longtal_Token", "Content_Type"])
def test_only_the_page_can_add_a_class(server, out, header):
    assert post(server, "labels", {"label": "run"}, **{header: None})[0] in (403, 415)
    assert not out.exists()


def test_the_number_of_classes_is_limited(server, monkeypatch):
    monkeypatch.setattr(labels_module, "MOST_LABELS", 3)
    assert post(server, "labels", {"label": "run"})[0] == 200
    status, answer = post(server, "labels", {"label": "walk"})
    assert status == 400 and "at most 3" in answer["error"]


def test_a_class_does_not_overwrite_what_another_program_wrote(server, out):
    save(server, edited(annotations=[action(1, 2)]))
    content = json.loads(out.read_text())
    content["database"]["a"]["annotations"][0]["segment"] = [1, 5]
    out.write_text(json.dumps(content))
    assert post(server, "labels", {"label": "run"})[0] == 200
    assert read_corrections(out).videos["a"].actions[0].segment.end_s == 5
    assert document(server)["version"] == 3
    out.write_text("{}")
    assert post(server, "labels", {"label": "walk"})[0] == 507
    assert out.read_text() == "{}" and "walk" not in document(server)["labels"]


@needs_chromium
@pytest.mark.parametrize("by", ["key", "mouse"])
def test_add_a_class_in_the_page(opened, folder, out, by):
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out, by)
        page = reviewer.page

        def add(name):
            if not page.locator("#new-class-dialog").is_visible():
                reviewer.do("C")
            assert page.evaluate("document.activeElement.id") == "new-class-name"
            page.locator("#new-class-name").fill(name)
            if by == "key":
                page.keyboard.press("Enter")
            else:
                page.locator("#new-class-form button.primary").click()

        other = Reviewer(opened(server.address), out, by)
        reviewer.to(9).do("i").to(10)
        reviewer.watched.expected = "400"
        for name, why in (("  ", "needs a name"), ("SQUAT", "“squat” already")):
            add(name)
            wrong = f"document.getElementById('new-class-error').textContent.includes('{why}')"
            reviewer.watched.until(wrong)
        add("x <b>run</b>")
        reviewer.watched.until("!document.getElementById('new-class-dialog').open")
        assert page.locator("#label option").all_inner_texts() == ["1 jump", "2 squat", "3 x <b>run</b>"]
        reviewer.do("o")
        assert reviewer.actions() == [("x <b>run</b>", 9.0, 10.0, "added")]
        add("later")
        reviewer.watched.until("!document.getElementById('new-class-dialog').open")
        assert reviewer.actions() == [("later", 9.0, 10.0, "added")], "the selected one gets it"
        reviewer.do("u")
        assert reviewer.actions() == [("x <b>run</b>", 9.0, 10.0, "added")]
        assert read_corrections(out).labels == ("jump", "squat", "x <b>run</b>", "later")
        other.page.evaluate("window.dispatchEvent(new Event('focus'))")
        other.watched.until("document.getElementById('label').options.length === 4")
        assert other.page.locator("#timeline .seg.added").count() == 1
        assert "x <b>run</b>, added" in other.page.locator("#timeline .seg.added").get_attribute("aria-label")
        page.reload()
        again = Reviewer(reviewer.watched, out, by)
        assert page.locator("#label-filter option").count() == 5
        again.select(3).choose(3)
        assert ("later", 9.0, 10.0, "added") in again.actions()


@needs_chromium
@pytest.mark.parametrize("by", ["key", "mouse"])
def test_the_dialog_can_be_left_and_says_when_there_is_no_answer(opened, folder, out, by):
    with serving(folder, out) as server:
        reviewer = Reviewer(opened(server.address), out, by)
        page = reviewer.page
        reviewer.do("C")
        page.keyboard.type("axd")
        assert page.locator("#timeline .seg.open").count() == 3, "keys are text in there"
        if by == "key":
            page.keyboard.press("Escape")
        else:
            page.locator("#new-class-cancel").click()
        assert not page.locator("#new-class-dialog").is_visible() and not out.exists()
        reviewer.watched.expected = "Failed to load|ERR_"
        page.route("**/labels", lambda route: route.abort())
        reviewer.do("C")
        page.keyboard.type("run")
        page.keyboard.press("Enter")
        reviewer.watched.until(
            "document.getElementById('new-class-error').textContent.includes('does not answer')"
        )
        assert page.locator("#label option").count() == 2
