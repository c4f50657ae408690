"""A server that is killed at any moment: what it answered for is in the file, and the file is whole."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

from tal.annotations.corrections import read_corrections
from tests.pipelines.review.review_data import action, changed, edited
from tests.test_design_docs import ROOT


def start(folder, out):
    command = [sys.executable, "cli.py", "review", str(folder / "predictions.json"), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--no-open"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return process, process.stdout.readline().split()[0]


def save_until_it_dies(address, answered):
    """Save an ever later edge; note each that the server said is saved."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        page = answer.read().decode()
    token = re.search(r'"token":"([^"]+)"', page).group(1)
    version = int(re.search(r'"version":(\d+)', page).group(1))
    host, secret = re.fullmatch(r"http://([^/]+)/([^/]+)/", address).groups()
    headers = {"Origin": f"http://{host}", "Content-Type": "application/json", "X-Longtal-Token": token}
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        while True:
            end = answered[-1] + 1
            before, after = ([action(0, e)] * 50 if e else [] for e in (answered[-1], end))
            change = changed(edited(annotations=before), edited(annotations=after))
            body = {"version": version, "changes": change}
            connection.request("POST", f"/{secret}/document/0", json.dumps(body), headers)
            answer = connection.getresponse()
            assert answer.status == 200
            version = json.loads(answer.read())["version"]
            answered.append(end)
    except (OSError, http.client.HTTPException):
        connection.close()


@pytest.mark.parametrize("seed", range(3))
def test_what_was_answered_for_is_there_after_a_kill(tmp_path, seed):
    (tmp_path / "predictions.json").write_text(
        json.dumps({"results": {"a": [{"label": "jump", "score": 0.5, "segment": [0, 1]}]}})
    )
    out, answered = tmp_path / "c.json", [0]
    rng = np.random.default_rng(seed)
    for _ in range(2):  # the second goes on where the first was killed
        process, address = start(tmp_path, out)
        try:
            before = len(answered)
            saving = threading.Thread(target=save_until_it_dies, args=(address, answered))
            saving.start()
            while len(answered) < before + 3:
                assert saving.is_alive(), "a change was not taken"
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.1))
            os.kill(process.pid, signal.SIGKILL)
            saving.join(timeout=60)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        kept = read_corrections(out).videos["a"].actions
        ends = {judged.segment.end_s for judged in kept}
        assert len(kept) == 50 and len(ends) == 1, "one document, whole"
        assert ends <= {answered[-1], answered[-1] + 1}, "the last one said to be saved, or the one after"
        answered.append(ends.pop())  # changes go on from what stands there
