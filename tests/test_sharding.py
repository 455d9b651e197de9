import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tempo import sharding
from tempo.errors import InputError


def test_mesh_takes_all_devices():
    assert dict(sharding.make_mesh().shape) == {"data": 4, "model": 1}
    assert dict(sharding.make_mesh(model=2).shape) == {"data": 2, "model": 2}


@pytest.mark.parametrize(
    "axes, message",
    [({"model": 3}, "mesh.model=3 does not divide the 4"), ({"data": 3}, "mesh.data=3 x mesh")],
)
def test_mesh_that_does_not_fit(axes, message):
    with pytest.raises(InputError, match=message):
        sharding.make_mesh(**axes)


def test_batch_size_message_names_the_nearest_sizes():
    mesh = sharding.make_mesh()
    sharding.check_batch_size("batch_size", 8, mesh)
    with pytest.raises(InputError, match="batch_size=6 is not divisible by 4.*: 4 and 8"):
        sharding.check_batch_size("batch_size", 6, mesh)
    with pytest.raises(InputError, match="2 micro-batches.*: 8 and 16"):
        sharding.check_batch_size("batch_size", 12, mesh, micro_batches=2)
    with pytest.raises(InputError, match="sizes that are: 4"):
        sharding.check_batch_size("batch_size", 2, mesh)


def test_rules_meet_parameters_and_momentum_alike():
    mesh = sharding.make_mesh(model=2)
    tree = {
        "params": {"fc": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}},
        "opt_state": [{"fc": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}}],
        "odd": {"fc": {"kernel": jnp.zeros((3, 5))}},
    }
    found = sharding.infer_shardings(tree, mesh, rules=[("fc/kernel$", (None, "model"))])
    assert found["params"]["fc"]["kernel"].spec == P(None, "model")
    assert found["opt_state"][0]["fc"]["kernel"].spec == P(None, "model")
    assert found["params"]["fc"]["bias"].spec == P()
    assert found["odd"]["fc"]["kernel"].spec == P()  # 5 does not divide by 2


@pytest.mark.parametrize(
    "rules, message",
    [
        ([("kernel", ("modle",))], "names the axis 'modle'"),
        ([("(", ("model",))], "no .regular expression, axes. pair"),
        (["kernel"], "no .regular expression, axes. pair"),
        (None, "^sharding_rules=None is neither a name .zero1, fsdp. nor a list"),
    ],
)
def test_bad_rules(rules, message):
    with pytest.raises(InputError, match=message):
        sharding.rules_of(rules)
    sharding.rules_of([("kernel$", (None, "model"))])


def test_one_process_feeds_all_of_the_batch():
    assert sharding.process_slot(sharding.make_mesh(model=2)) == (0, 1)


def test_to_global_shards_the_batch_and_leaves_strings_behind():
    mesh = sharding.make_mesh()
    batch = {"x": np.arange(8), "id": np.array(["a"] * 8), "name": np.array(["a"] * 8, object)}
    arrays = sharding.to_global(batch, sharding.batch_sharding(mesh))
    assert set(arrays) == {"x"}
    assert [s.data.shape for s in arrays["x"].addressable_shards] == [(2,)] * 4
    np.testing.assert_array_equal(jax.device_get(arrays["x"]), batch["x"])
