"""A folder of weights is all that `load_model` needs, whoever wrote it; damage is one line."""

import os

import jax
import numpy as np
import pytest

import tempo
from tempo import checkpoint, evaluate, files, pretrained, state, trees
from tempo.errors import InputError
from tempo.models import tracing
from tests import tiny

CONFIG = {
    "model": {"backbone": {"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 4}},
    "clip": {"num_frames": 4, "stride": 6},
    "input": {
        "size_px": 32,
        "device_ops": ("gray", {"name": "normalize", "mean": (1.0, 2.0, 3.0)}),
    },
    "eval": {
        "all": {"crop": "three", "num_clips": 10, "short_side_px": 40, "size_px": 40},
        "one": {"short_side_px": 36, "size_px": 32},
    },
}
VIDEO = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)


def info(**changed):
    return {"config": CONFIG, "class_names": ["a", "b", "c"], "num_classes": 3, **changed}


def random_variables(config=CONFIG, num_classes=3, seed=0):
    """The model's variables, with statistics unlike those of initialisation; numpy."""
    model = tempo.create_model(config["model"], num_classes)
    shapes = tracing.module_shapes(model, VIDEO.shape[1:])
    rng = np.random.default_rng(seed)
    return model, trees.map_with_names(
        lambda name, s: rng.uniform(0.1, 1.0, s.shape).astype(np.float32), shapes
    )


def test_saved_weights_give_the_same_logits(tmp_path):
    model, variables = random_variables()
    path = tmp_path / "weights"
    pretrained.save_model(path, variables, info(source={"model": "mine"}))
    loaded, arrays, read = tempo.load_model(path)
    jax.tree.map(np.testing.assert_array_equal, arrays, variables)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(arrays))
    # Compiled as a user does it, which needs a model that can be hashed.
    logits = jax.jit(loaded.apply, static_argnames="train")(arrays, VIDEO, train=False)["logits"]
    expected = jax.jit(lambda v, x: model.apply(v, x, train=False)["logits"])(variables, VIDEO)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    assert logits.shape == (2, 3)
    assert read["class_names"] == ["a", "b", "c"]
    assert read["path"] == checkpoint.find(path) == str(path)
    assert read["step"] == 0 and read["source"] == {"model": "mine"}


def test_preprocessing_is_all_that_a_clip_needs(tmp_path):
    pretrained.save_model(tmp_path / "x", random_variables()[1], info())
    read = tempo.load_model(tmp_path / "x")[2]
    assert read["preprocessing"] == {
        "mean": [1.0, 2.0, 3.0],
        "std": [58.395, 57.12, 57.375],  # the op's own default
        "size_px": 40,
        "short_side_px": 40,  # of `all`, which comes first
        "num_frames": 4,
        "stride": 6,
        "sampling": "dense",
        "fps": 0.0,
    }
    assert read["device_ops"] == [{"name": "normalize", "mean": [1.0, 2.0, 3.0]}]
    assert read["views"]["all"]["num_clips"] == 10
    assert read["views"]["one"]["average"] == "probs"


@pytest.mark.parametrize(
    ("changed", "sizes"),
    [({"eval": {}}, (32, 37)), ({"eval": {"a": {"crop": "full", "short_side_px": 64}}}, (32, 64))],
)
def test_preprocessing_without_a_crop_in_the_views(tmp_path, changed, sizes):
    pretrained.save_model(tmp_path / "x", random_variables()[1], info(config={**CONFIG, **changed}))
    read = tempo.load_model(tmp_path / "x")[2]["preprocessing"]
    assert (read["size_px"], read["short_side_px"]) == sizes


def test_weights_without_names_of_classes(tmp_path):
    pretrained.save_model(tmp_path / "x", random_variables()[1], info(class_names=[]))
    model, _, read = tempo.load_model(tmp_path / "x")
    assert read["class_names"] == [] and model.head.num_classes == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"class_names": ["a", "b"]}, "list of classes has 2 names, but .* has 3 classes"),
        ({"num_classes": 4, "class_names": []}, r"params/head/fc/bias: \[3\] in .*, \[4\]"),
        ({"num_classes": None}, "how many classes"),
        ({"config": None}, "no usable 'config'"),
        ({"config": {"model": CONFIG["model"]}}, "no section 'clip'"),
        ({"config": {**CONFIG, "model": {"name": "tpn_slow"}}}, "Unknown model 'tpn_slow'"),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        pretrained.save_model(tmp_path / "x", random_variables()[1], info(**changed))
    assert not os.listdir(tmp_path)


