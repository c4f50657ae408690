"""The encoders that there are."""

from __future__ import annotations

from dataclasses import dataclass

from tal.weights import PYPI_WEIGHTS


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """One encoder: its name, what it needs, and where its weights come from.

    ``channels`` 0: known only after it is built. ``clip_frames``, ``size`` and ``crop`` are what its
    published weights saw.
    """

    name: str
    channels: int
    frame_stride: int
    clip_frames: int
    size: int
    crop: int
    weights: str
    note: str = ""


_VIDEO = (
    EncoderEntry(
        "swin3d_t", 768, 2, 32, 256, 224, "Kinetics-400", "Video Swin T; mmaction checkpoints load too"
    ),
    EncoderEntry(
        "swin3d_s", 768, 2, 32, 256, 224, "Kinetics-400", "Video Swin S; mmaction checkpoints load too"
    ),
    EncoderEntry(
        "swin3d_b", 1024, 2, 32, 256, 224, "Kinetics-400 (from ImageNet-22k)", "TALLFormer's encoder"
    ),
    EncoderEntry(
        "mvit_v2_s", 768, 2, 16, 256, 224, "Kinetics-400", "clips of 16 frames at 224 only, with weights"
    ),
    EncoderEntry("r2plus1d_18", 512, 8, 16, 128, 112, "Kinetics-400"),
    EncoderEntry("s3d", 1024, 8, 64, 256, 224, "Kinetics-400"),
    EncoderEntry("i3d", 1024, 8, 64, 256, 224, "file in pytorch-i3d's naming", "RGB stream"),
)
_TIMM = (
    EncoderEntry(
        "timm:tf_efficientnet_lite0", 1280, 1, 16, 256, 224, "ImageNet: pypi, hub", "the default; light"
    ),
    EncoderEntry("timm:tf_efficientnet_lite2", 1280, 1, 16, 288, 260, "ImageNet: pypi, hub"),
    EncoderEntry("timm:resnet50", 2048, 1, 16, 256, 224, "ImageNet: hub"),
    EncoderEntry("timm:convnext_tiny", 768, 1, 16, 256, 224, "ImageNet: hub"),
    EncoderEntry("timm:vit_small_patch16_224", 384, 1, 16, 256, 224, "ImageNet: hub"),
)
ALIASES = {
    **{f"{prefix}_{s}": f"swin3d_{s}" for prefix in ("videoswin", "video_swin") for s in "tsb"},
    **{f"torchvision:{e.name}": e.name for e in _VIDEO if e.name != "i3d"},
}


def list_encoders() -> tuple[EncoderEntry, ...]:
    """Named encoders; any other timm image model is ``timm:MODEL``."""
    return _TIMM + _VIDEO


def find_entry(name: str) -> EncoderEntry | None:
    """The entry of a name or an alias; None for timm models that are not listed."""
    name = ALIASES.get(name, name)
    return next((e for e in list_encoders() if e.name == name), None)


def has_pypi_weights(name: str) -> bool:
    return name.removeprefix("timm:") in PYPI_WEIGHTS
