"""A model of this machine becomes one of the hub, in one commit."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featstore.documents import read_json
from pipelines.push.card import CardFacts, write_card
from pipelines.push.parcel import Parcel, parcel_of
from pipelines.shared.run_folder import validation_predictions
from tal.errors import CheckpointError, OutputError
from tal.inference.hub import PREFIX, first_line, repository_of
from tal.inference.model_folder import read_model
from tal.inference.model_source import TRUNK

CARD = "README.md"
_MARK = re.compile(r"<!-- longtal push: ([0-9a-f]{64}) -->\n\Z")


@dataclass(frozen=True)
class Shipment:
    """What is sent, and where to."""

    repository: str
    parcel: Parcel
    card: str


def prepare_push(source: Path, to: str, dataset: str = "", license: str = "") -> Shipment:
    """The files and the card of a run's model, or a model folder's.

    Raises
    ------
    CheckpointError
        it is not a model, or ``to`` is not ``hf:owner/name``.
    """
    if not to.startswith(PREFIX) or "@" in to:
        raise CheckpointError(f"{to!r} is not a repository of the hub: write hf:owner/name")
    repository, _ = repository_of(to)
    model = read_model(source)
    parcel = parcel_of(model)
    facts = CardFacts(repository, dataset, license, _figures(model.path, model.provenance))
    card = write_card(model, facts)
    card += f"\n<!-- longtal push: {_digest(card)} -->\n"
    files = {CARD: card.encode(), **parcel.files}
    return Shipment(repository, Parcel(files, parcel.notes), card)


def push(shipment: Shipment, private: bool = False, message: str = "") -> dict[str, Any]:
    """Send it as one commit; what was interrupted left the repository as it was, and the same call goes on.

    A card that was edited at the hub stays. Large files that are there already are not sent again.

    Raises
    ------
    OutputError
        no token, no permission, or the hub does not answer or not to the end.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    name = shipment.repository
    if get_token() is None:
        raise OutputError(
            f"hf:{name}: there is no token to write with: `hf auth login`, or HF_TOKEN=…, with one that may "
            "write (https://huggingface.co/settings/tokens)"
        )
    api = HfApi(library_name="longtal")
    notes: list[str] = []
    try:
        api.create_repo(name, private=private or None, exist_ok=True)
        info = api.model_info(name, timeout=10)
        if private and info.private is False:
            raise OutputError(f"hf:{name} is there already, and public: make it private there first")
        there = {file.rfilename for file in info.siblings or ()}
        files = dict(shipment.parcel.files)
        if CARD in there and not _is_ours(api, name, str(info.sha)):
            del files[CARD]
            notes.append(f"{CARD} was written or edited at the hub, and stays: remove it there for a new one")
        operations: list[Any] = [
            CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
            for path, content in files.items()
        ]
        if TRUNK in there and TRUNK not in files:
            operations.append(CommitOperationDelete(TRUNK))
        done = api.create_commit(
            name, operations, commit_message=message or "Model of longtal", parent_commit=str(info.sha)
        )
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OutputError):
            raise
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
        if status in (401, 403):
            raise OutputError(
                f"hf:{name}: the token may not write there ({first_line(error)}): use one with write access "
                f"to {name.partition('/')[0]} (`hf auth login`)"
            ) from error
        raise OutputError(
            f"hf:{name} could not be written ({first_line(error)}): the repository is as it was; the same "
            "command goes on"
        ) from error
    return {"repository": name, "commit": done.oid, "url": str(done.commit_url), "notes": notes}


def _is_ours(api: Any, name: str, revision: str) -> bool:
    """Whether the card there is one that this command wrote, unchanged."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(name, CARD, revision=revision, local_dir=folder)
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    found = _MARK.search(text)
    return found is not None and found[1] == _digest(text[: found.start() - 1])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _figures(folder: Path, provenance: Any) -> dict[str, Any] | None:
    """The run's validation that the model was written at, where the model lies in its run."""
    step = provenance.get("step")
    if not isinstance(step, int):
        return None
    path = validation_predictions(folder.parent, step)
    path = path.with_name(path.name.replace("_predictions", ""))
    if not path.is_file():
        return None
    facts = read_json(path, CheckpointError)
    both = [facts.get(key) for key in ("tiou", "mAP")] if isinstance(facts, dict) else [None, None]
    numbers = all(isinstance(v, list) and all(isinstance(x, int | float) for x in v) for v in both)
    return facts if numbers and len(both[0] or ()) == len(both[1] or ()) else None
