"""RandAugment: each op against its definition on single frames, one draw for all frames of a clip.

The definitions are those of Pillow, written out in numpy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo.data import device_ops
from tempo.data.augment import rand_augment
from tempo.errors import InputError

HEIGHT, WIDTH = 24, 36
STRENGTHS = (0.3, -0.7, 1.0)
LUMA = np.array([19595, 38470, 7471])


def video_of(num=1, num_frames=2, seed=0):
    """Smooth clips that use some of the range."""
    r = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = r.uniform(0.05, 0.3, (num, num_frames, 3, 2))
    phase = waves[..., 0, None, None] * y + waves[..., 1, None, None] * x
    noise = r.integers(0, 20, phase.shape)
    return np.moveaxis(90 + 50 * (1 + np.sin(phase)) + noise, 2, -1).astype(np.uint8)


def apply(name, strength, video):
    kind = jnp.full(len(video), rand_augment.KINDS.index(name))
    strength = jnp.full(len(video), strength, jnp.float32)
    return np.asarray(jax.jit(rand_augment.apply)(video, kind, strength))


def grey(video):
    return (video.astype(np.int64) @ LUMA + 0x8000) >> 16


def blended(dull, video, strength):
    factor = 1 + 0.9 * strength
    return np.clip(dull + factor * (video.astype(float) - dull), 0, 255).astype(np.uint8)


def smooth(video):
    out = video.astype(float)
    x = np.pad(out, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    total = sum(x[:, :, i : i + HEIGHT, j : j + WIDTH] for i in range(3) for j in range(3))
    inner = np.floor((total + 4 * out) / 13 + 0.5)
    out[:, :, 1:-1, 1:-1] = inner[:, :, 1:-1, 1:-1]
    return out


def autocontrasted(video, _):
    out = np.empty_like(video)
    for c in range(3):
        x = video[..., c].astype(int)
        out[..., c] = (x - x.min()) * 255 // (x.max() - x.min())
    return out


def equalized(video, _):
    out = np.empty_like(video)
    for c in range(3):
        counts = np.bincount(video[..., c].ravel(), minlength=256)
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        below = np.cumsum(counts) - counts
        table = np.clip((step // 2 + below) // max(step, 1), 0, 255) if step else np.arange(256)
        out[..., c] = table[video[..., c]]
    return out


def solarized(video, strength):
    return np.where(video < 255 * (1 - abs(strength)), video, 255 - video)


def posterized(video, strength):
    bits = 8 - round(4 * abs(strength))
    return video & ~np.uint8(2 ** (8 - bits) - 1)


DEFINITIONS = {
    "identity": lambda video, _: video,
    "autocontrast": autocontrasted,
    "equalize": equalized,
    "solarize": solarized,
    "posterize": posterized,
    "color": lambda v, s: blended(grey(v)[..., None], v, s),
    "contrast": lambda v, s: blended(int(grey(v).mean() + 0.5), v, s),
    "brightness": lambda v, s: blended(0, v, s),
    "sharpness": lambda v, s: blended(smooth(v), v, s),
}


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_colour_ops_are_as_defined(name, strength):
    video = video_of(num_frames=4)
    got = apply(name, strength, video).astype(int)
    expected = DEFINITIONS[name](video, strength).astype(int)
    # A product may fall on either side of a whole number, which is then cut off.
    assert np.abs(got - expected).max() <= 1 and (got != expected).mean() < 0.01
    assert (name == "identity") == (got == video).all()


def numbered():
    """Every pixel is told apart from all others; 128 in the third channel is none of them."""
    video = np.zeros((1, 2, HEIGHT, WIDTH, 3), np.uint8)
    video[..., 0] = np.arange(HEIGHT)[:, None]
    video[..., 1] = np.arange(WIDTH)
    return video


def places(video):
    """Row and column that each pixel comes from; -1 outside."""
    outside = video[..., 2] == 128
    return (np.where(outside, -1, video[..., c].astype(int))[0, 0] for c in (0, 1))


@pytest.mark.parametrize("strength", STRENGTHS)
def test_shears_and_shifts_move_pixels_as_defined(strength):
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    shift = {"x": int(strength * 150 / 331 * WIDTH), "y": int(strength * 150 / 331 * HEIGHT)}
    for name, from_y, from_x in (
        ("shear_x", y, x + 0.3 * strength * y),
        ("shear_y", y + 0.3 * strength * x, x),
        ("translate_x", y, x + shift["x"]),
        ("translate_y", y + shift["y"], x),
    ):
        row, column = np.floor(from_y), np.floor(from_x)
        inside = (row >= 0) & (row < HEIGHT) & (column >= 0) & (column < WIDTH)
        rows, columns = places(apply(name, strength, numbered()))
        np.testing.assert_array_equal(rows, np.where(inside, row, -1), err_msg=name)
        np.testing.assert_array_equal(columns, np.where(inside, column, -1), err_msg=name)
        assert 0 < inside.mean() < 1


@pytest.mark.parametrize("strength", STRENGTHS)
def test_rotation_turns_about_the_centre_by_up_to_30_degrees(strength):
    rows, columns = places(apply("rotate", strength, numbered()))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = rows >= 0
    from_center = np.stack([rows - (HEIGHT - 1) / 2, columns - (WIDTH - 1) / 2])[:, inside]
    to_center = np.stack([y - (HEIGHT - 1) / 2, x - (WIDTH - 1) / 2])[:, inside]
    angle = np.deg2rad(30 * strength)
    # Counter-clockwise on the screen, where y points down.
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert np.abs(turn @ to_center - from_center).max() <= 0.5 + 1e-3
    assert 0.5 < inside.mean() < 1


def test_clips_draw_for_themselves_and_frames_do_not():
    frame = video_of(1, 1)
    video = np.repeat(np.repeat(frame, 64, axis=0), 3, axis=1)
    got = np.asarray(run(video))
    assert (got == got[:, :1]).all()
    assert len({clip.tobytes() for clip in got}) > 25
    np.testing.assert_array_equal(got, run(video))
    assert not np.array_equal(got, run(video, key=1))


def run(video, key=0, **kwargs):
    f = jax.jit(device_ops.create([{"name": "rand_augment", **kwargs}], 3))
    return np.asarray(f(jax.random.key(key), {"video": video})["video"])


def test_all_ops_are_drawn_alike():
    """One layer on clips that are alike gives 14 ops, and signs for the nine that have two."""
    video = np.repeat(video_of(1, 1), 1400, axis=0)
    got = [clip.tobytes() for clip in run(video, num_ops=1, magnitude=15)]
    signed = {"rotate", "shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast"}
    signed |= {"brightness", "sharpness"}
    for name in rand_augment.KINDS:
        results = {apply(name, s, video[:1]).tobytes() for s in (0.5, -0.5)}
        assert len(results) == (2 if name in signed else 1)
        share = sum(got.count(r) for r in results) / 1400
        assert abs(share * 14 - 1) < 0.4, name


def test_layers_follow_each_other():
    video = video_of(16)
    once, twice = run(video, num_ops=1), run(video, num_ops=4)
    assert np.abs(twice.astype(int) - video).mean() > np.abs(once.astype(int) - video).mean()


def test_no_magnitude_leaves_only_what_has_none():
    """That is autocontrast and equalize; all other clips stay."""
    video = video_of(60)
    got = run(video, num_ops=1, magnitude=0)
    changed = [i for i in range(60) if not np.array_equal(got[i], video[i])]
    assert 0 < len(changed) < 20
    for i in changed:
        both = [apply(n, 0.0, video[i : i + 1])[0] for n in ("autocontrast", "equalize")]
        assert any(np.array_equal(got[i], b) for b in both)


def test_types_are_kept_and_values_rounded():
    video = video_of(4)
    as_float = run(video.astype(np.float32) + 0.3)
    assert run(video).dtype == np.uint8 and as_float.dtype == np.float32
    np.testing.assert_array_equal(as_float, run(video))


def test_large_frames_are_counted_on_a_grid():
    big = np.random.default_rng(0).integers(0, 256, (1, 1, 120, 130, 3), dtype=np.uint8)
    counts = np.asarray(rand_augment._histograms(jnp.asarray(big)))
    assert (counts.sum(-1) == 60 * 65).all()
    small = jnp.asarray(video_of(2))
    counts = np.asarray(rand_augment._histograms(small))
    np.testing.assert_array_equal(
        counts[1, 2], np.bincount(small[1, ..., 2].ravel(), minlength=256)
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_ops": 0}, "num_ops must be at least 1; got 0"),
        ({"magnitude": 31}, "magnitude must be 0 to 30; got 31"),
        ({"fill": 256}, "fill must be 0 to 255"),
    ],
)
def test_values_out_of_range(kwargs, message):
    with pytest.raises(InputError, match=message):
        device_ops.create([{"name": "rand_augment", **kwargs}], 3)


def test_flow_is_not_bent_along():
    f = device_ops.create(["rand_augment"], 3)
    with pytest.raises(InputError, match="bend frames and not their flow"):
        f(jax.random.key(0), {"video": video_of(), "flow": video_of()})
