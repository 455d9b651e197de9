import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tempo import checkpoint, sharding, state, trees
from tempo.errors import InputError

TX = optax.trace(0.9)


def make_state(value, *, ema=False, params=None):
    params = params or {"head": {"kernel": jnp.full((2, 4), float(value))}}
    return state.TrainState(
        step=jnp.int32(value),
        params=params,
        batch_stats={"norm": {"mean": jnp.full(2, float(value))}},
        opt_state=TX.init(params),
        ema_params=jax.tree.map(lambda p: -p, params) if ema else None,
        ema_batch_stats={"norm": {"mean": jnp.full(2, 0.5)}} if ema else None,
    )


def abstract(tree):
    mesh = sharding.make_mesh()
    shapes = jax.eval_shape(lambda: tree)
    return sharding.as_abstract(shapes, sharding.infer_shardings(shapes, mesh))


def evaluated(tree):
    return {"params": tree.params, "batch_stats": tree.batch_stats}


def save(folder, *values, metrics=None, **kwargs):
    with checkpoint.Checkpoints(folder, **kwargs) as checkpoints:
        for value in values:
            scores = {"top1": metrics[value]} if metrics and value in metrics else None
            checkpoints.save(value, make_state(value), {"step": value}, scores)
        checkpoints.wait()
        return checkpoints.best_step


def steps(folder):
    return sorted(int(s) for s in os.listdir(os.path.join(folder, "checkpoints")) if s.isdigit())


def test_keeps_the_newest_and_the_best(tmp_path):
    best = save(tmp_path, 1, 2, 3, 4, 5, metrics={1: 0.1, 2: 0.9, 4: 0.2}, best_metric="top1")
    assert best == 2
    assert steps(tmp_path) == [2, 4, 5]
    assert save(tmp_path, 6, 7, best_metric="top1") == 2  # known after a restart too
    assert steps(tmp_path) == [2, 6, 7]


def test_another_metric_may_decide_after_a_restart(tmp_path):
    save(tmp_path, 1, 2, metrics={1: 0.9, 2: 0.1}, best_metric="top1")
    with checkpoint.Checkpoints(tmp_path, best_metric="val/top1") as checkpoints:
        checkpoints.save(3, make_state(3), {}, {"val/top1": 0.2})
        checkpoints.wait()
        assert checkpoints.best_step == 3
    assert steps(tmp_path) == [2, 3]


def test_delete_takes_one_and_only_if_it_is_there(tmp_path):
    save(tmp_path, 1, 2)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.delete(2)
        checkpoints.delete(7)
        checkpoints.delete(None)
    assert steps(tmp_path) == [1]


def test_restores_a_state_from_before_there_were_sketches(tmp_path):
    state = make_state(3)
    fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    del fields["sketch"]
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, fields, {})
        checkpoints.wait()
        restored = checkpoints.restore(abstract(make_state(0)))
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_restores_every_array_with_its_sharding(tmp_path):
    save(tmp_path, 3)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(abstract(make_state(0)))
    jax.tree.map(np.testing.assert_array_equal, restored, make_state(3))
    assert len(restored.params["head"]["kernel"].sharding.device_set) == 4


def test_saving_a_step_twice_keeps_the_first(tmp_path):
    save(tmp_path, 3, 3)
    assert steps(tmp_path) == [3]


def test_find_takes_workdir_folder_or_step(tmp_path):
    save(tmp_path, 9, 10)
    newest = str(tmp_path / "checkpoints" / "10")
    assert checkpoint.find(tmp_path) == newest
    assert checkpoint.find(tmp_path / "checkpoints") == newest
    assert checkpoint.find(tmp_path / "checkpoints" / "9").endswith("9")
    assert checkpoint.load_info(newest) == {"step": 10}


def test_an_unfinished_checkpoint_is_not_found(tmp_path):
    save(tmp_path, 9)
    os.makedirs(tmp_path / "checkpoints" / "10.orbax-checkpoint-tmp" / "state")
    os.makedirs(tmp_path / "checkpoints" / "11" / "state")
    assert checkpoint.find(tmp_path).endswith("9")


@pytest.mark.parametrize("make", [False, True])
def test_no_checkpoint_there(tmp_path, make):
    path = tmp_path / "nothing"
    if make:
        path.mkdir()
    with pytest.raises(InputError, match="No checkpoint"):
        checkpoint.find(path)


def test_load_variables_prefers_the_moving_average(tmp_path):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, make_state(5, ema=True), {})
    wanted = abstract(evaluated(make_state(0)))
    variables = checkpoint.load_variables(checkpoint.find(tmp_path), wanted)
    np.testing.assert_array_equal(variables["params"]["head"]["kernel"], -5.0)
    np.testing.assert_array_equal(variables["batch_stats"]["norm"]["mean"], 0.5)