def test_a_list_of_another_length_is_refused_on_loading_too(tmp_path):
    checkpoint.save_variables(tmp_path / "x", random_variables()[1], info(class_names=["a", "b"]))
    with pytest.raises(InputError, match="has 2 names, but .* has 3 classes"):
        tempo.load_model(tmp_path / "x")


def test_weights_of_another_depth_are_refused_by_leaf(tmp_path):
    checkpoint.save_variables(tmp_path / "x", random_variables()[1], info())
    deeper = {"backbone": {**CONFIG["model"]["backbone"], "depths": (1, 2, 1, 1)}}
    with pytest.raises(InputError, match="backbone/stage2_block2/.*: only in the model"):
        pretrained.save_model(
            tmp_path / "x", random_variables()[1], info(config={**CONFIG, "model": deeper})
        )
    tempo.load_model(tmp_path / "x")  # what was there is whole


def test_a_damaged_folder_is_one_line(tmp_path):
    path = tmp_path / "x"
    pretrained.save_model(path, random_variables()[1], info())
    files = [path / "info" / "metadata", path / "state" / "_METADATA"]
    files.append(max((path / "state").rglob("*"), key=lambda f: f.is_file() and f.stat().st_size))
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="is damaged or not whole") as e:
            tempo.load_model(path)
        assert "\n" not in str(e.value)
        file.write_bytes(whole)
    tempo.load_model(path)


def test_of_a_run_the_newest_step_is_loaded_with_its_moving_averages(tmp_path):
    model, variables = random_variables()
    averages = random_variables(seed=1)[1]
    kept = state.TrainState(
        step=np.int32(3),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state={"trace": variables["params"]},
        ema_params=averages["params"],
        ema_batch_stats=averages["batch_stats"],
    )
    # As before runs stored their number of classes.
    about = {k: v for k, v in info(step=3).items() if k != "num_classes"}
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, kept.replace(ema_params=variables["params"]), about)
        checkpoints.save(3, kept, about)
    loaded, arrays, read = tempo.load_model(tmp_path)
    assert loaded.head == model.head
    assert read["path"] == str(tmp_path / "checkpoints" / "3") and read["num_classes"] == 3
    jax.tree.map(np.testing.assert_array_equal, arrays, averages)


def test_weights_are_evaluated_on_what_a_config_says(tmp_path, capsys):
    data = tiny.make_records(tmp_path)
    config = {
        "data": {"dir": data, "num_workers": 0},
        "batch_size": 8,
        "clip": {"num_frames": 4},
        "input": {"size_px": 32, "host_ops": ("random_crop",)},
        "model": CONFIG["model"],
        "eval": {"one": {"short_side_px": 36, "size_px": 32}},
    }
    mine, other = str(tmp_path / "mine"), str(tmp_path / "other")
    pretrained.save_model(
        mine, random_variables(num_classes=7)[1], info(num_classes=7, class_names=[])
    )
    with pytest.raises(InputError, match="has weights and no dataset; say with --config"):
        evaluate.evaluate(None, str(tmp_path / "run"), mine)
    pretrained.save_model(other, random_variables()[1], info())
    with pytest.raises(InputError, match=r"knows the classes 3 \(a, b, c, ...\), .* has 7"):
        evaluate.evaluate(config, str(tmp_path / "run"), other)
    pretrained.save_model(other, random_variables()[1], info(class_names=[]))
    with pytest.raises(InputError, match=r"knows the classes 3 \(without names\), .* has 7"):
        evaluate.evaluate(config, str(tmp_path / "run"), other)

    [row] = evaluate.evaluate(config, str(tmp_path / "run"), mine)
    assert row["num_videos"] == 11 and row["checkpoint_step"] == 0
    assert files.read_json(tmp_path / "run" / "results.json") == [row]
    assert "trained on (video - 1 2 3) / 58.395 57.12 57.375" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["normalize"], ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))),
        ([{"name": "normalize", "std": [1, 2, 3]}], ((123.675, 116.28, 103.53), (1.0, 2.0, 3.0))),
        ([{"name": "residual"}], ((0.0,) * 3, (1.0,) * 3)),
    ],
)
def test_normalization_of_rows(rows, expected):
    assert pretrained.normalization(rows) == expected
