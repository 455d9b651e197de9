"""Each device op against its definition, and that a batch spread over devices is not gathered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo.data import device_ops
from tempo.data.augment import color
from tempo.errors import InputError

KEY = jax.random.key(0)


def batch_of(num=4, dtype=np.uint8, size=8, seed=0):
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 256, (num, 2, size, size + 2, 3)).astype(dtype)
    return {"video": video, "label": np.arange(num, dtype=np.int32) % 3}


def run(op, batch, key=KEY, num_classes=3):
    return jax.jit(device_ops.create([op], num_classes))(key, batch)


def test_normalize_gives_zero_mean_and_keeps_view_axes():
    batch = batch_of()
    got = run("normalize", batch)["video"]
    expected = (batch["video"] - np.array([123.675, 116.28, 103.53])) / [58.395, 57.12, 57.375]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert got.dtype == jnp.float32
    views = {**batch, "video": batch["video"][:, None]}
    np.testing.assert_array_equal(run("normalize", views)["video"][:, 0], got)


def test_normalize_in_bfloat16_rounds_once():
    batch = batch_of()
    got = run({"name": "normalize", "dtype": "bfloat16"}, batch)["video"]
    assert got.dtype == jnp.bfloat16
    exact = run("normalize", batch)["video"]
    np.testing.assert_array_equal(got, exact.astype(jnp.bfloat16))


def jitter(batch, key=KEY, **kwargs):
    off = dict(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    return np.asarray(run({"name": "color_jitter", **off, **kwargs}, batch, key)["video"])


def test_color_jitter_without_strength_changes_nothing():
    batch = batch_of()
    np.testing.assert_allclose(jitter(batch), batch["video"], atol=1e-3)
    strong = dict(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5, prob=0.0)
    np.testing.assert_array_equal(jitter(batch, **strong), batch["video"])


def test_brightness_scales_every_frame_of_a_clip_alike():
    batch = batch_of()
    batch["video"] = batch["video"] // 2  # no clipping
    ratio = jitter(batch, brightness=0.5) / np.maximum(batch["video"], 1e-9)
    ratio = np.where(batch["video"] > 0, ratio, np.nan)
    factors = np.nanmean(ratio, axis=(1, 2, 3, 4))
    assert np.nanmax(np.abs(ratio - factors[:, None, None, None, None])) < 1e-4
    assert len(set(np.round(factors, 4))) == 4 and (np.abs(factors - 1) <= 0.5).all()


def test_contrast_keeps_the_mean_grey_and_saturation_each_grey():
    batch = batch_of()
    batch["video"] = 100 + batch["video"] // 8
    grey = np.array([0.299, 0.587, 0.114])
    before = batch["video"] @ grey
    contrasted = jitter(batch, contrast=0.5) @ grey
    np.testing.assert_allclose(contrasted.mean((1, 2, 3)), before.mean((1, 2, 3)), rtol=1e-4)
    assert np.abs(contrasted - before).max() > 1
    np.testing.assert_allclose(jitter(batch, saturation=0.5) @ grey, before, rtol=1e-4)
    np.testing.assert_allclose(jitter(batch, hue=0.5) @ grey, before, rtol=1e-3)


def test_a_full_turn_of_hue_is_none_and_a_third_moves_red():
    full = np.asarray(color._hue_matrix(jnp.float32(1.0)))
    np.testing.assert_allclose(full, np.eye(3), atol=1e-4)
    third = np.asarray(color._hue_matrix(jnp.float32(1 / 3)))
    assert np.argmax(third @ [1.0, 0, 0]) != 0
    np.testing.assert_allclose(third @ [1.0, 1, 1], [1, 1, 1], atol=1e-4)


def test_mixup_mixes_pixels_and_labels_alike():
    batch = batch_of(dtype=np.float32)
    got = run({"name": "mixup", "alpha": 0.8}, batch)
    probs = np.asarray(got["label_probs"])
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    lam = probs[np.arange(4), batch["label"]]
    lam = np.where(batch["label"] == np.roll(batch["label"], 1), np.nan, lam)  # 3 follows 0
    other = np.roll(batch["video"], 1, axis=0)
    for b in np.flatnonzero(~np.isnan(lam)):
        expected = lam[b] * batch["video"][b] + (1 - lam[b]) * other[b]
        np.testing.assert_allclose(got["video"][b], expected, atol=1e-2)
    assert len(set(np.round(lam, 5))) > 1


def test_cutmix_pastes_one_box_in_all_frames_and_counts_its_area():
    num = 6
    batch = {
        "video": np.full((num, 3, 20, 30, 3), np.arange(num)[:, None, None, None, None], np.uint8),
        "label": np.arange(num, dtype=np.int32),
    }
    got = run("cutmix", batch, num_classes=num)
    video, probs = np.asarray(got["video"]), np.asarray(got["label_probs"])
    assert video.dtype == np.uint8
    assert (video == video[:, :1]).all()
    for b in range(num):
        pasted = video[b, 0, :, :, 0] == (b - 1) % num
        assert (pasted | (video[b, 0, :, :, 0] == b)).all()
        rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
        assert pasted.sum() == len(rows) * len(columns)  # a box
        np.testing.assert_allclose(probs[b, b], 1 - pasted.mean(), atol=1e-5)
        np.testing.assert_allclose(probs[b].sum(), 1, atol=1e-5)
    assert (1 - probs.max(1)).mean() > 0


def test_mixed_labels_are_mixed_again():
    f = device_ops.create(["mixup", "cutmix"], 3)
    probs = f(KEY, batch_of(dtype=np.float32))["label_probs"]
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("op", ["mixup", "cutmix"])
def test_multi_hot_labels_are_mixed(op):
    labels = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]], np.uint8)
    got = np.asarray(run(op, batch_of() | {"label": labels})["label_probs"])
    other = np.roll(labels, 1, axis=0).astype(float)
    differ = labels != other
    lam = np.where(differ, (got - other) / np.where(differ, labels - other, 1), np.nan)
    for row in lam:
        values = row[~np.isnan(row)]
        assert np.ptp(values) < 1e-5 and 0 <= values[0] <= 1
    np.testing.assert_allclose(got[~differ], labels[~differ], atol=1e-6)


@pytest.mark.parametrize("op", ["mixup", "cutmix"])
def test_labels_of_several_groups_are_mixed_in_each(op):
    labels = np.array([[0, 3], [1, 4], [2, 3], [0, 4]], np.int32)  # classes 0-2 and 3-4
    got = np.asarray(run(op, batch_of() | {"label": labels}, num_classes=5)["label_probs"])
    np.testing.assert_allclose(got[:, :3].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(got[:, 3:].sum(1), 1, atol=1e-5)
    for b in range(1, 4):  # the neighbour has another verb and another noun
        np.testing.assert_allclose(got[b, labels[b, 0]], got[b, labels[b, 1]], atol=1e-5)


@pytest.mark.parametrize("op", ["mixup", "cutmix"])
def test_flow_is_mixed_as_its_frames_are(op):
    batch = batch_of()
    batch["flow"] = np.repeat(batch["video"][..., :1], 6, axis=-1)
    got = run(op, batch)
    np.testing.assert_allclose(
        np.asarray(got["flow"]).astype(float),
        np.repeat(np.asarray(got["video"])[..., :1], 6, axis=-1).astype(float),
    )


def test_the_neighbour_can_be_further_away():
    batch = batch_of(6, dtype=np.float32)
    batch["label"] = np.arange(6, dtype=np.int32) // 2  # two clips of each video
    for name in ("mixup", "cutmix"):
        got = np.asarray(run({"name": name, "shift": 2}, batch)["label_probs"])
        assert (got.max(1) < 1 - 1e-6).sum() >= 4  # never another clip of the same video
        for b in range(6):
            support = {batch["label"][b], batch["label"][b - 2]}
            assert set(np.flatnonzero(got[b] > 1e-6)) <= support


@pytest.mark.parametrize("name", device_ops._FIXED)
def test_flow_is_normalised_about_no_motion(name):
    """By whatever op makes the network's input of the frames."""
    batch = batch_of() | {"flow": np.array([[0, 128, 255]], np.uint8)}
    row = {"name": name} | ({"frames_per_segment": 2} if name == "stack_differences" else {})
    np.testing.assert_array_equal(run(row, batch)["flow"], [[-128.0, 0.0, 127.0]])
    halved = run({**row, "flow_std": 2.0, "dtype": "bfloat16"}, batch)["flow"]
    assert halved.dtype == jnp.bfloat16
    np.testing.assert_array_equal(halved, [[-64.0, 0.0, 63.5]])
    device_ops.check_flow(("mixup", row))


