"""Which files are members of an ensemble, and what is said where they are not."""

import pytest

from tempo.analysis import members
from tempo.errors import InputError

PLAN = members.from_config(
    {
        "name": "two",
        "members": {
            "tta01": {"weight": 2.0, "command": "run --evaluators {names}"},
            "tta02": 1.0,
            "tta03": {"command": "run --evaluators {names}"},
        },
    }
)


def test_a_plan_is_read_from_a_config():
    assert PLAN.weights == {"tta01": 2.0, "tta02": 1.0, "tta03": 1.0}
    assert (PLAN.name, PLAN.average, PLAN.calibrate) == ("two", "logits", "none")


def test_files_are_members_by_their_evaluators_name():
    paths = ["w/scores/multi_view.npz", "w/scores/tta03.npz", "v/tta01.npz", "v/tta02.npz"]
    found = members.match(PLAN, paths)
    assert list(found.items()) == [
        ("tta01", "v/tta01.npz"), ("tta02", "v/tta02.npz"), ("tta03", "w/scores/tta03.npz")
    ]  # fmt: skip
    assert members.match(PLAN, paths[:1] + paths[2:3], allow_missing=True) == {
        "tta01": "v/tta01.npz"
    }


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a/tta01.npz", "b/tta01.npz"], "Two files are member 'tta01' of 'two': 'a/tta01.npz' an"),
        (["a/tta02.npz"], "'two' has 2 of 3 members .*: tta01, tta03 by run --evaluators tta01,tt"),
        (["a/tta01.npz", "a/tta03.npz"], r"1 of 3 members .* goes on without\): tta02$"),
        (["a/tta1.npz"], "None of 1 score files, such as 'tta1', is a .* Did you mean 'tta01'"),
        (["a/tta01.npz", "a/../a/tta01.npz"], "'a/../a/tta01.npz' is given twice"),
    ],
)
def test_files_that_do_not_fit_the_plan(paths, message):
    with pytest.raises(InputError, match=message):
        members.match(PLAN, paths)


def test_files_without_a_plan_are_all_members():
    plan, found = members.of_files(["a/x.npz", "b/y.npz"], [1, 2])
    assert plan.weights == {"x": 1, "y": 2} and found == {"x": "a/x.npz", "y": "b/y.npz"}
    plan, found = members.of_files(["a/scores/x.npz", "b/x.npz"])
    assert plan.weights == {"a/x": 1, "b/x": 1}
    assert list(found.values()) == ["a/scores/x.npz", "b/x.npz"]
    _, found = members.of_files(["1/a/scores/x.npz", "2/a/scores/x.npz"])
    assert list(found) == list(found.values())
    with pytest.raises(InputError, match="--weights has 1 numbers for 2 score files"):
        members.of_files(["a/x.npz", "b/y.npz"], [1])


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"members": {}}, "'ensemble' has no members"),
        ({"members": {"a": {"wieght": 2}}}, "config.members.a has no key 'wieght'. Did you mean"),
        ({"members": {"a": 1}, "averages": "probs"}, "has no key 'averages'. Did you mean 'aver"),
        ({"members": {"a": "2"}}, "weight of a must be a number from 0 up; got '2'"),
        ({"members": {"a": 1}, "average": "max"}, "Unknown average of an ensemble 'max'"),
    ],
)
def test_configs_that_are_no_plan(tree, message):
    with pytest.raises(InputError, match=message):
        members.from_config(tree)
