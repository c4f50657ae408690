"""torchvision's video networks, with the weights that torchvision publishes or those of a file."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tal.encoders.config import EncoderConfig
from tal.encoders.convert_swin import INDEX_TABLE, convert_mmaction_swin, is_mmaction_swin
from tal.errors import WeightsError
from tal.shared.weights import check_sha256, file_sha256, load_strict, read_state


@dataclass(frozen=True, slots=True)
class TorchvisionNetwork:
    """A network by torchvision's name for it.

    Attributes
    ----------
    default
        which of its published weights ``pretrained`` means.
    classifier
        prefix of the parameters that are not used here.
    """

    name: str
    default: str
    classifier: str

    @property
    def published(self) -> Any:
        """torchvision's enum of its weights: transforms, url, accuracy."""
        from torchvision.models import get_model_weights

        return get_model_weights(self.name)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of the pictures that the default weights saw."""
        transforms = self.published[self.default].transforms()
        return transforms.mean, transforms.std

    def load(self, config: EncoderConfig, build: Callable[..., nn.Module] | None = None) -> nn.Module:
        """The network with its weights, the classifier still on it; ``build`` None: torchvision's own way.

        Raises
        ------
        WeightsError
            weights that do not fit or are not available.
        """
        if build is None:
            from torchvision.models import get_model_builder

            build = get_model_builder(self.name)
        model = build(weights=None)
        if config.weights is not None:
            state, source = self._state(config, config.weights)
            if is_mmaction_swin(state):
                state = convert_mmaction_swin(state, source)
            state = {k: v for k, v in state.items() if not k.startswith(self.classifier)}
            own = model.state_dict().items()
            derived = {k: v for k, v in own if k.startswith(self.classifier) or k.endswith(INDEX_TABLE)}
            load_strict(model, {**state, **derived}, source)
        return model

    def _state(self, config: EncoderConfig, weights: str) -> tuple[dict[str, Tensor], str]:
        """Tensors as they were published, and where they come from."""
        if weights == "pypi":
            raise WeightsError(f"no PyPI package has weights for {self.name}: use `pretrained` or a file")
        published = self.published
        if weights == "pretrained" or weights in published.__members__:
            member = published[self.default if weights == "pretrained" else weights]
            return _download(member), str(member)
        state = read_state(weights)
        check_sha256(config.weights_sha256, {"file": file_sha256(Path(weights))}, weights)
        return state, weights


def _download(weights: Any) -> dict[str, Tensor]:
    name = weights.url.rsplit("/", 1)[-1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{weights}: cannot be downloaded here ({error}); fetch {weights.url} elsewhere and put it at "
            f"{cached}, or name the file as encoder.weights"
        ) from error
