"""All targets of the fuzzing."""

from benchmarks.fuzz import configurations, features, models, runs, stores

TARGETS = [
    *features.TARGETS,
    *stores.TARGETS,
    *configurations.TARGETS,
    *models.TARGETS,
    *runs.TARGETS,
]
