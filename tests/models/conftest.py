"""Random variables for small networks, without compiling an initialisation."""

import jax
import numpy as np
import pytest

from tempo import trees
from tests.models import nets


def _fill(module, *args, seed=0, **kwargs):
    """Variables of `module` at random: kernels of unit gain, norm statistics far from 0 and 1."""
    with nets.shapes_alone():
        shapes = jax.eval_shape(lambda *a: module.init(jax.random.key(0), *a, **kwargs), *args)
    rng = np.random.default_rng(seed)

    def leaf(name, s):
        if name.endswith("kernel"):
            value = rng.normal(size=s.shape) / np.sqrt(np.prod(s.shape[:-1]))
        elif name.endswith(("var", "scale")):
            value = rng.uniform(0.5, 1.5, size=s.shape)
        else:
            value = rng.normal(size=s.shape) * 0.2
        return value.astype(np.float32)

    return trees.map_with_names(leaf, shapes)


@pytest.fixture(scope="session")
def random_variables():
    return _fill


@pytest.fixture(scope="session")
def stages():
    """Stage features of two clips for `nets.neck`, with negative values too; not to be changed."""
    rng = np.random.default_rng(0)
    shapes = nets.stage_shapes(batch=2)
    return {name: rng.normal(size=s.shape).astype(np.float32) for name, s in shapes.items()}