@pytest.mark.parametrize(
    "ops, message",
    [
        (("mixup",), r"device_ops=\('mixup',\) leave its values at 0-255, .* add 'normalize'"),
        (("rand_augment", "normalize"), "'rand_augment' would bend frames and not the flow"),
    ],
)
def test_ops_that_make_no_input_of_flow_are_named(ops, message):
    with pytest.raises(InputError, match=message):
        device_ops.check_flow(ops)


def test_erasing_paints_a_share_of_the_clips_in_all_frames():
    batch = {"video": np.zeros((400, 2, 20, 30, 3), np.float32), "label": np.zeros(400, np.int32)}
    op = {"name": "erasing", "prob": 0.25, "fill": [1.0, 2.0, 3.0]}
    got = np.asarray(run(op, batch)["video"])
    painted = got[..., 0] == 1
    assert abs(painted.any((1, 2, 3)).mean() - 0.25) < 0.07
    assert (got[painted] == [1, 2, 3]).all() and (got[~painted] == 0).all()
    assert (painted == painted[:, :1]).all()
    areas = painted[:, 0].mean((1, 2))
    assert areas.max() <= 1 / 3 + 0.05 and len(set(areas.round(3))) > 10


def test_ops_draw_from_their_own_keys():
    f = jax.jit(device_ops.create(["mixup", "mixup"], 3))
    a, b = f(KEY, batch_of()), f(jax.random.key(1), batch_of())
    assert not np.allclose(a["video"], b["video"])
    np.testing.assert_array_equal(a["video"], f(KEY, batch_of())["video"])


