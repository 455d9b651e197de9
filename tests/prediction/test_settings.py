"""Views, classes and mirror images as a checkpoint's info tells them."""

import dataclasses

import pytest

from tempo import protocols
from tempo.errors import InputError
from tempo.prediction import settings
from tempo.types import ViewSpec

OWN = ViewSpec(num_clips=2, clip_starts="ticks", crop="three", short_side_px=36, size_px=32)


def info(names=(), data="folder", **more):
    return {
        "config": {"data": {"name": data}} if data else {},
        "class_names": list(names),
        "num_classes": len(names) or 7,
        **more,
    }


def test_without_a_wish_the_views_are_the_checkpoints_own():
    assert settings.views(info(), OWN) is OWN


@pytest.mark.parametrize(
    ("text", "crop"), [("10x1", "center"), ("10x3", "three"), ("10x5", "five"), ("10x10", "ten")]
)
def test_clips_x_crops_keep_the_other_fields(text, crop):
    assert settings.views(info(), OWN, text) == dataclasses.replace(OWN, num_clips=10, crop=crop)


def test_a_set_of_views_by_its_name():
    found = settings.views(info(), OWN, "k400_10x3_ticks")
    assert found == protocols.view_spec("k400_10x3_ticks")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10x4", "crops can be 1, 3, 5, 10"),
        ("0x3", "at least 1 clip"),
        ("k400_10x3_tick", "Did you mean 'k400_10x3_ticks'"),
        ("tenfold", "neither clips x crops"),
        ("10x", "neither clips x crops"),
    ],
)
def test_other_views_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        settings.views(info(), OWN, text)


def test_mirror_images_are_refused_where_they_have_no_class():
    for found in (info(data="tempobench_pairs"), info(is_mirror_safe=False)):
        assert settings.views(found, OWN, "2x5").crop == "five"
        with pytest.raises(InputError, match="can belong to another class; use 1, 3 or 5 crops"):
            settings.views(found, OWN, "2x10")
    assert settings.views(info(is_mirror_safe=True), OWN, "2x10").crop == "ten"
    with pytest.raises(InputError, match="Views with is_flipped show mirror images"):
        settings.views(info(is_mirror_safe=False), OWN, "vipriors_3")


def test_names_of_classes(tmp_path):
    assert settings.class_names(info(["a", "b"])) == ("a", "b")
    assert settings.class_names(info())[:2] == ("class 0", "class 1")
    path = tmp_path / "classes.txt"
    path.write_text("sitting\nstanding\n")
    assert settings.class_names(info(["a", "b"]), str(path)) == ("sitting", "standing")
    with pytest.raises(InputError, match="lists 2 classes, but the model has 7"):
        settings.class_names(info(), str(path))
    with pytest.raises(InputError, match="Cannot read"):
        settings.class_names(info(), str(tmp_path / "none"))


def test_labels_of_mirror_images():
    names = ["to the left", "up", "to the right"]
    assert settings.mirror_labels(info(names), names) is None  # of a folder: a class stays
    swapped = info(names, mirror_labels=[1, 0, 2])
    assert settings.mirror_labels(swapped, names).tolist() == [1, 0, 2]
    assert settings.mirror_labels(info(names, mirror_labels=None), names) is None
    converted = info(names, data="")
    assert settings.mirror_labels(converted, names).tolist() == [2, 1, 0]
    something = info(names, data="ssv2")
    assert settings.mirror_labels(something, names).tolist() == [2, 1, 0]


def test_kind_of_labels():
    assert settings.label_kind(info(label_kind="multi")) == "multi"
    assert settings.label_kind(info()) == "single"
    assert settings.label_kind(info(data="charades")) == "multi"
