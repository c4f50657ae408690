"""The contract of every encoder, and of the files that bring them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tal.encoders.adapters.attach import attach, choose_places
from tal.encoders.adapters.low_rank import is_low_rank, plain_name
from tal.encoders.adapters.places import AdapterPlace
from tal.encoders.config import EncoderConfig
from tal.encoders.preprocess import Preprocess
from tal.errors import ConfigError
from tal.shared.weights import tensors_sha256
from tal.video.clips import ClipShape


class Encoder(nn.Module):
    """Clips of frames -> feature rows.

    Children set ``channels`` and ``model`` and give `encode` (rows at their own stride) and `stages`;
    freezing, frozen statistics and the averaging of rows to the configured stride are the same for all.

    Attributes
    ----------
    name, channels
        which encoder, and C, the length of a row.
    grid
        L_c and s_e: a clip's frames, and frames per row; a clip gives R = L_c / s_e rows.
    own_stride
        frames a row of the network itself; s_e is a multiple of it and the rows between are averaged.
    preprocess
        how pictures are fed.
    weights_sha256
        digest of the weights it was built with (names, shapes, values), without adapters.
    adapters
        bottlenecks behind its blocks; empty without `EncoderConfig.adapter`.
    laid_over
        names of its own tensors that `EncoderConfig.adapter_weights` changed.
    learnt_sha256
        digest of all of that file's tensors; empty without it.
    """

    name: str
    channels: int
    own_stride: int
    weights_sha256: str

    def __init__(
        self, config: EncoderConfig, own_stride: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        if config.frame_stride % own_stride:
            raise ConfigError(
                f"{config.name} gives a row every {own_stride} frames: encoder.frame_stride must be a "
                f"multiple of {own_stride}, not {config.frame_stride}"
            )
        self.config = config
        self.name = config.name
        self.own_stride = own_stride
        self.grid = config.grid
        self.preprocess = Preprocess(config.size, config.crop, tuple(mean), tuple(std))
        self.weights_sha256 = ""
        self.adapters = nn.ModuleDict()
        self.laid_over: frozenset[str] = frozenset()
        self.learnt_sha256 = ""
        self._frozen: list[nn.Module] = []
        self._learning: list[nn.Module] = []

    @property
    def clip_shape(self) -> ClipShape:
        """What decoding must give: the clips' frames and the pictures' sides."""
        return ClipShape(self.grid, self.preprocess.size, self.preprocess.crop)

    def encode(self, frames: Tensor) -> Tensor:
        """Normalised frames [B, 3, L, H, W] -> rows [B, C, L / own_stride]."""
        raise NotImplementedError

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """The network in order: stem, then each stage; the rest (a final norm) belongs to no stage."""
        raise NotImplementedError

    def adapter_places(self) -> list[AdapterPlace]:
        """Where adapters may go, in the network's order.

        Raises
        ------
        ConfigError
            the network has no such places.
        """
        raise ConfigError(
            f"{self.name} takes no adapters: vision transformers, Video Swin and timm models do"
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames [B, 3, L_c, H, W] -> rows [B, C, L_c / s_e].

        Raises
        ------
        ConfigError
            frames of another shape.
        """
        if frames.dim() != 5 or frames.shape[1] != 3 or frames.shape[2] % self.grid.frame_stride:
            raise ConfigError(
                f"{self.name} takes frames [B, 3, L, H, W] with L a multiple of {self.grid.frame_stride}, "
                f"not {list(frames.shape)}"
            )
        rows = self.encode(frames)
        group = self.grid.frame_stride // self.own_stride
        return rows.unflatten(2, (-1, group)).mean(3) if group > 1 else rows

    def freeze(self, num_stages: int) -> None:
        """Stop the stem and the first stages from learning; they also run in eval mode from now on.

        Raises
        ------
        ConfigError
            the network has fewer stages.
        """
        if num_stages == 0:
            return
        stages = self.stages()
        if num_stages > len(stages) - 1:
            raise ConfigError(
                f"{self.name} has {len(stages) - 1} stages; encoder.frozen_stages={num_stages} is more"
            )
        for part in (p for stage in stages[: num_stages + 1] for p in stage):
            if isinstance(part, nn.Module):
                self._frozen.append(part)
                part.requires_grad_(False)
                part.eval()
            else:
                part.requires_grad_(False)

    def add_adapters(self) -> None:
        """Put the configuration's adapters in; all else rests from now on, but for its `learning_stages`.

        Raises
        ------
        ConfigError
            the network has no places for them, or fewer than asked for.
        """
        config = self.config.adapter
        assert config is not None
        places = choose_places(self.adapter_places(), self.config.frozen_stages, config.blocks, self.name)
        stages = self.stages()
        first = len(stages) - config.learning_stages
        if first <= self.config.frozen_stages:
            raise ConfigError(
                f"{self.name} has {len(stages) - 1} stages, of which encoder.frozen_stages "
                f"{self.config.frozen_stages} rest and encoder.adapter.learning_stages "
                f"{config.learning_stages} are to learn: that is more"
            )
        self.requires_grad_(False)
        self._frozen.extend(child for child in self.children() if child is not self.adapters)
        for part in (p for stage in stages[first:] for p in stage):
            part.requires_grad_(True)
            if isinstance(part, nn.Module):
                self._learning.append(part)
        self.adapters.update(attach(places, config, self.name))
        self.adapters.requires_grad_(True)

    @property
    def adapter_sha256(self) -> str:
        """Digest of the adapters; empty while they add nothing: rows are those of the plain encoder then."""
        state = {k: v for k, v in self.state_dict().items() if is_adapter(k)}
        ups = [v for k, v in state.items() if k.endswith((".up", ".up.weight", ".up.bias"))]
        return tensors_sha256(state) if any(bool(up.any()) for up in ups) else ""

    @property
    def resting(self) -> frozenset[str]:
        """Names of the tensors of its state that no step changes because adapters learn in their place.

        What an earlier run has changed is not among them: its published weights do not have it.
        """
        if self.config.adapter is None:
            return frozenset()
        learning = {id(t) for part in self._learning for t in (*part.parameters(), *part.buffers())}
        return frozenset(
            name
            for name, value in self.state_dict(keep_vars=True).items()
            if not is_adapter(name)
            and not value.requires_grad
            and id(value) not in learning
            and plain_name(name) not in self.laid_over
        )

    def train(self, mode: bool = True) -> Encoder:
        """Training mode, except for what rests and (by default) batch-norm statistics."""
        super().train(mode)
        if mode:
            for module in self._frozen:
                module.eval()
            for module in self._learning:
                module.train()
            if self.config.norm_frozen:
                for module in self.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()
        return self


