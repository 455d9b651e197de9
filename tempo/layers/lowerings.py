"""Ways to compute one 3-D convolution that give the same numbers at different speeds.

XLA lowers a convolution with three spatial dimensions badly on every backend, so the kernels of
video networks, nearly all of which have an extent of one along time or space, are better written
as 2-D convolutions, matrix products or sums of shifted products. Every function here takes

    x        [B, T, H, W, C]
    kernel   [kt, kh, kw, C / groups, features]
    spec     a `ConvSpec`: strides, symmetric padding, groups

and returns `[B, T', H', W', features]` with `n' = (n + 2 * padding - kernel) // stride + 1` along
each axis. `LOWERINGS` names them and says which kernels each is for.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from tempo.layers import kernel_gradient, memory
from tempo.layers.conv_spec import ConvSpec
from tempo.layers.conv_spec import Triple as Triple
from tempo.layers.depthwise import shifted_products


def plain(x, kernel, spec: ConvSpec):
    """One convolution with three spatial dimensions: the definition that the others must equal."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=spec.strides,
        padding=spec.pads,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=spec.groups,
    )


def fold(x, kernel, spec: ConvSpec):
    """A 2-D convolution with T folded into the batch, for kernels without extent in time."""
    x = _frames(x, 0, spec)
    y = _conv2d(_merge_time(x), kernel[0], spec.strides[1:], spec.pads[1:], spec.groups)
    return y.reshape(x.shape[:2] + y.shape[1:])


def fold_sum(x, kernel, spec: ConvSpec):
    """A sum over the kernel's time taps of 2-D convolutions of shifted frames."""
    x = _pad_time(x, spec)
    y = sum(
        _conv2d(
            _merge_time(_frames(x, t, spec)),
            kernel[t],
            spec.strides[1:],
            spec.pads[1:],
            spec.groups,
        )
        for t in range(spec.kernel_size[0])
    )
    return y.reshape((x.shape[0], -1, *y.shape[1:]))


def fold_stack(x, kernel, spec: ConvSpec):
    """One 2-D convolution of the shifted frames stacked on channels."""
    x = _stack_time(x, spec)
    kernel = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], -1, spec.features)
    y = _conv2d(_merge_time(x), kernel, spec.strides[1:], spec.pads[1:], 1)
    return y.reshape(x.shape[:2] + y.shape[1:])


def fold_split(x, kernel, spec: ConvSpec):
    """One 2-D convolution for all time taps, whose outputs are then shifted and added.

    Moves the outputs where `fold_stack` moves the inputs: less where they are fewer.
    """
    taps = spec.kernel_size[0]
    kernel = jnp.moveaxis(kernel, 0, 3).reshape(*kernel.shape[1:4], -1)
    y = _conv2d(_merge_time(x), kernel, spec.strides[1:], spec.pads[1:], 1)
    parts = jnp.split(y.reshape(x.shape[:2] + y.shape[1:]), taps, axis=-1)
    return _shifted_sum(parts, spec)


def fold_space(x, kernel, spec: ConvSpec):
    """A 2-D convolution over (T, H*W), for kernels with extent in time only."""
    x = _subsample_space(x, spec)
    b, t, h, w, c = x.shape
    y = _conv2d(
        x.reshape(b, t, h * w, c),
        kernel[:, :, 0],
        (spec.strides[0], 1),
        (spec.pads[0], (0, 0)),
        spec.groups,
    )
    return y.reshape(b, -1, h, w, spec.features)


def matmul_sum(x, kernel, spec: ConvSpec):
    """A matrix product per time tap, on shifted frames (one product for a 1x1x1 kernel)."""
    x = _pad_time(_subsample_space(x, spec), spec)
    return sum(
        _channel_product(_frames(x, t, spec), kernel[t, 0, 0], spec.groups)
        for t in range(spec.kernel_size[0])
    )


def matmul_stack(x, kernel, spec: ConvSpec):
    """One matrix product of the shifted frames stacked on channels."""
    x = _stack_time(_subsample_space(x, spec), spec)
    return _channel_product(x, kernel.reshape(-1, spec.features), 1)


def matmul_split(x, kernel, spec: ConvSpec):
    """A matrix product per time tap, whose outputs are then shifted and added.

    Moves the outputs where `matmul_sum` moves the inputs: less where channels are reduced.
    """
    x = _subsample_space(x, spec)
    parts = [_channel_product(x, tap[0, 0], 1) for tap in kernel]
    return _shifted_sum(parts, spec)


def _undecorated_conv2d(x, kernel, strides, pads, groups):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv2d(x, kernel, strides, pads, groups):
    """2-D convolution of `x [N, H, W, C]` whose gradient reads operands from memory."""
    return _undecorated_conv2d(x, kernel, strides, pads, groups)


def _conv2d_fwd(x, kernel, strides, pads, groups):
    return _undecorated_conv2d(x, kernel, strides, pads, groups), (x, kernel)


