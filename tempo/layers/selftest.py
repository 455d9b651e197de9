"""Whether what the compiler makes of convolutions is right here: each against a loop of numpy.

One small convolution of every kind of kernel that networks have, by the lowering that `conv.choose`
takes for the backend, with both gradients, in one compiled program.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from tempo.layers import conv
from tempo.layers.conv_spec import ConvSpec

_POINT, _SPACE, _TIME, _FULL = (1, 1, 1), (1, 3, 3), (3, 1, 1), (3, 3, 3)


def _spec(kernel_size, strides=_POINT, groups=1, in_features=6, features=6) -> ConvSpec:
    padding = tuple(k // 2 for k in kernel_size)
    return ConvSpec(kernel_size, strides, padding, groups, in_features, features)


SPECS = {
    (spec.kernel_kind, spec.group_kind): spec
    for spec in (
        *(
            _spec(kernel_size, strides, groups)
            for groups in (1, 2, 6)
            for kernel_size, strides in (
                (_POINT, (1, 1, 1)),
                (_SPACE, (1, 2, 2)),
                (_TIME, (1, 1, 1)),
                (_TIME, (2, 1, 1)),
                (_FULL, (1, 2, 2)),
            )
        ),
        _spec((3, 5, 5), (2, 2, 2), in_features=3),
        _spec((3, 5, 5), (1, 2, 2), in_features=3),
    )
}
"""(kind of kernel, kind of groups) -> a small convolution of that kind: all rows of `conv.AUTO`."""

_INPUT = (2, 5, 6, 7)  # B, T, H, W


def table() -> dict[str, str]:
    """Kind of convolution, such as `temporal dense` -> the lowering in force for it."""
    return {" ".join(kind): conv.choose(spec) for kind, spec in SPECS.items()}


def check(tolerance: float = 1e-4) -> dict[str, str]:
    """What came of each kind's check, by its name: `ok`, or `failed: why`.

    Args:
      tolerance: largest difference allowed, in parts of the largest value.
    """
    outcomes = {}
    cases = {" ".join(kind): (spec, *_operands(spec)) for kind, spec in SPECS.items()}
    with jax.default_matmul_precision("highest"):
        computed = jax.device_get(_compiled(cases))
    for name, (spec, x, kernel, dy) in cases.items():
        expected = _by_loops(spec, x, kernel, dy)
        wrong = []
        names = ("output", "input gradient", "kernel gradient")
        for what, got, wanted in zip(names, computed[name], expected, strict=True):
            difference = np.abs(got - wanted).max() / np.abs(wanted).max()
            if not difference <= tolerance:  # NaN is wrong, too
                wrong.append(f"{what} by {difference:.0e}")
        outcomes[name] = f"failed: {conv.choose(spec)}: {', '.join(wrong)}" if wrong else "ok"
    return outcomes


def _operands(spec: ConvSpec) -> tuple[np.ndarray, ...]:
    """(x, kernel, dy): random, float32."""
    rng = np.random.default_rng(0)
    kernel_shape = (*spec.kernel_size, spec.in_features // spec.groups, spec.features)
    shapes = (*_INPUT, spec.in_features), kernel_shape, (*_output_shape(spec), spec.features)
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def _output_shape(spec: ConvSpec) -> tuple[int, ...]:
    sizes = zip(_INPUT[1:], spec.padding, spec.kernel_size, spec.strides, strict=True)
    return (_INPUT[0], *((n + 2 * p - k) // s + 1 for n, p, k, s in sizes))


def _compiled(cases):
    """Output and both gradients of every case, in one program."""

    @jax.jit
    def run(operands):
        results = {}
        for name, (x, kernel, dy) in operands.items():
            spec = cases[name][0]

            def convolve(x, kernel, spec=spec):
                return conv.convolve(
                    x,
                    kernel,
                    strides=spec.strides,
                    padding=spec.padding,
                    groups=spec.groups,
                )

            y, pullback = jax.vjp(convolve, x, kernel)
            results[name] = (y, *pullback(dy))
        return results

    return run({name: tuple(map(jnp.asarray, operands)) for name, (_, *operands) in cases.items()})


def _by_loops(spec: ConvSpec, x, kernel, dy) -> tuple[np.ndarray, ...]:
    """(y, dx, dkernel) by the definition, tap by tap, in float64."""
    x, kernel, dy = (a.astype(np.float64) for a in (x, kernel, dy))
    pads = [(0, 0), *((p, p) for p in spec.padding), (0, 0)]
    padded = np.pad(x, pads)
    batch, extents = dy.shape[0], dy.shape[1:4]
    dy = dy.reshape(-1, spec.groups, spec.features // spec.groups)
    y, d_padded, d_kernel = np.zeros_like(dy), np.zeros_like(padded), np.zeros_like(kernel)
    for tap in itertools.product(*map(range, spec.kernel_size)):
        rows = zip(tap, extents, spec.strides, strict=True)
        window = (slice(None), *(slice(t, t + (n - 1) * s + 1, s) for t, n, s in rows))
        seen = padded[window].reshape(-1, spec.groups, spec.in_features // spec.groups)
        weights = kernel[tap].reshape(-1, spec.groups, spec.features // spec.groups)
        y += np.einsum("ngc,cgf->ngf", seen, weights)
        d_kernel[tap] = np.einsum("ngc,ngf->cgf", seen, dy).reshape(kernel[tap].shape)
        reached = np.einsum("ngf,cgf->ngc", dy, weights)
        d_padded[window] += reached.reshape(batch, *extents, spec.in_features)
    inside = tuple(
        slice(before, n - after) for n, (before, after) in zip(padded.shape, pads, strict=True)
    )
    return y.reshape(batch, *extents, -1), d_padded[inside], d_kernel
