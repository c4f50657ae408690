"""What TriDet's and CLTDR-GMG's blocks share: everything around their branches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn

from tal.decoders.layers.convolution import feed_forward
from tal.decoders.layers.downsampling import Downsampling
from tal.decoders.layers.masks import masked
from tal.decoders.layers.norms import ChannelNorm, GroupNorm
from tal.decoders.layers.paths import ResidualPath
from tal.decoders.trident.config import TridentConfig


class BranchBlock(nn.Module, ABC):
    """x + path(u + branches(u)) with u = norm(x), then a feed-forward part behind a group norm.

    A subclass makes its branches after ``super().__init__`` and ends with `add_feed_forward`: random numbers
    and an optimizer's state go by the order in which parameters are made.
    """

    def __init__(self, config: TridentConfig, stride: int) -> None:
        super().__init__()
        width = config.embed_dim
        self.stride, self.strict = stride, config.strict
        self.downsampling = Downsampling(width, stride, config.downsampling, config.strict)
        self.norm = ChannelNorm(width, config.strict)
        groups = math.gcd(config.norm_groups, width)
        # one level deeper than it needs: the parameters' names are those of saved models
        self.group_norm = nn.ModuleDict({"norm": GroupNorm(width, groups, config.strict)})

    def add_feed_forward(self, config: TridentConfig, drop_path: float) -> None:
        """Make the parts that come after the branches."""
        self.mlp = feed_forward(config.embed_dim, config.mlp_dim)
        self.path1 = ResidualPath(config.embed_dim, drop_path, config.strict)
        self.path2 = ResidualPath(config.embed_dim, drop_path, config.strict)

    @abstractmethod
    def branches(self, u: Tensor, mask: Tensor, lengths: list[int] | None) -> Tensor:
        """Sum of the branches, [B, D, T] -> [B, D, T]; what it leaves in the padding does not matter.

        ``lengths``: valid positions of each sample, where the backbone counts them.
        """

    def forward(self, x: Tensor, mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """x [B, D, T], mask bool [B, 1, T] -> [B, D, T / stride]; ``lengths`` at the input's stride."""
        x, mask = self.downsampling(x, mask)
        if lengths is not None:
            lengths = [-(-n // self.stride) for n in lengths]
        u = self.norm(x, mask)
        x = masked(x, mask) + self.path1(u + self.branches(u, mask, lengths), mask)
        return x + self.path2(self.mlp(self.group_norm["norm"](x, mask)), mask)
