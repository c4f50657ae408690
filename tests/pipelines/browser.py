"""Pages in a real, headless Chromium: what the tests of the report and of the review share."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
needs_chromium = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or not Path(CHROMIUM).exists(),
    reason=f"needs playwright and {CHROMIUM}",
)


class Watched:
    """A page with everything it complained about and asked for."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**{"viewport": {"width": 1366, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.expected = "(?!)"  # of what the page may complain: a pattern
        self.complaints, self.requests, self.answers = [], [], []
        self.page.on("console", lambda m: self.complaints.append(m.text))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("response", lambda r: self.answers.append((r.url, r.status)))
        self.page.goto(address)

    def time(self):
        return self.page.evaluate("document.getElementById('video').currentTime")

    def until(self, expression):
        """Wait; the page's policy forbids Playwright's own way, which evaluates a string in the page."""
        for _ in range(1200):
            if self.page.evaluate(expression):
                return self
            self.page.wait_for_timeout(25)
        raise AssertionError(f"never came true: {expression}")

    def ready(self):
        return self.until("document.getElementById('video').readyState >= 1")

    def contrasts(self, selectors):
        """[selector, ratio of WCAG 2] of the first element of each; text is legible from 4.5 on."""
        return self.page.evaluate(
            """names => {
          const rgb = text => text.match(/[\\d.]+/g).map(Number);
          const level = c => c <= 10 ? c / 3295 : ((c / 255 + .055) / 1.055) ** 2.4;
          const light = c => .2126 * level(c[0]) + .7152 * level(c[1]) + .0722 * level(c[2]);
          const ground = e => {
            const c = rgb(getComputedStyle(e).backgroundColor);
            return c.length < 4 || c[3] > .99 ? c : ground(e.parentElement);
          };
          return names.map(name => {
            const e = document.querySelector(name);
            const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
            return [name, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
          });
        }""",
            selectors,
        )

    def card(self, name):
        return self.page.evaluate(
            """name => [...document.querySelectorAll('.card')]
              .find(c => c.querySelector('dt').textContent === name).querySelector('dd').innerText""",
            name,
        )
