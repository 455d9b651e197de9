"""Which network an imported set of arrays is: read from names and shapes, under our leaf names."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tempo import models
from tempo.convert import rules
from tempo.convert.source import Source
from tempo.errors import InputError, check_keys, lookup
from tempo.models import resnet, slowfast
from tempo.models.blocks import BLOCKS

DEPTH_NAMES = {
    ("basic", (2, 2, 2, 2)): "ResNet-18",
    ("basic", (3, 4, 6, 3)): "ResNet-34",
    ("bottleneck", (3, 4, 6, 3)): "ResNet-50",
    ("bottleneck", (3, 4, 23, 3)): "ResNet-101",
    ("bottleneck", (3, 8, 36, 3)): "ResNet-152",
}
_LEVELS = {2: "res45", 3: "res345", 4: "res2345"}
_FLAT = ((1,), (1,), (1,), (1,))
# Extent of SlowFast's lateral convolutions -> frames of the clip per frame of the slow path:
# the public models have 5 in 4x16 and 7 in 8x8.
_SLOW_STRIDES = {5: 8, 7: 4}
_TOLD_BY_NAME = ("slow_stride", "fast_stride", "slow_index")


@dataclasses.dataclass(frozen=True)
class Trunk:
    """A residual network, as its arrays show it.

    Attributes:
      block: a name of `blocks.BLOCKS`.
      depths: blocks per stage.
      width: channels of the stem.
      kernels_t: per stage, frames that each block's inflated convolution sees, the shortest
        pattern that repeats.
      stem_kernel_t: of the stem.
    """

    block: str
    depths: tuple[int, ...]
    width: int
    kernels_t: tuple[tuple[int, ...], ...]
    stem_kernel_t: int

    @property
    def is_flat(self) -> bool:
        """Whether nothing in it sees more than a frame."""
        return self.kernels_t == _FLAT and self.stem_kernel_t == 1

    def __str__(self):
        name = DEPTH_NAMES.get((self.block, self.depths), f"a ResNet of {self.block} blocks")
        blocks = ", ".join(map(str, self.depths))
        width = "" if self.width == 64 else f", width {self.width}"
        return f"{name} ({blocks} blocks{width})"


@dataclasses.dataclass(frozen=True)
class Network:
    """A recognised network: arguments of `models.create`, without a preset's name.

    Attributes:
      backbone: `variant` and fields.
      neck: `name` and fields; empty for none.
      num_classes: K; 0 if the arrays hold no classifier.
      trunk: of the backbone (the slow pathway of two).
      assumed: what the arrays do not tell, in words.
    """

    backbone: Mapping[str, Any]
    neck: Mapping[str, Any]
    num_classes: int
    trunk: Trunk
    assumed: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """A name of `Source.defaults`."""
        if self.backbone["variant"] in slowfast.VARIANTS:
            return "slowfast"
        return "segments" if self.trunk.is_flat else "dense"

    def model(self) -> dict[str, Any]:
        """Arguments of `models.create`, by a preset's name where one fits."""
        found = {}
        for name, row in models.MODELS.items():
            backbone, neck = row["backbone"], row.get("neck", {})
            fits = (
                backbone.items() <= self.backbone.items()
                and backbone.get("temporal") == self.backbone.get("temporal")
                and neck.get("name") == self.neck.get("name")
                and not {"depths", "width"} & self.backbone.keys()
            )
            if fits and len(backbone) >= len(found.get("row", ())):
                found = {"name": name, "row": backbone}
        said = {k: v for k, v in self.backbone.items() if k not in found.get("row", ())}
        out = {"name": found["name"]} if found else {}
        out |= {"backbone": said} if said else {}
        neck = {k: v for k, v in self.neck.items() if not found or k != "name"}
        return out | ({"neck": neck} if neck else {})


