"""Models by name: backbones, necks, heads, whole presets, and `create`, which puts them together.

model = models.create(400, name="tpn_slowonly_r50")
model = models.create(8, backbone=dict(variant="slowonly_r50", depths=(1, 1, 1, 1), width=8))
"""

import fnmatch
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from tempo import trees
from tempo.errors import InputError, check_keys, lookup
from tempo.layers import remat as remat_lib
from tempo.layers import slots
from tempo.layers.conv import Conv, check_lowering
from tempo.layers.norm import NORMS, check_pattern
from tempo.models import (
    bninception,
    fusing,
    heads,
    late_fusion,
    mtnet,
    multifiber,
    resnet,
    slowfast,
    stpn,
    tpn,
    two_stream,
    two_stream_mtnet,
    vgg,
    x3d,
)
from tempo.models.presets import MODELS
from tempo.models.recognizer import Recognizer
from tempo.types import STREAMS, ClipShapes

BACKBONES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    **{variant: (resnet.ResNet, row) for variant, row in resnet.VARIANTS.items()},
    **{variant: (slowfast.SlowFast, row) for variant, row in slowfast.VARIANTS.items()},
    **{variant: (multifiber.MultiFiber, row) for variant, row in multifiber.VARIANTS.items()},
    **{variant: (x3d.X3D, row) for variant, row in x3d.VARIANTS.items()},
    **{variant: (mtnet.MTNet, row) for variant, row in mtnet.VARIANTS.items()},
    **{variant: (bninception.BNInception, row) for variant, row in bninception.VARIANTS.items()},
    **{variant: (vgg.VGG, row) for variant, row in vgg.VARIANTS.items()},
    **{
        variant: (two_stream_mtnet.TwoStreamMTNet, row)
        for variant, row in two_stream_mtnet.VARIANTS.items()
    },
}
"""Backbone class and geometry by `variant`; `two_stream` puts two of the others together."""

_NESTED = {"two_stream": two_stream.TwoStream}

NECKS: dict[str, type[nn.Module]] = {
    "tpn": tpn.TPN,
    "aux": tpn.AuxHeads,
    "snippets": stpn.Snippets,
    "stpn": stpn.STPN,
}

HEADS: dict[str, type[nn.Module]] = {
    "pool": heads.PoolHead,
    "x3d": heads.X3DHead,
    "vgg": vgg.VGGHead,
    "late_fusion": late_fusion.LateFusion,
}


def create(
    num_classes: int,
    *,
    name: str | None = None,
    backbone: Mapping[str, Any] | None = None,
    neck: Mapping[str, Any] | None = None,
    head: Mapping[str, Any] | None = None,
    stream: str = "",
    norm: str = "batch",
    norm_groups: int = 1,
    norm_group_size: int = 0,
    norm_frozen: str = "",
    dtype: str = "float32",
    lowering: str = "auto",
    remat: str | bool = "none",
) -> Recognizer:
    """A `Recognizer`: a preset, a preset with some keys changed, or one described in full.

    Args:
      num_classes: K.
      name: a row of `MODELS`; None or "" builds from the next three alone.
      backbone: `variant` (a name of `BACKBONES`) and fields of its class.
      neck: `name` (of `NECKS`) and fields of its class; empty for none.
      head: `name` (of `HEADS`, `pool` by default) and fields of its class.
      stream: what a backbone of one stream reads, a row of `tempo.types.STREAMS`; "" is as the
        preset has it, or `video`.
      norm: a name of `NORMS`.
      norm_groups: parts of the batch with norm statistics of their own.
      norm_group_size: clips of each part, in place of their number; 0 is off.
      norm_frozen: regular expression of paths of norms, such as `backbone/stage1_block1/norm1`,
        that keep their running statistics in training too (partial BN); `/(?!stem_norm)[^/]*$` is
        of all norms but a network's first. "" is of none. One that fits no norm freezes none: no
        norm is known here, and `tempo.layers.norm.check_frozen` tells once they are.
      dtype: of activations, `float32` or `bfloat16`; parameters, norm statistics, pooled features
        and logits are float32 always.
      lowering: how convolutions are computed, see `tempo.layers.conv.choose`.
      remat: what the backward pass computes again of the backbone's blocks, to save memory: a name
        of `tempo.layers.remat.POLICIES`; True is `blocks`. The step is to be compiled with
        `remat.compiler_options`.

    Raises:
      InputError: an unknown name or key (with the nearest one), or none given at all.
    """
    if not isinstance(num_classes, int) or num_classes < 1:
        raise InputError(f"num_classes must be a positive whole number; got {num_classes!r}.")
    check_lowering(lowering)
    dtype = lookup({"float32": jnp.float32, "bfloat16": jnp.bfloat16}, dtype, "dtype")
    preset = lookup(MODELS, name, "model") if name else {}
    backbone = _merged(preset.get("backbone", {}), backbone or {})
    neck = {**preset.get("neck", {}), **(neck or {})}
    head = {"name": "pool", **preset.get("head", {}), **(head or {})}

    conv = functools.partial(Conv, dtype=dtype, lowering=lowering)
    norm_type = lookup(NORMS, norm, "norm")
    norm = functools.partial(
        norm_type,
        norm_groups=norm_groups,
        group_size=norm_group_size,
        frozen_pattern=check_pattern(norm_frozen, "norm_frozen"),
        dtype=dtype,
    )
    given = {"conv": conv, "norm": norm, "num_classes": num_classes}
    return Recognizer(
        backbone=_backbone(backbone, conv, norm, dtype, remat_lib.check(remat)),
        head=_part("head", head, HEADS, **given),
        neck=_part("neck", neck, NECKS, **given) if neck else None,
        stream=_stream(stream or preset.get("stream", "video")),
    )