def _conv2d_bwd(strides, pads, groups, residuals, dy):
    x, kernel = residuals
    x, dy = memory.stored(x, dy)
    _, pullback = jax.vjp(
        lambda x, kernel: _undecorated_conv2d(x, kernel, strides, pads, groups), x, kernel
    )
    dx, d_kernel = pullback(dy)
    if kernel_gradient.is_wanted(groups):
        d_kernel = kernel_gradient.of_conv2d(x, dy, kernel.shape, strides, pads)
    return dx, d_kernel


_conv2d.defvjp(_conv2d_fwd, _conv2d_bwd)


def _channel_product(x, kernel, groups: int):
    """`x [..., C] @ kernel [C / groups, features]`, group by group."""
    rows = x.reshape(-1, x.shape[-1])
    if groups == 1:
        return _matmul(rows, kernel).reshape(*x.shape[:-1], -1)
    rows = rows.reshape(-1, groups, x.shape[-1] // groups)
    kernel = kernel.reshape(kernel.shape[0], groups, -1)
    return jnp.einsum("ngc,cgf->ngf", rows, kernel).reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _matmul(rows, kernel):
    """`rows [N, C] @ kernel [C, F]`, whose gradient reads operands from memory."""
    return jnp.dot(rows, kernel)


def _matmul_fwd(rows, kernel):
    return jnp.dot(rows, kernel), (rows, kernel)


def _matmul_bwd(residuals, dy):
    rows, kernel = residuals
    rows, dy = memory.stored(rows, dy)
    return jnp.dot(dy, kernel.T), kernel_gradient.of_product(rows, dy)


_matmul.defvjp(_matmul_fwd, _matmul_bwd)


def _pad_time(x, spec: ConvSpec):
    return jnp.pad(x, ((0, 0), spec.pads[0], (0, 0), (0, 0), (0, 0))) if spec.padding[0] else x


def _frames(padded, tap: int, spec: ConvSpec):
    """Frames of the time-padded input that meet time tap `tap`."""
    stride = spec.strides[0]
    count = (padded.shape[1] - spec.kernel_size[0]) // stride + 1
    if stride == 1 and count == padded.shape[1]:
        return padded
    return padded[:, tap : tap + (count - 1) * stride + 1 : stride]


def _shifted_sum(parts, spec: ConvSpec):
    """Sum of the outputs of all time taps `[B,T,...]`, each from the frames that its tap met."""
    return sum(_frames(_pad_time(part, spec), t, spec) for t, part in enumerate(parts))


def _stack_time(x, spec: ConvSpec):
    x = _pad_time(x, spec)
    return jnp.concatenate([_frames(x, t, spec) for t in range(spec.kernel_size[0])], axis=-1)


def _subsample_space(x, spec: ConvSpec):
    """What is left of a kernel without spatial extent after its spatial stride."""
    _, sh, sw = spec.strides
    return x if sh == sw == 1 else x[:, :, ::sh, ::sw]


def _merge_time(x):
    return x.reshape((-1, *x.shape[2:]))


def _no_time_extent(spec: ConvSpec) -> bool:
    return spec.kernel_size[0] == 1 and spec.padding[0] == 0


def _no_space_extent(spec: ConvSpec) -> bool:
    return spec.kernel_size[1:] == (1, 1) and spec.padding[1:] == (0, 0)


@dataclasses.dataclass(frozen=True)
class Lowering:
    """A way to compute a convolution, and the test of whether it can compute a given one.

    Attributes:
      compute: `(x, kernel, spec) -> [B,T',H',W',features]`, shapes as above.
      suits: whether `compute` can do a spec.
    """

    compute: Callable
    suits: Callable[[ConvSpec], bool]


LOWERINGS: dict[str, Lowering] = {
    "plain": Lowering(plain, lambda spec: True),
    "fold": Lowering(fold, _no_time_extent),
    "fold_sum": Lowering(fold_sum, lambda spec: True),
    "fold_stack": Lowering(fold_stack, lambda spec: spec.groups == 1),
    # With a stride in time it would compute the outputs that the stride skips.
    "fold_split": Lowering(fold_split, lambda spec: spec.groups == 1 and spec.strides[0] == 1),
    "fold_space": Lowering(fold_space, _no_space_extent),
    "matmul_sum": Lowering(matmul_sum, _no_space_extent),
    "matmul_stack": Lowering(
        matmul_stack, lambda spec: spec.groups == 1 and _no_space_extent(spec)
    ),
    "matmul_split": Lowering(
        matmul_split, lambda spec: spec.groups == 1 and _no_space_extent(spec)
    ),
    "shifted_products": Lowering(shifted_products, lambda spec: spec.group_kind == "depthwise"),
}
"""Lowerings by name; `plain` suits every convolution and is what the others must equal."""
