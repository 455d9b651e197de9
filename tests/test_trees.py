import flax.linen as nn
import jax
import jax.numpy as jnp

from tempo import trees


def test_leaf_names_join_the_path():
    tree = {"head": {"fc": {"kernel": 0, "bias": 1}}, "list": [2, 3]}
    assert trees.leaf_names(tree) == ["head/fc/bias", "head/fc/kernel", "list/0", "list/1"]
    named = {"head/fc/bias": 1, "head/fc/kernel": 0, "list/0": 2, "list/1": 3}
    assert trees.named(tree) == named


def test_differences_name_what_each_side_has_parameters_first():
    stored = {"batch_stats/a": (1,), "params/b": (2, 3), "params/c": (1, 4), "params/same": (5,)}
    wanted = {"params/same": (5,), "params/b": (2, 4), "params/c": (3, 4), "batch_stats/d": (1,)}
    found = trees.differences(stored, wanted, "file")
    assert list(found.values()) == [
        "params/b: [2, 3] in the file, [2, 4] in the model",
        "params/c: [1, 4] in the file, [3, 4] in the model",
        "batch_stats/a: only in the file",
        "batch_stats/d: only in the model",
    ]
    fits = trees.differences(stored, wanted, "file", fits=lambda a, b: a[1:] == b[1:])
    assert list(fits) == ["params/b", "batch_stats/a", "batch_stats/d"]


def test_mask_selects_by_name():
    tree = {"conv": {"kernel": 0}, "norm": {"scale": 0, "bias": 0}}
    assert trees.mask(tree, r"norm/") == {
        "conv": {"kernel": False},
        "norm": {"scale": True, "bias": True},
    }


def test_count_params_of_shapes():
    tree = {"a": jax.ShapeDtypeStruct((2, 3), jnp.float32), "b": jnp.zeros(())}
    assert trees.count_params(tree) == 7


def test_count_macs_of_grouped_convolution_matmul_and_scan():
    conv = nn.Conv(8, (3, 3), strides=2, padding=1, feature_group_count=2)
    x = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32)
    variables = jax.eval_shape(conv.init, jax.random.key(0), x)

    def function(variables, x):
        y = jax.jit(conv.apply)(variables, x)  # [2,4,4,8]
        y = y.reshape(32, 8)
        w = jnp.ones((8, 8))
        return jax.lax.scan(lambda c, _: (c @ w, None), y, length=5)[0]

    conv_macs = 2 * 4 * 4 * 8 * (3 * 3 * 2)
    assert trees.count_macs(function, variables, x) == conv_macs + 5 * 32 * 8 * 8


def test_count_macs_leaves_out_what_is_marked():
    @trees.uncounted
    def chosen(rows, x):
        return rows @ x

    def function(x):
        return chosen(jnp.eye(3), x) @ x

    assert trees.count_macs(function, jax.ShapeDtypeStruct((3, 3), jnp.float32)) == 27


def test_macs_by_scope_are_of_modules():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(5, name="second")(nn.Dense(4, name="first")(x))

    x = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    found = trees.macs_by_scope(lambda x: Net().init_with_output(jax.random.key(0), x)[0], x)
    by_layer = {
        part: sum(n for name, n in found.items() if part in name) for part in ("first", "second")
    }
    assert by_layer == {"first": 2 * 3 * 4, "second": 2 * 4 * 5}
