"""What presets were seen to give where longtal was developed; docs/results.md says how it was measured."""

from __future__ import annotations

# Preset -> figure, data and seeds. What is not here was not trained: its data sets are too large for that
# place, and the network was built and stepped at reduced size only.
SEEN: dict[str, str] = {
    "demo": "mAP@0.5 0.931 ± 0.032 on held-out people, 3 seeds; rows at rest 0.812 ± 0.062",
    "gym": "mAP .3:.7 0.287 ± 0.009 on validation, 3 seeds; frozen 0.249 ± 0.011",
    "hapt": "mAP .5:.95 0.825 ± 0.006 on validation, 3 seeds",
    "tallformer/fights-afsd": "mAP .3:.7 0.099 on validation, 1 seed",
    "tallformer/gym-afsd": "mAP .3:.7 0.170 on validation, 1 seed; not done learning",
    "tallformer/gym-daotad": "mAP .3:.7 0.076 on validation, 1 seed; not done learning",
    "tallformer/gym-flagship": "mAP .3:.7 0.271 on validation, 1 seed",
}
NOT_SEEN = "not trained here"
