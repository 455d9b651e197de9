"""Temporal Pyramid Network: a neck that pools features of several depths to several tempos.

Source: Yang et al., CVPR 2020, arXiv 2004.03548. The arithmetic is that of the public code
(github.com/decisionforce/TPN and mmaction2, which agree), where the paper leaves it open.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import linen as nn
from jax import numpy as jnp

from tempo.errors import InputError, lookup
from tempo.layers import activation, pooling
from tempo.layers import conv as conv_lib
from tempo.models.heads import PoolHead

SOURCES: dict[str, tuple[str, ...]] = {
    "res5": ("res5", "res5", "res5", "res5"),
    "res45": ("res4", "res5"),
    "res345": ("res3", "res4", "res5"),
    "res2345": ("res2", "res3", "res4", "res5"),
}
"""Names of the L stage features that levels start from, lowest first, `[B,T,H_i,W_i,C_i]` each.

`res5` is the single-depth pyramid: four levels of one feature.
"""

FLOWS: dict[str, Callable] = {
    "isolation": lambda f, top_down, bottom_up: {"iso": f},
    "top_down": lambda f, top_down, bottom_up: {"td": top_down(f)},
    "bottom_up": lambda f, top_down, bottom_up: {"bu": bottom_up(f)},
    "parallel": lambda f, top_down, bottom_up: {"td": top_down(f), "bu": bottom_up(f)},
    "cascade": lambda f, top_down, bottom_up: {
        "td": (down := top_down(f)),
        "bu": bottom_up(down),
    },
    "cascade_single": lambda f, top_down, bottom_up: {"bu": bottom_up(top_down(f))},
}
"""Information flows (section 3.2): `(levels, top_down, bottom_up) -> {name: pyramid}`.

Levels and pyramids are lists of L arrays `[B,T_i,H,W,C]`, lowest first; T_i never rises from level
to level. `top_down` and `bottom_up` map such a list to another of the same shapes; the second makes
convolutions and can be called once. A name ("iso", "td", "bu") names the pyramid's fusion.

`parallel` is the paper's. The released weights were trained with `cascade`: its bottom-up pass
starts from the result of the top-down pass. Both end in two pyramids; `cascade_single` keeps the
last one only, the literal reading of the paper's sentence.
"""

AUX_LEVELS: dict[str, Callable[[int], range]] = {
    "none": lambda num_levels: range(0),
    "second_top": lambda num_levels: range(num_levels - 2, num_levels - 1),
    "all_but_top": lambda num_levels: range(num_levels - 1),
}
"""Levels with an auxiliary head: L -> their numbers, 0 the lowest.

`second_top` is the released code, `all_but_top` equation 1.
"""

ALPHAS: dict[str, Callable[[int, int], tuple[float, ...]]] = {
    "rule": lambda t, num_levels: tuple(t / 2 ** (num_levels - 1 - i) for i in range(num_levels)),
    "equal": lambda t, num_levels: (t,) * num_levels,
}
"""Named alphas: `(T, L) ->` frames pooled into one per level, lowest first, L numbers.

