"""Spatiotemporal Pyramid Network: necks that fuse snippets of flow, and flow with frames.

Source: Wang, Long, Wang and Yu, CVPR 2017, arXiv 1903.01038. Three levels: snippets of flow into a
motion map, the motion map into where to look in the frame, and pooled vectors of both streams into
what is classified. The dimensions of the levels and the normalisation are not in the paper's text.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers.guided_attention import GuidedAttention
from tempo.layers.sketch import METHODS, NORMALISATIONS, TRANSFORMS, CompactBilinear
from tempo.models import fields
from tempo.models.heads import PoolHead
from tempo.models.two_stream import STREAMS


def _first(maps, pool):
    return maps[0]


def _concatenated(maps, pool):
    return jnp.concatenate(maps, -1)


def _summed(maps, pool):
    return sum(maps)


def _pooled(maps, pool):
    """Of a single snippet there is no product, and the map passes as it is."""
    return maps[0] if len(maps) == 1 else pool(name="stcb")(*maps)


LEVEL_ONE: dict[str, Callable] = {
    "identity": _first,
    "concat": _concatenated,
    "sum": _summed,
    "stcb": _pooled,
}
"""Fusions of snippets: `([B,1,H,W,C] of each, factory of compact bilinear pooling) -> a map`.

Element-wise sums and concatenations are the paper's comparisons.
"""

GUIDANCE = ("none", "level1")
"""What says where to look in the frame: nothing, or its products with the motion map."""

LEVEL_THREE = ("stcb", "attention")
"""What is classified: products of the pooled vectors, or the attention's vector alone."""


class LevelOneFusion(nn.Module):
    """Snippets of flow into one motion map, at every place of the map.

    Attributes:
      mode: a name of `LEVEL_ONE`; `concat` has S C channels, `stcb` those of `pool`, the others C.
      pool: factory of the `CompactBilinear`.
    """

    mode: str
    pool: Callable

    @nn.compact
    def __call__(self, x):
        """`[B,S,H,W,C]`, S snippets -> `[B,1,H,W,D]`.

        Raises:
          InputError: several snippets and no fusion.
        """
        num_snippets = x.shape[1]
        if self.mode == "identity" and num_snippets > 1:
            raise InputError(
                f"neck.level1='identity' passes one snippet on and gets {num_snippets}; fuse them "
                "(concat, sum, stcb) or take config.flow.num_snippets=1."
            )
        maps = [x[:, i : i + 1] for i in range(num_snippets)]
        return LEVEL_ONE[self.mode](maps, self.pool)


class Snippets(nn.Module):
    """Level one alone, for a network that sees flow only: snippets into one motion map.

    Attributes:
      level1: a name of `LEVEL_ONE`.
      level1_dim: d of the compact bilinear pooling.
      normalisation: a name of `sketch.NORMALISATIONS`, behind it.
      l2_scale: norm of what it gives at a place; 0 is the square root of d.
      transform, method: how it is computed, see `CompactBilinear`.
    """

    level1: str = "stcb"
    level1_dim: int = 1024
    normalisation: str = "ssqrt_l2"
    l2_scale: float = 0.0
    transform: str = "fft"
    method: str = "auto"

    def __post_init__(self):
        _check(self, ("level1_dim",))
        super().__post_init__()

    @nn.compact
    def __call__(self, stages: Mapping[str, Any], *, train: bool):
        """`{"res5": [B,S,H,W,C], ...}` -> (`[B,1,H,W,D]`, no auxiliary logits)."""
        pool = _pooling(self, self.level1_dim)
        return LevelOneFusion(self.level1, pool, name="level1")(stages["res5"]), ()


