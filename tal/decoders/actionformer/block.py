"""ActionFormer's block: convolutional attention and a feed-forward part, both behind residual paths."""

from __future__ import annotations

from torch import Tensor, nn

from tal.decoders.actionformer.attention import RelativeBias, full_attention, local_attention
from tal.decoders.layers.convolution import MaskedConv1d
from tal.decoders.layers.masks import masked, max_pool, strided
from tal.decoders.layers.norms import ChannelNorm
from tal.decoders.layers.paths import ResidualPath


class ConvAttention(nn.Module):
    """Attention whose queries, keys and values come from convolutions.

    Each is a depth-wise convolution with the block's stride, a norm and a projection.
    """

    def __init__(
        self, width: int, heads: int, window: int, stride: int, dropout: float, relative: bool
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.convs = nn.ModuleDict(
            {
                n: MaskedConv1d(width, width, 3, stride, groups=width, bias=False)
                for n in ("query", "key", "value")
            }
        )
        # attention looks at no key in the padding, and masks what its queries give
        self.norms = nn.ModuleDict({name: ChannelNorm(width, strict=False) for name in self.convs})
        self.projections = nn.ModuleDict({name: nn.Conv1d(width, width, 1) for name in self.convs})
        self.output = nn.Conv1d(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.bias = RelativeBias(heads, window // 2 * 2 + 1, width) if relative and window > 1 else None
        for layer in (*self.projections.values(), self.output):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, mask: Tensor, out_mask: Tensor) -> Tensor:
        """x [B, D, T], mask [B, 1, T], out_mask [B, 1, T / stride] -> [B, D, T / stride]."""
        query, key, value = (
            self._split(self.projections[name](self.norms[name](conv(x, mask), out_mask)))
            for name, conv in self.convs.items()
        )
        if self.window > 1:
            bias = self.bias() if self.bias is not None else None
            mixed = local_attention(query, key, value, out_mask, self.window // 2, bias)
        else:
            mixed = full_attention(query, key, value, out_mask)
        mixed = mixed.transpose(2, 3).flatten(1, 2)  # [B, D, T]
        return masked(self.dropout(self.output(mixed)), out_mask)

    def _split(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, H, T, D / H]"""
        return x.unflatten(1, (self.heads, -1)).transpose(2, 3)


class AttentionBlock(nn.Module):
    """x [B, D, T] -> [B, D, T / stride]; the skip path is a max-pool where the block has a stride."""

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        stride: int,
        drop_path: float,
        dropout: float,
        relative: bool,
        strict: bool,
    ) -> None:
        super().__init__()
        self.stride, self.strict = stride, strict
        self.norm1 = ChannelNorm(width, strict)
        self.norm2 = ChannelNorm(width, strict=False)
        self.attention = ConvAttention(width, heads, window, stride, dropout, relative)
        self.mlp = nn.Sequential(
            nn.Conv1d(width, 4 * width, 1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(4 * width, width, 1),
            nn.Dropout(dropout),
        )
        self.path1 = ResidualPath(width, drop_path, strict=False)  # attention masks its output
        self.path2 = ResidualPath(width, drop_path, strict=True)
        for layer in self.mlp:
            if isinstance(layer, nn.Conv1d):
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """x [B, D, T], mask bool [B, 1, T] -> [B, D, T / stride], zeros outside the mask."""
        out_mask = strided(mask, self.stride)
        normal = self.norm1(x, mask)
        skip = x if self.stride == 1 else max_pool(x, mask, self.stride, self.strict)
        x = masked(skip, out_mask) + self.path1(self.attention(normal, mask, out_mask), out_mask)
        return x + self.path2(self.mlp(self.norm2(x, out_mask)), out_mask)