They are whole where T allows it (`rule`: a multiple of 2^(L-1)); the neck refuses others.
"""

SINGLE_DEPTH = ("sample", "pool")
"""Ways from T to T / alpha frames of the single-depth pyramid, see `TPN.single_depth`."""

xavier_uniform = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


class TPN(nn.Module):
    """Temporal pyramid over stage features, ending in one feature map.

    Attributes:
      conv, norm: factories; `norm` takes `use_running_average`.
      num_classes: K of the auxiliary heads.
      source: stages the levels come from, a name of `SOURCES`.
      alphas: frames that the temporal modulation pools into one, per level, lowest first. `rule`
        leaves 2^(L-1-i) frames of level i (the paper's {16, 32} for 32 frames and 2 levels);
        `equal` leaves one frame of each (the released R50 models); or numbers that divide T and
        each other in turn.
      flow: a name of `FLOWS`.
      force_two_pyramids: use a single pyramid twice, so that all flows have equal capacity.
      spatial_modulation: False resamples lower levels by max pools instead of convolutions.
      temporal_modulation: False maps channels per frame and keeps every frame at every level.
      single_depth: for `source="res5"`: `sample` takes every alpha-th frame (the paper's words),
        `pool` max-pools like the other sources (what the released code would do).
      aux_levels: a name of `AUX_LEVELS`. The single-depth pyramid has no lower stage and no head.
      aux_dropout_prob: dropout of the auxiliary heads.
      features: channels of a level; None is half of res5's. Fusions have as many as res5.
      groups: of the temporal modulation and of the per-level fusion convolutions.
      act: a name of `conv.ACTIVATIONS`.
      td_gate: factor on what flows down; 0 cuts the only flow that has no weights (for tests).
    """

    conv: Callable
    norm: Callable
    num_classes: int
    source: str = "res45"
    alphas: str | Sequence[int] = "rule"
    flow: str = "parallel"
    force_two_pyramids: bool = False
    spatial_modulation: bool = True
    temporal_modulation: bool = True
    single_depth: str = "sample"
    aux_levels: str = "second_top"
    aux_dropout_prob: float = 0.5
    features: int | None = None
    groups: int = 32
    act: str = "relu"
    td_gate: float = 1.0

    def __post_init__(self):
        lookup(SOURCES, self.source, "source (config.neck.source)")
        lookup(FLOWS, self.flow, "flow (config.neck.flow)")
        lookup(AUX_LEVELS, self.aux_levels, "aux_levels (config.neck.aux_levels)")
        lookup(
            dict.fromkeys(SINGLE_DEPTH),
            self.single_depth,
            "single_depth (config.neck.single_depth)",
        )
        lookup(conv_lib.ACTIVATIONS, self.act, "activation (config.neck.act)")
        if isinstance(self.alphas, str):
            lookup(ALPHAS, self.alphas, "alphas (config.neck.alphas)")
        super().__post_init__()

    @nn.compact
    def __call__(self, stages: Mapping[str, Any], *, train: bool):
        """`{"res2", ...}` -> (`[B,T',H,W,C]` with H, W, C of res5, tuple of aux logits `[B,K]`).

        The auxiliary logits are computed in training and when initialising only.

        Raises:
          InputError: `alphas` do not fit the frames or levels, `groups` not the channels.
        """
        inputs = [stages[name] for name in SOURCES[self.source]]
        conv = functools.partial(self.conv, kernel_init=xavier_uniform)
        norm = functools.partial(self.norm, use_running_average=not train)
        unit = functools.partial(
            ConvNormAct, conv=conv, norm=norm, act=conv_lib.ACTIVATIONS[self.act]
        )
        aux = _aux_logits(self, stages, unit, train=train)
        levels = self._modulate(inputs, conv, unit)
        out_features = inputs[-1].shape[-1]
        fused = []
        for name, pyramid in self._flow(levels, conv).items():
            fusion = LevelFusion(unit, out_features, self.groups, name=f"level_fusion_{name}")
            fused.append(fusion(pyramid))
        if len(fused) == 1:
            return fused[0], aux
        return unit(out_features, name="pyramid_fusion")(jnp.concatenate(fused, -1)), aux

    def _modulate(self, inputs, conv, unit):
        """Levels of equal size in space and channels, level i with T / alpha_i frames."""
        top = inputs[-1].shape[-1]
        rates = self._rates(inputs[-1].shape[1], len(inputs))
        strided = self.source == "res5" and self.single_depth == "sample"
        levels = []
        for i, (x, rate) in enumerate(zip(inputs, rates, strict=True)):
            x = self._align_space(x, i, top, unit)
            x = x[:, ::rate] if strided else x
            kernel_t = 3 if self.temporal_modulation else 1
            x = conv(
                self.features or top // 2,
                (kernel_t, 1, 1),
                groups=self.groups,
                name=f"temporal_mod_{i}",
            )(x)
            levels.append(x if strided else pooling.ceil_max_pool_time(x, rate))
        return levels

    def _align_space(self, x, level: int, top: int, unit):
        """Halves H, W (and doubles C) as often as the backbone still does up to res5."""
        halvings = math.log2(top / x.shape[-1])
        if halvings != int(halvings) or halvings < 0:
            raise InputError(
                f"The neck needs channels that double towards res5; level {level} has "
                f"{x.shape[-1]} channels and res5 {top}."
            )
        for j in range(int(halvings)):
            if self.spatial_modulation:
                name = f"spatial_mod_{level}_{j}"
                x = unit(2 * x.shape[-1], (1, 3, 3), (1, 2, 2), name=name)(x)
            else:
                x = pooling.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        return x

    def _rates(self, num_frames: int, num_levels: int) -> tuple[int, ...]:
        """Alphas as numbers, checked against the clip."""
        if not self.temporal_modulation:
            return (1,) * num_levels
        named = isinstance(self.alphas, str)
        rates = ALPHAS[self.alphas](num_frames, num_levels) if named else tuple(self.alphas)
        where = f"neck.alphas={self.alphas!r}"
        if len(rates) != num_levels:
            raise InputError(
                f"{where} has {len(rates)} entries for the {num_levels} levels of "
                f"source={self.source!r}; give one per level."
            )
        if any(a < 1 or a != int(a) or num_frames % a for a in rates):
            raise InputError(
                f"{where} must be whole numbers that divide the {num_frames} frames of the "
                f"features; choose divisors of {num_frames} or another clip length "
                f"('rule' needs a multiple of {2 ** (num_levels - 1)})."
            )
        rates = tuple(int(a) for a in rates)
        if any(high % low for low, high in itertools.pairwise(rates)):
            raise InputError(
                f"{where}: each level's alpha must divide the next one's, so that levels can be "
                "resampled to each other; for example (4, 8)."
            )
        return rates

    def _flow(self, levels, conv) -> dict[str, list]:
        """Pyramids by name after the information flow; equation 2 with its index corrected."""

        def top_down(f):
            out = [f[-1]]
            for x in reversed(f[:-1]):
                up = jnp.repeat(out[0], x.shape[1] // out[0].shape[1], axis=1)
                out.insert(0, x + self.td_gate * up)
            return out

        def bottom_up(f):
            out = [f[0]]
            for i, x in enumerate(f[1:]):
                down = conv(x.shape[-1], (3, 1, 1), name=f"lateral_down_{i}")(out[-1])
                out.append(x + pooling.ceil_max_pool_time(down, down.shape[1] // x.shape[1]))
            return out

        pyramids = FLOWS[self.flow](levels, top_down, bottom_up)
        if self.force_two_pyramids and len(pyramids) == 1:
            (pyramid,) = pyramids.values()
            pyramids = {"td": pyramid, "bu": pyramid}
        return pyramids


class AuxHeads(nn.Module):
    """The auxiliary heads of TPN without its pyramid: res5 passes as it is.

    Attributes: those of `TPN` with the same names.
    """

    conv: Callable
    norm: Callable
    num_classes: int
    source: str = "res45"
    aux_levels: str = "second_top"
    aux_dropout_prob: float = 0.5
    act: str = "relu"

    def __post_init__(self):
        lookup(SOURCES, self.source, "source (config.neck.source)")
        lookup(AUX_LEVELS, self.aux_levels, "aux_levels (config.neck.aux_levels)")
        lookup(conv_lib.ACTIVATIONS, self.act, "activation (config.neck.act)")
        super().__post_init__()

    @nn.compact
    def __call__(self, stages: Mapping[str, Any], *, train: bool):
        """`{"res2", ...}` -> (res5 `[B,T,H,W,C]`, tuple of aux logits `[B,K]`), as `TPN`."""
        conv = functools.partial(self.conv, kernel_init=xavier_uniform)
        norm = functools.partial(self.norm, use_running_average=not train)
        act = conv_lib.ACTIVATIONS[self.act]
        unit = functools.partial(ConvNormAct, conv=conv, norm=norm, act=act)
        return stages["res5"], _aux_logits(self, stages, unit, train=train)


def _aux_logits(module: TPN | AuxHeads, stages: Mapping[str, Any], unit, *, train: bool) -> tuple:
    """Logits of the auxiliary heads, lowest level first; none outside training."""
    if module.source == "res5" or not (train or module.is_initializing()):
        return ()
    names = SOURCES[module.source]
    return tuple(
        AuxHead(unit, module.num_classes, module.aux_dropout_prob, name=f"aux_head_{i}")(
            stages[names[i]], train=train
        )
        for i in AUX_LEVELS[module.aux_levels](len(names))
    )


class ConvNormAct(nn.Module):
    """Convolution, norm, activation."""

    features: int
    kernel_size: tuple[int, int, int] = (1, 1, 1)
    strides: tuple[int, int, int] = (1, 1, 1)
    groups: int = 1
    conv: Callable | None = None
    norm: Callable | None = None
    act: Callable = activation.relu

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T',H',W',features]`."""
        x = self.conv(
            self.features, self.kernel_size, self.strides, groups=self.groups, name="conv"
        )(x)
        return self.act(self.norm(name="norm")(x))


class LevelFusion(nn.Module):
    """Pools the levels of a pyramid to the top one's frames, maps each, concatenates and fuses."""

    unit: Callable
    features: int
    groups: int

    @nn.compact
    def __call__(self, levels):
        """List of `[B,T_i,H,W,C]` -> `[B,T_top,H,W,features]`."""
        mapped = []
        for i, x in enumerate(levels):
            x = pooling.ceil_max_pool_time(x, x.shape[1] // levels[-1].shape[1])
            mapped.append(self.unit(x.shape[-1], groups=self.groups, name=f"level_{i}")(x))
        return self.unit(self.features, name="fusion")(jnp.concatenate(mapped, -1))


class AuxHead(nn.Module):
    """3x3 convolution with stride 2 that doubles the channels, then pool, dropout, linear."""

    unit: Callable
    num_classes: int
    dropout_prob: float

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> logits `[B,K]` float32."""
        x = self.unit(2 * x.shape[-1], (1, 3, 3), (1, 2, 2), name="conv")(x)
        return PoolHead(self.num_classes, self.dropout_prob, name="head")(x, train=train)
