"""The papers' tables as studies: their variants are what the tables say."""

from __future__ import annotations

import pytest

from benchmarks.study.__main__ import NAMES
from benchmarks.study.studies import STUDIES
from tal.memory.clip_sampling import num_sampled

WHERE = ("data.annotations=a.json", "data.store=out/features.zarr")
VIDEOS = "data.videos=v"


def variants(study):
    sets = WHERE if study.startswith("hapt") else (*WHERE, VIDEOS)
    return {variant.name: variant.config for variant in STUDIES[study].variants(sets)}


def test_every_study_can_be_asked_for():
    assert sorted(NAMES) == sorted(STUDIES)


@pytest.mark.parametrize("study", NAMES)
def test_variants_have_names_and_differ(study):
    configs = list(variants(study).values())
    assert len(configs) >= 2
    assert len({config.model_dump_json() for config in configs}) == len(configs)


def test_short_windows_have_the_pictures_with_gradient_that_the_memory_has():
    memory, *others = variants("gym-windows").values()
    clips = memory.encoder.grid.whole_clips(memory.window.num_rows)
    pictures = num_sampled(clips, memory.memory.ratio) * memory.encoder.clip_frames
    for config in others:
        assert config.memory.ratio == 1 and config.memory.write_back == "off" and not config.data.store
        assert abs(config.window.num_rows * config.encoder.frame_stride - pictures) <= 2
    span, low = (c.window.num_rows / c.data.fps for c in (memory, others[-1]))
    assert abs(span - low) < 2  # s


def test_ablations_change_one_thing_of_cltdr_gmg():
    configs = variants("hapt-ablations")
    whole = configs.pop("whole").localizer.decoder.model_dump()
    assert len(configs) == 19  # rows of Tables 6 to 11 beside the whole model
    for name, config in configs.items():
        own = config.localizer.decoder.model_dump()
        changed = [key for key in whole if whole[key] != own[key]]
        assert len(changed) == 1, (name, changed)


def test_the_tables_of_ages_and_shares_change_what_they_are_about():
    assert [c.memory.ratio for c in variants("gym-shares").values()] == [0.15, 0.3, 0.6, 1.0]
    assert [c.localizer.tcm.layers for c in variants("gym-tcm").values()] == [0, 3]
    ages = variants("gym-ages").values()
    assert {c.memory.sampler for c in ages} == {"uniform", "stratified", "oldest"}
    assert all(c.memory.finetune_localizer_epochs == 0 for c in ages)


def test_a_decoder_stands_beside_itself_as_released():
    configs = variants("hapt-release")
    for name in ("afsd", "daotad, convolutions"):
        own, released = (configs[n].model_dump() for n in (name, f"{name} as released"))
        assert not own["localizer"]["decoder"].pop("release")
        assert released["localizer"]["decoder"].pop("release")
        assert own == released