def test_mixing_over_devices_gathers_nothing():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    f = jax.jit(device_ops.create(["rand_augment", "mixup", "cutmix", "normalize"], 3))
    batch = batch_of(8)
    text = f.lower(KEY, jax.device_put(batch, spread)).compile().as_text()
    assert "all-gather" not in text and "all-to-all" not in text
    got = f(KEY, jax.device_put(batch, spread))
    np.testing.assert_allclose(got["video"], f(KEY, batch)["video"], atol=1e-4)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("normalise", "Did you mean 'normalize'"),
        ({"name": "mixup", "beta": 1}, "has no key 'beta'"),
        ({"name": "mixup", "alpha": 0}, "alpha must be above 0"),
        ({"name": "cutmix", "shift": 0}, "shift must be a whole number above 0; got 0"),
        ({"name": "normalize", "flow_std": 0}, "std must be above 0"),
        ({"name": "color_jitter", "hue": 0.7}, "hue must be 0 to 0.5; got 0.7"),
        ({"name": "erasing", "area": [0.5, 0.2]}, "area"),
        ({"name": "normalize", "std": [1, 1, 0]}, "std must be above 0"),
    ],
)
def test_ops_that_cannot_be_made(op, message):
    with pytest.raises(InputError, match=message):
        device_ops.create([op], 3)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ({"name": "normalize", "dtype": "uint8"}, "dtype must be float32 or bfloat16; got 'uint8'"),
        ({"name": "residual", "dtype": "float33"}, "dtype must be .* got 'float33'"),
        ({"name": "normalize", "mean": [1, 2]}, "mean needs 3 values"),
        ({"name": "erasing", "prob": "x"}, "'erasing' cannot take prob='x'"),
        ({"name": "mixup", "shift": 1.5}, "shift must be a whole number above 0; got 1.5"),
    ],
)
def test_values_of_another_type_are_refused_before_the_step(op, message):
    with pytest.raises(InputError, match=message):
        device_ops.create([op], 3)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_clips_of_one_video_are_mixed_with_another_video(name):
    """Videos 0, 0, 1, 1, 2, 2: no clip may get its own label back from its neighbour."""
    batch = batch_of(6) | {"label": np.array([0, 0, 1, 1, 2, 2], np.int32)}
    got = device_ops.create([name], 3, clips_per_video=2)(KEY, batch)["label_probs"]
    own = np.asarray(got)[np.arange(6), batch["label"]]
    before = np.asarray(got)[np.arange(6), np.roll(batch["label"], 2)]
    np.testing.assert_allclose(own + before, 1, rtol=1e-6)
    assert (own < 1).all()
