"""Configuration of CLTDR-GMG; the variants `longtal`, `paper` and `release` differ in nothing else."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tal.decoders.trident.config import TridentConfig

Neighbours = Literal["none", "coarser", "finer", "both"]
Granularity = Literal["instant", "local", "global"]


class CltdrGmgConfig(TridentConfig):
    """The defaults are longtal's variant; `release` and `paper` make the other two.

    The switches from ``granularities`` to ``fusion`` are the ablations of the paper's Tables 6 to 11.
    """

    name: Literal["cltdr_gmg"] = "cltdr_gmg"

    # blocks
    window: int | tuple[int, ...] = Field(3, description="kernel of the local branch: one, or one per level")
    stem_window: int = Field(
        0, ge=0, description="kernel of the local branch in the stem; 0: that of level 0"
    )
    conv_init: float = Field(0.02, ge=0, description="sd of the depth-wise weights at first")
    granularities: tuple[Granularity, ...] = Field(("instant", "local", "global"), description="Table 6")
    gate: Literal["relu", "linear", "none"] = Field("relu", description="Table 7; linear: as released")
    global_mixer: Literal["fft", "attention"] = Field("fft", description="Table 8")
    heads: int = Field(4, ge=1, description="of the attention mixer")
    instant: Literal["depthwise", "dense"] = Field("depthwise", description="FC by channel, or over all")

    # decoupling
    class_neighbours: Neighbours = Field(
        "coarser", description="Table 9: levels beside P_l for classification"
    )
    regression_neighbours: Neighbours = Field("finer", description="Table 9: for regression")
    fusion: Literal["attention", "addition", "concat"] = Field("attention", description="Table 11")

    # refinement
    refine: Literal["both", "class", "offsets", "none"] = Field("both", description="Table 10")
    score_rule: Literal["residual", "product", "product_logits"] = Field(
        "residual",
        description="refined logit: a + r; logit of sigmoid(a) sigmoid(r); a r (released: loses the prior)",
    )
    shift_unit: Literal["stride", "grid"] = Field("stride", description="unit of the refined shifts")
    refine_direct: bool = Field(True, description="refine distances without trident too; false: as released")

    # losses
    refined_cls_loss: Literal["varifocal", "varifocal_label", "focal", "quality_focal"] = Field(
        "varifocal", description="varifocal_label: as released, the target is the label, not the IoU"
    )
    normaliser_updates: Literal[1, 2] = Field(1, description="updates a step; 2: as released")

    @model_validator(mode="after")
    def _blocks_fit(self) -> CltdrGmgConfig:
        for window in (*self.per_level(self.window, "window"), self.stem_window or 1):
            if window % 2 == 0:
                raise ValueError(f"kernel {window} is even; kernels are centred, so it must be odd")
        if not self.granularities:
            raise ValueError("granularities is empty; name at least one of instant, local, global")
        if self.global_mixer == "attention" and self.embed_dim % self.heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not a multiple of heads {self.heads}")
        return self

    @classmethod
    def release(cls, **changes: Any) -> CltdrGmgConfig:
        """As the authors' code computes, its faults included."""
        values: dict[str, Any] = {
            "masking": "release",
            "window": 1,
            "stem_window": 1,
            "gate": "linear",
            "conv_init": 0.0,
            "boundary_input": "detached",
            "score_rule": "product_logits",
            "shift_unit": "grid",
            "refine_direct": False,
            "refined_cls_loss": "varifocal_label",
            "varifocal_alpha": 0.25,
            "iou_weight_gradient": True,
            "normaliser_updates": 2,
        }
        return cls(**{**values, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> CltdrGmgConfig:
        """The paper's equations where the code differs.

        ReLU gates, a local branch that sees neighbours, boundary heads on the regression features.
        """
        values = {"gate": "relu", "window": 3, "stem_window": 3, "boundary_input": "regression"}
        return cls.release(**{**values, **changes})