def is_adapter(name: str) -> bool:
    """Whether a tensor of an encoder's state belongs to an adapter."""
    return name.startswith("adapters.") or is_low_rank(name)


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """One encoder as lists show it.

    Attributes
    ----------
    channels
        C, length of a row.
    frame_stride
        frames a row of the network itself.
    clip_frames, size, crop
        what its published weights saw.
    weights, note
        where weights come from, and what else there is to say.
    licence
        of the weights, where their source states one.
    crop_multiple
        side of the patches that pictures are cut into: other crops are a multiple of it.
    """

    name: str
    channels: int
    frame_stride: int
    clip_frames: int
    size: int
    crop: int
    weights: str
    note: str = ""
    licence: str = ""
    crop_multiple: int = 16


@dataclass(frozen=True)
class EncoderFamily:
    """What a file of encoders brings to the registry.

    Attributes
    ----------
    entries
        the encoders that lists show.
    build
        (configuration, entry's name) -> the network with its weights; random ones from the caller's random
        state. Libraries that take long to load are imported by it, not by its file.
    aliases
        other name -> entry's name.
    prefix
        names that begin so belong to the family, listed or not; empty: listed names only.
    describe
        entry of a name with the prefix that is not listed; None: such names say nothing of themselves.
    by_adapters
        its networks are so large that usually adapters learn, and not they.
    """

    entries: tuple[EncoderEntry, ...]
    build: Callable[[EncoderConfig, str], Encoder]
    aliases: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    describe: Callable[[str], EncoderEntry] | None = None
    by_adapters: bool = False
