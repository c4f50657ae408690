"""Where an encoder of the `transformers` naming comes from: a local folder, the hub's cache, or the hub.

Only JSON and safetensors are read. Code that a repository brings is never run, pickles are never loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from featstore.documents import parse_json, why
from tal.errors import ConfigError, WeightsError
from tal.shared.weights import read_state

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
# where the mean and deviation of the pictures stand; newer repositories have the second name
_PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")


@dataclass(frozen=True)
class HubSource:
    """A folder of `save_pretrained`, or a repository of the hub.

    Attributes
    ----------
    name
        what the user wrote: a path of a folder that is there, or ``owner/repository``.
    """

    name: str

    @property
    def label(self) -> str:
        """A name that does not change when the folder moves."""
        return self._folder.name if self._folder else self.name

    @property
    def _folder(self) -> Path | None:
        path = Path(self.name).expanduser()
        return path.resolve() if path.is_dir() else None

    def settings(self) -> dict[str, Any]:
        """The network's ``config.json``.

        Raises
        ------
        WeightsError
            it is not available here; the message says how to bring it.
        """
        path = self._file("config.json")
        if path is None:
            raise WeightsError(f"hf:{self.name} has no config.json, so its network is not known")
        return _read_json(path)

    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of the pictures, where the source says them."""
        for name in _PROCESSORS:
            if path := self._file(name):
                found = _read_json(path)
                mean, std = _triple(found.get("image_mean")), _triple(found.get("image_std"))
                if mean and std:
                    return mean, std
        return None

    def state(self) -> dict[str, Tensor]:
        """All tensors, by their names in the files.

        Raises
        ------
        WeightsError
            there are no safetensors, or they are not available here.
        """
        if whole := self._file(_WHOLE):
            return read_state(whole)
        index = self._file(_INDEX)
        if index is None:
            raise WeightsError(
                f"hf:{self.name} has no {_WHOLE}: other files are not read, since a pickle can run code. "
                "Convert them (transformers: model.save_pretrained(FOLDER)) and name the folder, hf:FOLDER"
            )
        names = _read_json(index).get("weight_map")
        if not isinstance(names, Mapping):
            raise WeightsError(f"{index}: has no weight_map")
        state: dict[str, Tensor] = {}
        for name in sorted({str(n) for n in names.values()}):
            part = self._file(name) if Path(name).name == name else None
            if part is None:
                raise WeightsError(f"{index}: names {name!r}, which is not there")
            state.update(read_state(part))
        return state

    def _file(self, name: str) -> Path | None:
        """Path of a file of the source; None where the source has none of this name."""
        if folder := self._folder:
            return path if (path := folder / name).is_file() else None
        return _from_hub(self.name, name)


def _from_hub(repository: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name))
    except HFValidationError as error:
        raise ConfigError(
            f"hf:{repository} is neither a folder that is there nor the name of a repository, owner/name"
        ) from error
    except LocalEntryNotFoundError as error:  # a child of EntryNotFoundError that means: no connection
        raise _unavailable(repository, name, error) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError, RuntimeError) as error:
        raise _unavailable(repository, name, error) from error


def _unavailable(repository: str, name: str, error: Exception) -> WeightsError:
    first = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
    return WeightsError(
        f"hf:{repository}: {name} is neither in the hub's cache nor to be had from here ({first}); download "
        f"the repository elsewhere (`hf download {repository} --local-dir FOLDER`), bring the folder, and "
        "name it: hf:FOLDER"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(path.read_bytes(), str(path), WeightsError)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {why(error)}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: must be a mapping")
    return value


def _triple(value: object) -> list[float] | None:
    """A number for each of three colours; None for anything else."""
    if not (isinstance(value, list) and len(value) == 3 and all(isinstance(x, int | float) for x in value)):
        return None
    return [float(x) for x in value]
