"""Works on the review's page, by keys or by mouse, and looks at the file."""

import pytest

from tal.annotations.corrections import read_corrections

FPS = 10
# Label, start, end, score; times lie on pictures or between them.
FOUND = [("jump", 1.0, 3.0, 0.9), ("squat", 4.03, 6.02, 0.8), ("jump", 7.0, 8.0, 0.3)]
# What does not have a button of its own is done elsewhere: a click on a bar, the class in its list.
BUTTONS = {
    "a": "accept",
    "x": "reject",
    "C": "new-class",
    "i": "begin",
    "o": "end",
    "t": "split",
    "d": "delete",
    "u": "undo",
    "U": "redo",
    "q": "start-back",
    "w": "start-on",
    "e": "end-back",
    "r": "end-on",
    "[": "start-here",
    "]": "end-here",
    "m": "reviewed",
    "M": "reviewed-here",
    ",": "frame-back",
    ".": "frame-on",
    "l": "loop",
    "g": "next-drawn",
    "y": "drawn",
    "f": "next-doubt",
    "n": "next-open",
    "p": "prev-open",
    "+": "zoom-in",
    "-": "zoom-out",
}


class Reviewer:
    """Works on a page, by keys or by mouse, and looks at the file."""

    def __init__(self, watched, out, by="key"):
        self.watched, self.page, self.out, self.by = watched, watched.page, out, by
        watched.until("document.getElementById('clock').textContent.includes('picture')").ready()

    def do(self, *keys):
        for key in keys:
            if self.by == "key":
                self.page.keyboard.press(key)
            else:
                self.page.locator(f"#{BUTTONS[key]}").click()
        return self

    def watch_pictures(self):
        """Have the page note the time of the picture that it shows, as the browser tells it."""
        self.page.evaluate(
            "() => { const video = document.getElementById('video');"
            " const next = () => video.requestVideoFrameCallback((_, picture) => {"
            " window.shown = picture.mediaTime; next(); }); next(); }"
        )

    def step_on(self, time_s):
        """To the next picture, which is shown when it comes at this time."""
        self.page.keyboard.press(".")
        self.watched.until(f"Math.abs((window.shown ?? -1) - {time_s}) < 2e-4")

    def select(self, number):
        """The number-th bar by time."""
        if self.by == "key":
            self.page.keyboard.press("Escape")
            self.to(0)
            for _ in range(number + 1):
                self.page.keyboard.press("j")
        else:
            self.bars().nth(number).click()
        return self

    def bars(self):
        """Bars by time, whatever row they stand in."""
        labels = self.page.locator("#timeline .seg").evaluate_all(
            "bars => bars.sort((a, b) => parseFloat(a.style.left) - parseFloat(b.style.left))"
            ".forEach((bar, place) => bar.setAttribute('data-place', place))"
        )
        assert labels is None
        return Places(self.page)

    def to(self, seconds):
        """Go to a moment, a picture's."""
        if self.by == "key":
            for _ in range(12):
                self.page.keyboard.press("ArrowLeft")
            for _ in range(int(seconds)):
                self.page.keyboard.press("ArrowRight")
            for _ in range(round(seconds % 1 * FPS)):
                self.page.keyboard.press(".")
        else:
            box = self.page.locator(".tl-axis").bounding_box()
            self.page.mouse.click(box["x"] + box["width"] * seconds / 12, box["y"] + 8)
        assert self.time() == pytest.approx(seconds, abs=0.051)
        return self

    def choose(self, number):
        """The class."""
        if self.by == "key":
            self.page.keyboard.press(str(number + 1))
        else:
            self.page.locator("#label").select_option(str(number))
        return self

    def time(self):
        return float(self.page.locator(".tl-axis").get_attribute("aria-valuenow"))

    def said(self):
        return self.page.locator("#selection").inner_text()

    def saved(self):
        """What the file holds, when the page says that it is saved."""
        self.watched.until("document.getElementById('saving').textContent === 'Saved'")
        return read_corrections(self.out).videos["a"]

    def actions(self):
        """(label, start, end, source) of each, times to the microsecond."""
        return [(*self.rounded(j.segment), j.source) for j in self.saved().actions]

    def rejected(self):
        return [self.rounded(j.segment) for j in self.saved().rejected]

    @staticmethod
    def rounded(segment):
        return segment.label, round(segment.start_s, 6), round(segment.end_s, 6)


class Places:
    def __init__(self, page):
        self.page = page

    def nth(self, number):
        return self.page.locator(f"#timeline .seg[data-place='{number}']")