def test_another_architecture_is_refused_by_leaf(tmp_path):
    save(tmp_path, 1)
    other = {"head": {"kernel": jnp.zeros((2, 5))}, "neck": {"bias": jnp.zeros(3)}}
    wanted = abstract(make_state(0, params=other))
    differences = (
        r"params/head/kernel: \[2, 4\] in the checkpoint, \[2, 5\] in the model; "
        r"params/neck/bias: only in the model"
    )
    with pytest.raises(InputError, match=differences):
        checkpoint.load_variables(checkpoint.find(tmp_path), evaluated(wanted))
    with (
        checkpoint.Checkpoints(tmp_path) as checkpoints,
        pytest.raises(InputError, match=differences),
    ):
        checkpoints.restore(wanted)
    fewer = abstract(make_state(0, params={"other": jnp.zeros(1)}))
    with pytest.raises(InputError, match="params/head/kernel: only in the checkpoint"):
        checkpoint.load_variables(checkpoint.find(tmp_path), evaluated(fewer))


def test_leaf_names_do_not_depend_on_the_kind_of_node():
    names = trees.leaf_names(make_state(0))
    assert "params/head/kernel" in names and "step" in names


WEIGHTS = {
    "params": {"head": {"kernel": np.arange(8, dtype=np.float32).reshape(2, 4)}},
    "batch_stats": {"norm": {"mean": np.full(2, 3, np.float32)}},
}


def test_weights_without_a_run_are_a_step_folder(tmp_path):
    path = tmp_path / "deep" / "weights"
    checkpoint.save_variables(path, WEIGHTS, {"step": 0, "classes": ["a"]})
    assert checkpoint.find(path) == str(path)
    assert checkpoint.load_info(path) == {"step": 0, "classes": ["a"]}
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load_arrays(path), WEIGHTS)
    shapes = checkpoint.variable_shapes(path)
    assert shapes["params"]["head"]["kernel"].shape == (2, 4)
    # Numpy where no sharding is asked for, arrays on the devices where one is.
    read = checkpoint.load_variables(path, shapes)
    jax.tree.map(np.testing.assert_array_equal, read, WEIGHTS)
    assert isinstance(read["params"]["head"]["kernel"], np.ndarray)
    read = checkpoint.load_variables(path, abstract(WEIGHTS))
    assert len(read["params"]["head"]["kernel"].sharding.device_set) == 4
    assert os.listdir(path.parent) == ["weights"]


def test_weights_of_a_model_without_statistics(tmp_path):
    checkpoint.save_variables(tmp_path / "x", {"params": WEIGHTS["params"]}, {})
    shapes = checkpoint.variable_shapes(tmp_path / "x")
    assert shapes["batch_stats"] == {}
    assert checkpoint.load_variables(tmp_path / "x", shapes)["batch_stats"] == {}


def test_shapes_are_those_of_the_moving_averages(tmp_path):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, make_state(5, ema=True), {})
    path = checkpoint.find(tmp_path)
    shapes = checkpoint.variable_shapes(path)
    assert set(shapes) == {"params", "batch_stats"}
    read = checkpoint.load_variables(path, shapes)
    np.testing.assert_array_equal(read["params"]["head"]["kernel"], -5.0)


def test_weights_replace_weights_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.mkdir()  # empty: fine
    checkpoint.save_variables(path, WEIGHTS, {"step": 0})
    checkpoint.save_variables(path, WEIGHTS, {"step": 1})
    assert checkpoint.load_info(path) == {"step": 1}
    # What fails leaves what is there, and no scraps.
    with pytest.raises(TypeError):
        checkpoint.save_variables(path, WEIGHTS, {"step": object()})

    def rename(old, new, rename=os.rename):
        if os.path.basename(old) == "new":
            raise OSError("disk gone")
        rename(old, new)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk gone"):
        patch.setattr(os, "rename", rename)
        checkpoint.save_variables(path, WEIGHTS, {"step": 2})
    assert checkpoint.load_info(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["weights"]

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="exists and is no checkpoint"):
        checkpoint.save_variables(tmp_path / "mine", WEIGHTS, {})
    with pytest.raises(InputError, match="exists and is no checkpoint"):
        checkpoint.save_variables(tmp_path / "mine" / "thesis.txt", WEIGHTS, {})
    save(tmp_path / "run", 1)
    with pytest.raises(InputError, match="is a checkpoint of a training run"):
        checkpoint.save_variables(checkpoint.find(tmp_path / "run"), WEIGHTS, {})
    assert checkpoint.load_info(checkpoint.find(tmp_path / "run")) == {"step": 1}


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"step": ', b"\xff\xfe"])
def test_info_that_is_no_table_is_damage(tmp_path, content):
    checkpoint.save_variables(tmp_path / "x", WEIGHTS, {})
    (tmp_path / "x" / "info" / "metadata").write_bytes(content)
    with pytest.raises(InputError, match="damaged or not whole"):
        checkpoint.load_info(tmp_path / "x")


@pytest.mark.parametrize("read", [checkpoint.variable_shapes, checkpoint.load_arrays])
def test_arrays_without_their_index_are_damage(tmp_path, read):
    checkpoint.save_variables(tmp_path / "x", WEIGHTS, {})
    (tmp_path / "x" / "state" / "_METADATA").unlink()
    with pytest.raises(InputError, match="damaged or not whole"):
        read(tmp_path / "x")
