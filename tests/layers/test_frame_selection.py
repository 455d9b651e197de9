"""Triplet frame selection: which frames, in which order, with which gradient."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo.layers import frame_selection


def clips(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def oracle(x, select="lowest", square=False, border="interior"):
    """Indices by the definition in loops, and the least gap between two scores."""
    picked, gap = [], np.inf
    for clip in x.astype(np.float64):
        f = clip.mean((1, 2))
        cosine = [
            a @ b / max(np.linalg.norm(a), 1e-4) / max(np.linalg.norm(b), 1e-4)
            for a, b in itertools.pairwise(f)
        ]
        cosine = [c * c for c in cosine] if square else cosine
        score = {t: cosine[t - 1] + cosine[t] for t in range(1, len(f) - 1)}
        if border == "replicate":
            score |= {0: 2 * cosine[0], len(f) - 1: 2 * cosine[-1]}
        order = sorted(score, key=score.get, reverse=select == "highest")
        gap = min(gap, np.diff(sorted(score.values())).min())
        picked.append(sorted(order[: len(f) // 2]))
    return np.array(picked), gap


@pytest.mark.parametrize("select", frame_selection.SELECT)
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("border", frame_selection.BORDER)
def test_indices_against_a_loop(select, square, border):
    options = {"select": select, "square": square, "border": border}
    x = clips(100, 9, 2, 2, 5)
    x = x[[oracle(clip[None], **options)[1] > 1e-5 for clip in x]]
    assert len(x) > 90
    np.testing.assert_array_equal(frame_selection.indices(x, **options), oracle(x, **options)[0])


def test_the_frame_unlike_the_others_and_its_neighbours_are_kept():
    angles = np.array([0, 0, 0, 1.5, 0, 0, 0, 0])
    x = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], -1).reshape(1, 8, 1, 1, 2))
    assert frame_selection.indices(x).tolist() == [[1, 2, 3, 4]]
    highest = set(frame_selection.indices(x, select="highest")[0].tolist())
    assert {1, 5, 6} < highest and 3 not in highest


@pytest.mark.parametrize("frames", [3, 4, 5, 8, 13, 32])
def test_indices_are_in_order_and_inside(frames):
    x = clips(3, frames, 1, 2, 4)
    found = np.asarray(frame_selection.indices(x))
    assert found.shape == (3, frames // 2) and found.dtype == np.int32
    assert (np.diff(found) > 0).all() and found.min() >= 1 and found.max() <= frames - 2


def test_indices_know_the_clip_alone_and_neither_scale_nor_direction_of_time():
    x = clips(4, 9, 2, 2, 5, seed=3)
    found = np.asarray(frame_selection.indices(x))
    order = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(frame_selection.indices(x[order]), found[order])
    scales = np.random.default_rng(0).uniform(0.5, 50, (4, 9, 1, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(frame_selection.indices(x * scales), found)
    np.testing.assert_array_equal(frame_selection.indices(x[:, ::-1]), 8 - found[:, ::-1])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_taken_frames_are_the_frames_and_alone_have_a_gradient(dtype):
    x = jnp.asarray(clips(3, 7, 2, 3, 4), dtype)
    found = frame_selection.indices(x)
    expected = jnp.take_along_axis(x, found[:, :, None, None, None], axis=1)
    y, pullback = jax.vjp(jax.jit(frame_selection.select_frames), x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(frame_selection.select_frames(x), expected)
    dy = jnp.asarray(clips(*y.shape, seed=1), dtype)
    (dx,) = pullback(dy)
    zeros = np.zeros(x.shape, np.float32)
    np.put_along_axis(zeros, np.asarray(found)[:, :, None, None, None], np.float32(dy), axis=1)
    np.testing.assert_array_equal(dx.astype(jnp.float32), zeros)


def test_one_frame_is_kept_and_two_are_averaged():
    x = clips(2, 2, 3, 3, 4)
    np.testing.assert_array_equal(frame_selection.select_frames(x[:, :1]), x[:, :1])
    y = frame_selection.select_frames(x)
    np.testing.assert_allclose(y, x.mean(1, keepdims=True), atol=1e-6)


def test_scores_have_no_gradient_where_frames_are_zero():
    x = jnp.zeros((1, 5, 2, 2, 3))
    gradient = jax.grad(lambda x: frame_selection.scores(x).sum())(x)
    assert frame_selection.scores(x).tolist() == [[0, 0, 0]]
    np.testing.assert_array_equal(gradient, 0 * x)


@pytest.mark.parametrize("frames", [2, 8])
@pytest.mark.parametrize("option", [{"select": "lowset"}, {"border": "interiour"}])
def test_an_unknown_option_is_named(frames, option):
    with pytest.raises(tempo.InputError, match="(lowset|interiour).*Did you mean"):
        frame_selection.select_frames(clips(1, frames, 1, 1, 2), **option)