class STPN(nn.Module):
    """Both streams into one vector; what is classified behind it, is trained by one loss.

    The pyramid is `level1="stcb"`, `guidance="level1"`, `level3="stcb"` of three vectors: the mean
    of the frame's map (visual), its attended sum, and the mean of the motion map. Without guidance
    the third level has two vectors. Several frames are looked at one by one and averaged.

    Attributes:
      conv: factory.
      num_classes: K of the auxiliary heads.
      level1: a name of `LEVEL_ONE`: the motion map out of the snippets.
      level1_dim: its channels, if they are of compact bilinear pooling.
      guidance: of `GUIDANCE`.
      level2_dim: d of the products of frame and motion at each place, which guide the attention.
      attention_width: channels between its two convolutions.
      level3: of `LEVEL_THREE`.
      level3_dim: d of what is classified.
      normalisation: a name of `sketch.NORMALISATIONS`, behind the pooling of every level.
      l2_scale: norm of what they give, at each place; 0 is the square root of d.
      transform, method: how they are computed, see `CompactBilinear`.
      aux_heads: each stream has a classifier of its own too, for auxiliary losses.
      aux_dropout_prob: of those.
    """

    conv: Callable
    num_classes: int
    level1: str = "stcb"
    level1_dim: int = 1024
    guidance: str = "level1"
    level2_dim: int = 2048
    attention_width: int = 64
    level3: str = "stcb"
    level3_dim: int = 4096
    normalisation: str = "ssqrt_l2"
    l2_scale: float = 0.0
    transform: str = "fft"
    method: str = "auto"
    aux_heads: bool = False
    aux_dropout_prob: float = 0.5

    def __post_init__(self):
        _check(self, ("level1_dim", "level2_dim", "attention_width", "level3_dim"))
        lookup(dict.fromkeys(GUIDANCE), self.guidance, "guidance (config.neck.guidance)")
        lookup(dict.fromkeys(LEVEL_THREE), self.level3, "level3 (config.neck.level3)")
        if self.level3 == "attention" and self.guidance == "none":
            raise InputError(
                "neck.level3='attention' classifies what the guidance finds, and there is none; "
                "give neck.guidance='level1' or neck.level3='stcb'."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, streams: Mapping[str, Any], *, train: bool):
        """Features of both pathways into one vector.

        Args:
          streams: `spatial [B,T,H,W,C]` and `temporal [B,S,H,W,C']`, such as of `TwoStream`.
          train: the auxiliary heads drop features; needs the rng `dropout`.

        Returns:
          `[B,1,1,1,D]` float32, and the auxiliary logits `[B,K]`, spatial and temporal, in training
          and when initialising.

        Raises:
          InputError: one stream alone, or maps of different sizes under guidance.
        """
        if not {*STREAMS} <= {*streams}:
            raise InputError(
                "The neck stpn fuses two streams; give a backbone of variant two_stream, or the "
                "neck snippets, which fuses snippets of one."
            )
        frames, snippets = (streams[name] for name in STREAMS)
        pool = _pooling(self, self.level1_dim)
        motion = LevelOneFusion(self.level1, pool, name="level1")(snippets)
        vectors = [_mean(frames)]
        if self.guidance == "level1":
            vectors.append(self._attend(frames, motion))
        if self.level3 == "attention":
            z = vectors[-1]
        else:
            z = _pooling(self, self.level3_dim)(name="level3")(*vectors, _mean(motion))
        return z[:, None, None, None], self._aux_logits(streams, train)

    def _attend(self, frames, motion):
        """The frames' features at the places that the products with the motion map point at."""
        if frames.shape[2:4] != motion.shape[2:4]:
            raise InputError(
                f"neck.guidance='level1' needs maps of one size; the frames' are "
                f"{frames.shape[2]}x{frames.shape[3]} and those of flow {motion.shape[2]}x"
                f"{motion.shape[3]}: give both streams backbones of one stride."
            )
        motion = jnp.broadcast_to(motion, (*frames.shape[:-1], motion.shape[-1]))
        guide = _pooling(self, self.level2_dim)(name="level2")(frames, motion)
        attention = GuidedAttention(self.conv, self.attention_width, name="attention")
        attended, weights = attention(frames, guide)
        self.sow("intermediates", "attention_weights", weights)
        return attended.mean(1)

    def _aux_logits(self, streams, train: bool) -> tuple:
        """Logits of each stream alone; none outside training."""
        if not self.aux_heads or not (train or self.is_initializing()):
            return ()
        return tuple(
            PoolHead(self.num_classes, self.aux_dropout_prob, init_std=1e-3, name=f"aux_{name}")(
                streams[name], train=train
            )
            for name in STREAMS
        )


def _mean(x):
    """`[B,T,H,W,C] -> [B,C]` float32."""
    return x.astype(jnp.float32).mean((1, 2, 3))


def _pooling(neck: Snippets | STPN, dim: int) -> Callable:
    """Factory of a level's compact bilinear pooling."""
    return functools.partial(
        CompactBilinear,
        dim,
        method=neck.method,
        transform=neck.transform,
        normalisation=neck.normalisation,
        l2_scale=neck.l2_scale,
    )


def _check(neck: Snippets | STPN, counts: tuple[str, ...]) -> None:
    """Raises `InputError` for a value that the fields of both necks cannot have."""
    tables = {
        "level1": LEVEL_ONE,
        "normalisation": NORMALISATIONS,
        "transform": TRANSFORMS,
        "method": dict.fromkeys(("auto", *METHODS)),
    }
    for field, table in tables.items():
        lookup(table, getattr(neck, field), f"{field} (config.neck.{field})")
    for field in counts:
        if not fields.is_whole(getattr(neck, field)):
            raise InputError(
                f"neck.{field} must be a whole number of at least 1; got {getattr(neck, field)!r}."
            )
    if not fields.is_number(neck.l2_scale) or neck.l2_scale < 0:
        raise InputError(
            "neck.l2_scale must be a number of at least 0, where 0 is the square root of the "
            f"dimension; got {neck.l2_scale!r}."
        )
