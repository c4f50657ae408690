"""A command of many stages: news stay out of the log, warnings do not, and afterwards all is as before."""

from pipelines.shared import console


def test_brief_leaves_news_out_and_warnings_in(capsys):
    console.set_quiet(False)
    with console.brief():
        console.log.info("news")
        console.log.warning("a warning")
        with console.progress("things") as bar:
            bar.advance(bar.add_task("working", total=1))
    console.log.info("more news")
    said = capsys.readouterr().err
    assert "a warning" in said and "more news" in said
    assert said.count("news") == 1
    assert "working" not in said