def create_model(name_or_config: str | Mapping[str, Any], num_classes: int, **overrides):
    """`create`, by the name of a preset or by a mapping of its keyword arguments.

    Args:
      name_or_config: a row of `MODELS`, or arguments of `create`.
      num_classes: K; a mapping may say it too, if it says the same.
      **overrides: arguments of `create`; they win over those of the mapping.

    Raises:
      InputError: as `create`, and if a mapping's `num_classes` is another number.
    """
    if isinstance(name_or_config, str):
        name_or_config = {"name": name_or_config}
    config = {**name_or_config, **overrides}
    told = config.pop("num_classes", num_classes)
    if told != num_classes:
        raise InputError(
            f"The model's mapping says num_classes={told!r} and the call num_classes="
            f"{num_classes!r}; give the same number or leave it out of the mapping."
        )
    check_keys("model", config, create)
    return create(num_classes, **config)


def fuse(
    model_arguments: Mapping[str, Any], variables: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model for inference with each asymmetric block made one convolution: the same scores.

    `acb3d` becomes `3x3x3` and `acb2d` `plain`, wherever the backbone has them (arXiv 1908.03930,
    section 3.3). In training the two differ: the fused norms only add a bias.

    Args:
      model_arguments: of `create`; `num_classes` is left as it is.
      variables: `params` and `batch_stats`.

    Returns:
      Arguments and variables of the fused model.

    Raises:
      InputError: the model has no asymmetric blocks, or the variables are of another one.
    """
    built = {k: v for k, v in model_arguments.items() if k != "num_classes"}
    pathways = create_model(built, num_classes=1).backbone.pathways()
    preset = MODELS[built["name"]] if built.get("name") else {}
    given = built.get("backbone") or {}
    changed = fusing.arguments({**preset.get("backbone", {}), **given})
    if not changed:
        found = [repr(slots.name_of(network.conv_b)) for network in pathways.values()]
        raise InputError(
            "The model has nothing to fuse: backbone.conv_b is "
            f"{found[0] if found else 'no field of it'}; it can be "
            f"{' or '.join(fusing.FUSED)}."
        )
    own = {c: variables[c]["backbone"] for c in ("params", "batch_stats")}
    parts = fusing.leaves(pathways, own)
    fused = {c: {**variables[c], "backbone": part} for c, part in parts.items()}
    return {**model_arguments, "backbone": {**given, **changed}}, {**variables, **fused}


def list_models(pattern: str = "*") -> list[str]:
    """Names of presets that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def describe(model: Recognizer, clip_shape: ClipShapes) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of what a model computes from `clip_shape [B,T,H,W,C]`; nothing is run."""

    def run(clips):
        return model.init_with_output(jax.random.key(0), clips, train=False)[0]

    outputs = jax.eval_shape(run, trees.clips_like(clip_shape))
    rows = [(name, x.shape) for name, x in outputs["features"].items()]
    rows += [(f"aux_logits_{i}", x.shape) for i, x in enumerate(outputs.get("aux_logits", ()))]
    return [*rows, ("logits", outputs["logits"].shape)]


def _merged(preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's fields, those of nested backbones one by one."""
    nested = {
        name: {**preset.get(name, {}), **given[name]}
        for name in two_stream.STREAMS
        if isinstance(given.get(name), Mapping)
    }
    return {**preset, **given, **nested}


def _stream(name: str) -> str:
    if name not in STREAMS:
        raise InputError(f"model.stream must be one of {', '.join(STREAMS)}; got {name!r}.")
    return name


def _backbone(config: Mapping[str, Any], *factories) -> nn.Module:
    if "variant" not in config:
        raise InputError(
            "A model needs a name (see tempo.list_models()) or backbone.variant, one of "
            f"{', '.join(sorted([*BACKBONES, *_NESTED]))}."
        )
    config = dict(config)
    if config["variant"] in _NESTED:
        whole = _NESTED[config.pop("variant")]
        check_keys("backbone", config, whole)
        parts = {name: config.get(name, {}) for name in two_stream.STREAMS}
        return whole(**{name: _backbone(part, *factories) for name, part in parts.items()})
    module, row = lookup(BACKBONES, config.pop("variant"), "backbone variant")
    factory = functools.partial(module, *factories)
    check_keys("backbone", config, factory)
    return factory(**{**row, **config})


def _part(where: str, config: dict[str, Any], table, **given) -> nn.Module:
    """A neck or head; it gets those of `given` that are its first fields, no keys of a config."""
    config = dict(config)
    if "name" not in config:
        raise InputError(f"{where} needs a name, one of {', '.join(sorted(table))}.")
    row = lookup(table, config.pop("name"), where)
    own = [given[field] for field in inspect.signature(row).parameters if field in given]
    factory = functools.partial(row, *own)
    check_keys(where, config, factory)
    return factory(**config)
