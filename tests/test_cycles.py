"""The shapes of multigrid cycles against the published factors, and what they must keep."""

import pytest

from tempo import cycles
from tempo.errors import InputError


def table(cycle, size_px, batch=64, num_frames=16):
    rows = cycles.grid(cycle, num_frames, size_px)
    return [tuple((batch * m, t, s) for m, t, s in row.shapes) for row in rows]


def test_long_and_short_cycles_of_64_clips_of_16_frames():
    assert table("both", 224) == [
        ((1024, 4, 112), (512, 4, 158), (512, 4, 158)),
        ((512, 8, 112), (256, 8, 158), (256, 8, 158)),
        ((512, 8, 112), (256, 8, 158), (128, 8, 224)),
        ((256, 16, 112), (128, 16, 158), (64, 16, 224)),
    ]
    assert table("both", 182) == [
        ((1024, 4, 91), (512, 4, 129), (512, 4, 129)),
        ((512, 8, 91), (256, 8, 129), (256, 8, 129)),
        ((512, 8, 91), (256, 8, 129), (128, 8, 182)),
        ((256, 16, 91), (128, 16, 129), (64, 16, 182)),
    ]
    assert [row.lr_factor for row in cycles.grid("both", 16, 224)] == [8, 4, 2, 1]
    assert table("long", 224) == [row[-1:] for row in table("both", 224)]
    assert table("short", 224) == table("both", 224)[-1:]
    assert table("none", 224) == [((64, 16, 224),)]


def test_every_epoch_of_the_released_code_has_all_shapes():
    shapes = table("per_epoch", 224, batch=48)
    assert [len(row) for row in shapes] == [3] * 4
    # The list in its README.
    assert {(1536, 4, 80), (384, 8, 112), (96, 16, 158), (48, 16, 224)} <= {
        shape for row in shapes for shape in row
    }
    assert all(size % 2 == 0 for row in table("per_epoch", 182) for _, _, size in row)
    assert [row.lr_factor for row in cycles.grid("per_epoch", 16, 224)] == [1, 1 / 2, 1 / 4, 1 / 8]


@pytest.mark.parametrize("cycle", ["long", "both", "per_epoch"])
@pytest.mark.parametrize("size_px", [182, 224])
def test_all_steps_cost_about_the_same(cycle, size_px):
    volume = 16 * size_px**2
    for row in cycles.grid(cycle, 16, size_px):
        for multiple, frames, size in row.shapes:
            assert multiple * frames * size**2 == pytest.approx(volume, rel=0.05)


def test_clips_too_short_or_small_and_cycles_that_are_none():
    with pytest.raises(InputError, match="at least 4; got clip.num_frames=1"):
        cycles.grid("both", 1, 224)
    with pytest.raises(InputError, match="to 3 px; use an input.size_px above 6"):
        cycles.grid("short", 8, 6)
    with pytest.raises(InputError, match="Unknown cycle .*'shrot'. Did you mean 'short'"):
        cycles.grid("shrot", 8, 224)
