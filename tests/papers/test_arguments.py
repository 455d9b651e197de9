import pytest

from tempo.errors import InputError
from tempo.papers import arguments
from tempo.papers.arguments import Option

OPTIONS = {
    "depth": Option(default="50", choices=("50", "101")),
    "frames": Option(default="8x8", pattern=r"[1-9]\d*x[1-9]\d*", form="frames x stride"),
    "flow": Option(default="parallel", choices=("parallel", "cascade")),
}
ROWS = {"t1.deep": "depth=101,frames=32x2", "t1.plain": ""}


def parse(arg):
    return arguments.parse(arg, OPTIONS, ROWS)


@pytest.mark.parametrize("arg", ["", None])
def test_nothing_is_all_defaults(arg):
    found = parse(arg)
    assert found.values == {"depth": "50", "frames": "8x8", "flow": "parallel"}
    assert (found.row, found.given, found.named) == ("", frozenset(), frozenset())


def test_options_win_over_the_row_wherever_they_stand():
    for arg in ("t1.deep,frames=16x4", "frames=16x4, t1.deep"):
        found = parse(arg)
        assert found.row == "t1.deep"
        assert found.values == {"depth": "101", "frames": "16x4", "flow": "parallel"}
        assert found.given == {"frames"}
        assert found.named == {"frames", "depth"}
    assert parse("t1.plain").values == parse("").values


@pytest.mark.parametrize(
    "arg, message",
    [
        ("dept=50", "no option 'dept'. Did you mean 'depth'"),
        ("depth=34", "'depth' must be one of 50, 101; got '34'"),
        ("frames=8", "'frames' must be frames x stride; got '8'"),
        ("frames=8x8x", "'frames' must be frames x stride; got '8x8x'"),
        ("t1.dep", "no row 't1.dep'. Did you mean 't1.deep'"),
        ("depth", "'depth' needs a value: depth=50|101"),
        ("frames", "'frames' needs a value: frames=frames x stride"),
        ("depth=50,depth=101", "'depth' is given twice"),
        ("t1.deep,t1.plain", "takes one row; got 't1.deep' and 't1.plain'"),
        ("depth=50,", "'depth=50,' has an empty part"),
    ],
)
def test_what_cannot_be_read(arg, message):
    with pytest.raises(InputError) as error:
        parse(arg)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
