"""What is left over, missing or of another shape is told by name, unless it is allowed."""

import numpy as np
import pytest

from tempo.convert import comparison, rules
from tempo.errors import InputError

ROWS = (("fc", "head/fc", "linear"), ("old", "head/old", "linear"), ("twin", "head/fc", "linear"))
EXPECTED = {"params/head/fc/kernel": (4, 5), "params/head/fc/bias": (5,)}
GOOD = {"fc.weight": np.ones((5, 4)), "fc.bias": np.ones(5)}


def compare(arrays, **kwargs):
    options = {"ignored": {}, "initial": {}, "partial": (), **kwargs}
    return comparison.compare(rules.to_leaves(arrays, ROWS), EXPECTED, **options)


def test_a_file_that_fits_passes():
    compared = compare(GOOD)
    comparison.check(compared, "x.pth")
    assert compared.taken == {
        "params/head/fc/kernel": "fc.weight", "params/head/fc/bias": "fc.bias",
    }  # fmt: skip
    assert comparison.table(compared) == "mapped     2 arrays\n      2  head/fc  <- fc.*"


@pytest.mark.parametrize(
    ("change", "message", "line"),
    [
        ({"extra.weight": np.ones(1)}, "1 unknown keys (extra.weight)", "unmapped   extra.weight"),
        (
            {"old.bias": np.ones(5)}, "1 keys that the model has no place for (old.bias)",
            "unmapped   old.bias (would be params/head/old/bias)",
        ),
        (
            {"fc.bias": None}, "1 parts of the model that the file lacks (params/head/fc/bias)",
            "missing    params/head/fc/bias",
        ),
        (
            {"fc.bias": np.ones(6)}, "1 other shapes (params/head/fc/bias: [6] in the file, [5])",
            "mismatched params/head/fc/bias: [6] in the file, [5] in the model",
        ),
        (
            {"twin.bias": np.ones(5)}, "1 keys for one place (twin.bias: params/head/fc/bias)",
            "doubled    twin.bias: params/head/fc/bias",
        ),
    ],
)  # fmt: skip
def test_each_problem_is_told_in_the_table_and_in_one_line(change, message, line):
    arrays = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    compared = compare(arrays)
    assert line in comparison.table(compared).splitlines()
    with pytest.raises(InputError) as error:
        comparison.check(compared, "x.pth")
    text = str(error.value)
    assert text.startswith("x.pth does not fit the model: ")
    assert message in text
    assert "--partial" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("change", "pattern", "taken"),
    [
        ({"extra.weight": np.ones(1)}, "^extra", 2),
        ({"old.bias": np.ones(5)}, "head/old", 2),
        ({"fc.bias": None}, "fc/bias$", 1),
        ({"fc.bias": np.ones(6)}, r"^fc\.bias$", 1),
    ],
)
def test_partial_allows_what_it_names(change, pattern, taken):
    arrays = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    compared = compare(arrays, partial=[pattern])
    comparison.check(compared, "x.pth")
    assert len(compared.taken) == taken
    assert len(compared.initial_leaves) == 2 - taken
    assert f"--partial {pattern}" in comparison.table(compared)


def test_a_pattern_that_names_nothing_is_refused():
    with pytest.raises(InputError, match="--partial neck names nothing"):
        compare(GOOD, partial=["neck"])
    with pytest.raises(InputError, match=r"--partial '\(' is no regular expression"):
        compare(GOOD, partial=["("])


def test_known_leftovers_are_told_with_their_reason():
    compared = compare(
        {**GOOD, "stray.weight": np.ones(1)},
        ignored={r"^stray\.": "a copy", "head/fc/bias": "another classifier"},
        initial={"head/fc": "new"},
    )
    comparison.check(compared, "x.pth")
    assert compared.left_out == {"a copy": ["stray.weight"], "another classifier": ["fc.bias"]}
    assert compared.initial == {"new": ["params/head/fc/bias"]}
