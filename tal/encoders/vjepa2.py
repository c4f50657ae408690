"""V-JEPA 2 (Assran et al., arXiv:2506.09985): the encoder alone, without the pretraining's predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from tal.encoders.config import EncoderConfig
from tal.encoders.vit import TokenEncoder, init_transformer, patches_across, square_side


class VJEPA2Encoder(TokenEncoder):
    """Tokens of a clip averaged over space only: a row every tubelet, 2 frames.

    Positions are rotary in time, height and width, so a clip may have any even number of frames. The library
    takes a token's place from ``crop_size``, not from the pictures: it is set to `EncoderConfig.crop` here.

    Parameters
    ----------
    settings
        keyword arguments of `transformers.VJEPA2Config`.
    statistics
        mean and standard deviation of the pictures.

    Raises
    ------
    ConfigError
        pictures that patches do not fill.
    """

    def __init__(
        self,
        config: EncoderConfig,
        settings: Mapping[str, Any],
        statistics: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        from transformers import VJEPA2Config
        from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2Encoder as Network

        own = {"crop_size": config.crop, "drop_path_rate": config.drop_path, "attn_implementation": "sdpa"}
        network = VJEPA2Config(**{**settings, **own})
        super().__init__(config, network.tubelet_size, *statistics)
        self.tokens_per_row = patches_across(config.name, config.crop, square_side(network.patch_size)) ** 2
        self.model: Any = Network(network)
        init_transformer(self.model, network.initializer_range)
        self.channels = network.hidden_size
        # the embeddings' own forward wants another order of axes and does nothing else
        self.parts = [[self.model.embeddings.patch_embeddings], *([block] for block in self.model.layer)]

    def last_norm(self, tokens: Tensor) -> Tensor:
        return self.model.layernorm(tokens)

    def _run(self, part: nn.Module, x: Tensor) -> Tensor:
        out = super()._run(part, x)
        return out[0] if isinstance(out, tuple) else out  # a block gives its attention too
