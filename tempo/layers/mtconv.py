"""The multi-temporal convolution: a local branch beside a prolonged one at half the resolution.

Source: arXiv 2011.03949, section III. Where the authors' release differs, an option says so.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers import frame_selection, pooling, resize, slots
from tempo.layers.lowerings import Triple

INPUTS = ("split", "full")
"""What the branches read: the channels split as the output's are, or each of them all."""

LATERALS = ("post", "pre")
"""Where the lateral connection starts: behind the local branch, or behind its convolution alone."""


def split(channels: int, ratio: float) -> tuple[int, int]:
    """Channels of the local and of the prolonged branch (equation 1); the sum is `channels`."""
    local = min(channels, math.ceil(ratio * channels - 1e-9))
    return local, channels - local


class MTConv(nn.Module):
    """Local features beside prolonged ones, computed at half the frames and half the size.

    With psi a pool of 2x2, phi the choice of half the frames, and Up trilinear resizing,

        a_L = act(local_norm(local_conv(x_L)))
        u = prolonged_norm(prolonged_conv(phi(psi(x_P))))
        v = lateral_norm(lateral_conv(phi(psi(a_L))))
        y = [a_L; act(Up(u + v))]

    (equations 2 to 4). All but the norms treats every clip on its own. With ratio 1, or so few
    channels that none is left for the prolonged branch, this is a convolution with its norm and
    activation. Where no channel of the input is left for it, it has the lateral connection alone.

    Attributes:
      conv, norm: factories; `norm` has `train` bound.
      act: activation function.
      features: channels out, of both branches.
      kernel_size: of both branches.
      strides: of both branches.
      ratio: the part of the channels that is local, in (0, 1].
      input: a name of `INPUTS`; both branches read all channels with `full`.
      lateral_from: a name of `LATERALS`; the release has `pre`.
      share_norm: the prolonged and the lateral convolution have one norm, as in the release. A
        training step moves its running statistics twice.
      pool: psi, a name of `pooling.POOLS`; `stochastic` draws in training, from the `dropout` rng.
      frames: phi, a row of `frame_selection.FRAMES` with its options.
      share_indices: the prolonged branch keeps the frames that were chosen of a_L, where the two
        have as many frames, that is without a stride in time.
      is_activated: without it no `act` on either branch, for the last layer of a residual branch.
      scale_init: initialiser of the scale of every norm; None is the norm's own.
      train: as the norms have it bound; what draws, draws.
    """

    conv: Callable
    norm: Callable
    act: Callable
    features: int
    kernel_size: Triple = (1, 1, 1)
    strides: Triple = (1, 1, 1)
    ratio: float = 0.875
    input: str = "split"
    lateral_from: str = "post"
    share_norm: bool = False
    pool: str = "soft"
    frames: slots.Slot = "triplet"
    share_indices: bool = False
    is_activated: bool = True
    scale_init: Callable | None = None
    train: bool = False

    def __post_init__(self):
        if not 0 < self.ratio <= 1:
            raise InputError(
                f"MTConv: ratio={self.ratio} must be above 0 and at most 1; 0.875 is the paper's."
            )
        lookup(dict.fromkeys(INPUTS), self.input, "input of MTConv")
        lookup(dict.fromkeys(LATERALS), self.lateral_from, "lateral_from of MTConv")
        lookup(pooling.POOLS, self.pool, "pool of MTConv")
        select = slots.make(self.frames, frame_selection.FRAMES, "frames of MTConv")
        if self.share_indices and select is None:
            raise InputError(
                f"MTConv: share_indices=True needs frames to select and frames={self.frames!r} "
                "pools them; use frames='triplet' or share_indices=False."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T',H',W',features]`."""
        local, prolonged = split(self.features, self.ratio)
        if not prolonged:
            return self._act(self._local(x, local)[1])
        x_local, x_prolonged = x, x
        if self.input == "split":
            channels, _ = split(x.shape[-1], self.ratio)
            x_local, x_prolonged = x[..., :channels], x[..., channels:]
        raw, normed = self._local(x_local, local)
        a_local = self._act(normed)
        y = self._prolonged(x_prolonged, raw if self.lateral_from == "pre" else a_local, prolonged)
        return jnp.concatenate([a_local, self._act(y)], axis=-1)

    def _local(self, x, features: int):
        """The local convolution's output, and its norm's."""
        raw = self.conv(features, self.kernel_size, self.strides, name="local_conv")(x)
        return raw, self._norm("local_norm")(raw)

    def _prolonged(self, x, lateral, features: int):
        """Both inputs of the prolonged branch, reduced, convolved, added and enlarged again."""
        shape = lateral.shape[1:4]
        x, lateral = self._reduced(x, lateral)
        norm = self._norm("prolonged_norm") if x.shape[-1] else None
        y = 0.0
        if norm is not None:
            y = self.conv(features, self.kernel_size, self.strides, name="prolonged_conv")(x)
            y = norm(y)
        v = self.conv(features, (1, 1, 1), (1, 1, 1), name="lateral_conv")(lateral)
        is_shared = self.share_norm and norm is not None
        v = norm(v) if is_shared else self._norm("lateral_norm")(v)
        if norm is not None:
            v = resize.trilinear(v, y.shape[1:4])
        return resize.trilinear(y + v, shape)

    def _reduced(self, *inputs):
        """phi(psi(x)) of the branch's input and of the lateral connection's."""
        select = slots.make(self.frames, frame_selection.FRAMES, "frames of MTConv")
        window = (2 if select is None else 1, 2, 2)
        pool = pooling.POOLS[self.pool]
        draws = self.train and self.has_rng("dropout")
        chosen = [False] * len(inputs)
        if select is not None and self.pool != "stochastic":
            # Pools treat each frame on its own: those that are dropped anyway are not pooled.
            border = select.keywords.get("border", "interior")
            chosen = [frame_selection.has_no_choice(x.shape[1], border) for x in inputs]
            inputs = [select(x) if now else x for x, now in zip(inputs, chosen, strict=True)]
        pooled = [
            pool(x, window, key=self.make_rng("dropout") if draws else None, train=self.train)
            for x in inputs
        ]
        if select is None:
            return pooled
        prolonged, lateral = pooled
        frames = lateral.shape[1]
        is_shared = self.share_indices and frames == prolonged.shape[1] and frames > 2
        if is_shared and not any(chosen):
            rows = frame_selection.indices(lateral, **select.keywords)
            return [frame_selection.take(x, rows) for x in pooled]
        return [x if done else select(x) for x, done in zip(pooled, chosen, strict=True)]

    def _norm(self, name: str):
        init = {} if self.scale_init is None else {"scale_init": self.scale_init}
        return self.norm(name=name, **init)

    def _act(self, x):
        return self.act(x) if self.is_activated else x