def network(mapped: rules.Mapped, source: Source) -> Network:
    """What the arrays are.

    Raises:
      InputError: they are no residual network, or one that `tempo.models` does not know.
    """
    shapes = {name: value.shape for name, value in mapped.leaves.items()}
    num_classes = shapes.get(rules.FC, (0, 0))[1]
    if "params/backbone/slow/stem_conv/kernel" in shapes:
        return _two_paths(shapes, num_classes)
    if "params/backbone/stem_conv/kernel" not in shapes:
        keys = ", ".join([*mapped.sources.values(), *mapped.unmapped][:3])
        raise InputError(
            f"The file holds no network of {source.about}: its keys begin with {keys or 'none'}; "
            "check --source."
        )
    trunk = trunk_of(shapes, "params/backbone/")
    backbone, assumed = _backbone(trunk), []
    backbone |= _shift(mapped, trunk)
    if trunk.is_flat and source.flat_backbone:
        backbone |= source.flat_backbone
        said = ", ".join(f"{k}={v}" for k, v in source.flat_backbone.items())
        assumed.append(f"{said} (--model), as the 2-D networks of {source.about} have")
    neck = _neck(shapes, trunk)
    if neck:
        of_depth = {} if trunk.is_flat else source.dense_neck_by_depths.get(trunk.depths, {})
        neck |= {**source.neck, **of_depth}
        assumed += [
            f"{k}={neck[k]} (--{k}), as the necks of {source.about} have"
            for k in ("flow", "alphas")
            if k in neck
        ]
    return Network(backbone, neck, num_classes, trunk, tuple(assumed))


