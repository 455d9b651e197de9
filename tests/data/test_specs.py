"""The table of datasets: what a row says, and rows that cannot be."""

import pytest

from tempo.data import specs
from tempo.errors import InputError


def test_mirrored_videos_keep_change_or_lose_their_label():
    assert specs.lookup("kinetics400").mirroring == "keep"
    assert specs.lookup("ssv1").mirroring == specs.lookup("ssv2").mirroring == "swap"
    assert specs.lookup("ssv2").is_mirror_safe
    assert not specs.lookup("tempobench_pairs").is_mirror_safe
    with pytest.raises(InputError, match="Unknown mirroring 'flip'"):
        specs.DatasetSpec(mirroring="flip")


def test_kinds_of_labels_and_rates_of_frames():
    kinds = {name: spec.label_kind for name, spec in specs.DATASETS.items()}
    assert {name for name, kind in kinds.items() if kind == "multi"} == {
        "charades",
        "mmaction_multilabel",
    }
    assert {name for name, kind in kinds.items() if kind == "joint"} == {"epic55"}
    assert (specs.lookup("ssv1").fps, specs.lookup("epic55").fps) == (12.0, 60.0)
    # Any part of a real dataset may be used; its records say how many classes it has.
    for name, spec in specs.DATASETS.items():
        assert spec.num_classes == 0 or name.startswith("tempobench"), name