def _two_paths(shapes: Mapping[str, tuple[int, ...]], num_classes: int) -> Network:
    """SlowFast: what differs from the rows and defaults of `tempo.models.slowfast`."""
    slow, fast = (trunk_of(shapes, f"params/backbone/{path}/") for path in ("slow", "fast"))
    kernel_t = shapes.get("params/backbone/lateral_0/conv/kernel", (0,))[0]
    if kernel_t not in _SLOW_STRIDES:
        raise InputError(
            f"The weights' lateral convolutions reach over {kernel_t} frames; known are 5 (4x16) "
            "and 7 (8x8)."
        )
    names = {row["depths"]: variant for variant, row in slowfast.VARIANTS.items()}
    backbone: dict[str, Any] = {
        "variant": names.get(slow.depths, "slowfast_r50"),
        "fusion_kernel": kernel_t,
        "slow_stride": _SLOW_STRIDES[kernel_t],
        "lateral_norm": "params/backbone/lateral_0/norm/scale" in shapes,
    }
    fields = {
        "depths": (slow.depths, slowfast.VARIANTS[backbone["variant"]]["depths"]),
        "width": (slow.width, 64),
        "channel_ratio": (slow.width // fast.width, 8),
        "slow_kernels_t": (_expanded(slow), _expanded(slow, (1, 1, 3, 3))),
        "fast_kernels_t": (_expanded(fast), _expanded(fast, (3, 3, 3, 3))),
        "slow_stem_kernel_t": (slow.stem_kernel_t, 1),
        "fast_stem_kernel_t": (fast.stem_kernel_t, 5),
        "fast": ({"depths": fast.depths}, {"depths": slow.depths}),
    }
    backbone |= {name: value for name, (value, default) in fields.items() if value != default}
    speed = "4x16" if kernel_t == 5 else "8x8"
    assumed = (f"{speed} (--model), which has lateral convolutions of {kernel_t} frames",)
    return Network(backbone, {}, num_classes, slow, assumed)


def _expanded(trunk: Trunk, kernels_t: Sequence[int] | None = None) -> tuple[tuple[int, ...], ...]:
    patterns = [(k,) for k in kernels_t] if kernels_t else trunk.kernels_t
    return tuple(
        tuple(p[i % len(p)] for i in range(n)) for p, n in zip(patterns, trunk.depths, strict=True)
    )


def trunk_of(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> Trunk:
    """The residual network whose leaves begin with `prefix`.

    Raises:
      InputError: a stage, or a block within one, is missing.
    """
    blocks: dict[int, dict[int, int]] = {1: {}, 2: {}, 3: {}, 4: {}}
    basic = True
    pattern = re.compile(re.escape(prefix) + r"stage([1-4])_block(\d+)/conv(\d)/kernel")
    for name, shape in shapes.items():
        match = pattern.fullmatch(name)
        if match:
            stage, block, n = map(int, match.groups())
            blocks[stage][block] = max(blocks[stage].get(block, 1), shape[0])
            basic &= n < 3
    for stage, found in blocks.items():
        if not found or sorted(found) != list(range(1, len(found) + 1)):
            last = f", although the last one is number {max(found)}" if found else ""
            raise InputError(
                f"The weights are cut: stage {stage} of the residual network has "
                f"{len(found) or 'no'} blocks{last}."
            )
    stem = shapes[f"{prefix}stem_conv/kernel"]
    return Trunk(
        block="basic" if basic else "bottleneck",
        depths=tuple(len(found) for found in blocks.values()),
        width=stem[-1],
        kernels_t=tuple(_pattern([f[i] for i in sorted(f)]) for f in blocks.values()),
        stem_kernel_t=stem[0],
    )


def agreed(asked: Mapping[str, Any], found: Network, source: Source) -> Network:
    """The network of the weights as the user describes it, where the weights leave a choice.

    Args:
      asked: arguments of `models.create`.
      found: of the weights.
      source: of the weights.

    Raises:
      InputError: the two differ in what the weights tell; the message says what they are.
    """
    told, neck = parts(asked)
    what = asked.get("name") or "--model"
    check_trunk(asked, found)
    if (told["variant"] in slowfast.VARIANTS) != (found.family == "slowfast"):
        have = "two pathways" if found.family == "slowfast" else "one pathway"
        raise InputError(f"{what} does not fit weights of {have}{_or(found)}")
    trunk = _trunk(told)
    if (trunk.kernels_t, trunk.stem_kernel_t) != (found.trunk.kernels_t, found.trunk.stem_kernel_t):
        raise InputError(
            f"{what} sees {_frames(trunk)} per stage, the weights' convolutions "
            f"{_frames(found.trunk)}{_or(found)}"
        )
    if bool(neck) != bool(found.neck):
        having = "a neck" if found.neck else "no neck"
        raise InputError(
            f"{what} has {'a' if neck else 'no'} neck, but the weights have {having}{_or(found)}"
        )
    backbone = dict(found.backbone)
    if told.get("temporal", "none") != backbone.get("temporal", "none"):
        if not source.flat_backbone:
            has = "have a" if "temporal" in backbone else "have no"
            raise InputError(f"{what} does not fit: the weights {has} temporal shift{_or(found)}")
        backbone = {k: v for k, v in backbone.items() if k not in source.flat_backbone}
    backbone |= {k: v for k, v in told.items() if k in _TOLD_BY_NAME}
    backbone |= asked.get("backbone", {})
    open_still = tuple(text for text in found.assumed if "(--model)" not in text)
    neck = {**found.neck, **asked.get("neck", {})}
    return dataclasses.replace(found, backbone=backbone, neck=neck, assumed=open_still)


def described(asked: Mapping[str, Any], found: Network) -> Network:
    """The network that the user describes, of which the weights found are the trunk.

    Raises:
      InputError: its residual network has other blocks or widths.
    """
    backbone, neck = parts(asked)
    check_trunk(asked, found)
    return dataclasses.replace(found, backbone=backbone, neck=neck, trunk=_trunk(backbone))


def check_trunk(asked: Mapping[str, Any], found: Network) -> None:
    """Raises `InputError` if a model's residual network has other blocks or widths than `found`."""
    told = _trunk(parts(asked)[0])
    want, have = ((t.block, t.depths, t.width) for t in (told, found.trunk))
    if want != have:
        what = asked.get("name") or "--model"
        raise InputError(f"{what} is {told}, but the weights are of {found.trunk}{_or(found)}")


def parts(model: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Backbone (with its variant) and neck of arguments of `models.create`, presets looked up.

    Raises:
      InputError: they make no model.
    """
    check_keys("model", model, models.create)
    try:
        name = model.get("name")
        preset = lookup(models.MODELS, name, "model (--model)") if name else {}
        backbone = {**preset.get("backbone", {}), **model.get("backbone", {})}
        if "variant" not in backbone:
            raise InputError("--model needs a name or backbone.variant; see tempo.list_models().")
        models.create(1, **model)
        _trunk(backbone)
        return backbone, {**preset.get("neck", {}), **model.get("neck", {})}
    except TypeError as error:  # JSON may hold a number where fields are due
        raise InputError(
            f"--model {dict(model)} makes no model ({error}): give arguments of tempo.create_model."
        ) from None


def _trunk(backbone: Mapping[str, Any]) -> Trunk:
    row = {**lookup(models.BACKBONES, backbone["variant"], "backbone variant")[1], **backbone}
    two = backbone["variant"] in slowfast.VARIANTS
    kernels = row.get("slow_kernels_t", (1, 1, 3, 3)) if two else row.get("kernels_t", (1,) * 4)
    depths = tuple(row.get("depths", resnet.R34_50))
    patterns = [(k,) if isinstance(k, int) else tuple(k) for k in kernels]
    return Trunk(
        block=row.get("block", "bottleneck"),
        depths=depths,
        width=row.get("width", 64),
        kernels_t=tuple(
            _pattern([p[i % len(p)] for i in range(n)])
            for p, n in zip(patterns, depths, strict=True)
        ),
        stem_kernel_t=row.get("slow_stem_kernel_t" if two else "stem_kernel_t", 1),
    )


def _pattern(kernels: list[int]) -> tuple[int, ...]:
    """The shortest pattern that repeats to `kernels`."""
    for n in range(1, len(kernels) + 1):
        if all(k == kernels[i % n] for i, k in enumerate(kernels)):
            return tuple(kernels[:n])
    return tuple(kernels)


def _backbone(trunk: Trunk) -> dict[str, Any]:
    """The variant of the same blocks, with the depths and the width that differ from its row."""
    rows = {
        variant: _trunk({"variant": variant, "depths": trunk.depths}) for variant in resnet.VARIANTS
    }
    same = [
        variant
        for variant, row in rows.items()
        if dataclasses.replace(row, width=trunk.width) == trunk
    ]
    if not same:
        raise InputError(
            f"The weights are of {trunk} whose convolutions see {_frames(trunk)} per stage; no "
            "backbone is like that."
        )
    exact = [v for v in same if tuple(resnet.VARIANTS[v]["depths"]) == trunk.depths]
    backbone = {"variant": (exact or same)[0]}
    if not exact:
        backbone["depths"] = trunk.depths
    return backbone if trunk.width == 64 else {**backbone, "width": trunk.width}


def _shift(mapped: rules.Mapped, trunk: Trunk) -> dict[str, Any]:
    """The temporal shift, told by the rows that named the blocks' first convolutions."""
    shifted = {
        (int(m[1]), int(m[2]) - 1)
        for leaf, kind in mapped.kinds.items()
        if kind == "shifted_conv" and (m := re.search(r"stage(\d)_block(\d+)/", leaf))
    }
    if not shifted:
        return {}
    for every in (1, 2):
        blocks = {(s + 1, b) for s, n in enumerate(trunk.depths) for b in range(0, n, every)}
        if shifted == blocks:
            return {"temporal": "tsm"} | ({} if every == 1 else {"shift_every": every})
    raise InputError(
        f"The weights shift {len(shifted)} of {sum(trunk.depths)} blocks, which is neither every "
        "block nor every second one."
    )


def _neck(shapes: Mapping[str, tuple[int, ...]], trunk: Trunk) -> dict[str, Any]:
    levels = [n for n in shapes if re.fullmatch(r"params/neck/temporal_mod_\d+/kernel", n)]
    if not levels:
        return {}
    if len(levels) not in _LEVELS:
        raise InputError(f"The weights' neck has {len(levels)} levels; it can have 2, 3 or 4.")
    neck: dict[str, Any] = {"name": "tpn"}
    if len(levels) > 2:
        neck["source"] = _LEVELS[len(levels)]
    top = trunk.width * 8 * BLOCKS[trunk.block][-1].expansion
    groups = top // shapes[levels[0]][-2]
    if groups != 32:
        neck["groups"] = groups
    if shapes[levels[0]][-1] != top // 2:
        neck["features"] = shapes[levels[0]][-1]
    if not any(n.startswith("params/neck/aux_head_") for n in shapes):
        neck["aux_levels"] = "none"
    return neck


def _frames(trunk: Trunk) -> str:
    patterns = [p[0] if len(p) == 1 else p for p in trunk.kernels_t]
    stem = "" if trunk.stem_kernel_t == 1 else f" (stem {trunk.stem_kernel_t})"
    return f"{tuple(patterns)} frames{stem}"


def _or(found: Network) -> str:
    name = found.model().get("name")
    return f"; use --model {name} or leave --model out." if name else "; leave --model out."
