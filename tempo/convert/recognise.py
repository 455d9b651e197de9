"""Which network an imported set of arrays is: read from names and shapes, under our leaf names."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from tempo import models
from tempo.convert import rules, trunk
from tempo.convert.facts import FACTS
from tempo.convert.source import Guess, Source
from tempo.convert.trunk import Trunk
from tempo.errors import InputError
from tempo.models import blocks

_LEVELS = {2: "res45", 3: "res345", 4: "res2345"}


def _sees(kernel_t: int, slow_stride: int) -> Guess:
    return Guess(
        when=lambda network: network.fields.get("fusion_kernel") == kernel_t,
        fields={"slow_stride": slow_stride},
        about=f"public networks whose lateral convolutions see {kernel_t} frames have",
    )


# 4x16 and 8x8; for sources that do not say it themselves.
_GUESSES = (_sees(5, 8), _sees(7, 4))

OF_TRUNKS = FACTS.keys() | {
    "channel_ratio", "slow_kernels_t", "fast_kernels_t", "slow_stem_kernel_t", "fast_stem_kernel_t",
}  # fmt: skip
"""Fields of backbones that only say what their trunks are."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A recognised network.

    Attributes:
      told: its residual network by "", or those of two pathways by `slow` and `fast`.
      fields: further fields of the backbone.
      neck: `name` and fields; empty for none.
      num_classes: K; 0 if the arrays hold no classifier.
      head: fields.
      clip: fields of `tempo.types.ClipSpec` that it is trained with.
      guesses: what no array tells; `fields` win over them.
      defaults: fields of the backbone; all else wins over them.
      size_px, view: of training crops, and over the source's views; see `source.Protocol`.
      assumed: in words, what no array tells.
    """

    told: Mapping[str, Trunk]
    fields: Mapping[str, Any]
    neck: Mapping[str, Any]
    num_classes: int
    head: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    clip: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    guesses: tuple[Guess, ...] = ()
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    size_px: int = 224
    view: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def trunks(self) -> dict[str, Trunk]:
        """As `told`, with what is guessed of them."""
        said = {k: v for guess in self.guesses for k, v in guess.fields.items()}
        return {path: found.having(said) for path, found in self.told.items()}

    @property
    def trunk(self) -> Trunk:
        """The residual network (the slow pathway of two)."""
        return next(iter(self.trunks.values()))

    @property
    def all_fields(self) -> dict[str, Any]:
        """`fields`, and those that are guessed or the default."""
        out = dict(self.defaults)
        for guess in self.guesses:
            out |= {k: v for k, v in guess.fields.items() if k not in OF_TRUNKS}
        return out | dict(self.fields)

    @property
    def family(self) -> str:
        """A name of `Source.defaults`."""
        if len(self.told) > 1:
            return "slowfast"
        return "segments" if self.trunk.is_flat else "dense"

    def model(self) -> dict[str, Any]:
        """Arguments of `models.create`: of the preset that needs least else, or of a variant."""
        neck = dict(self.neck)
        presets = {
            name: row["backbone"]
            for name, row in models.MODELS.items()
            if row.get("neck", {}).get("name") == neck.get("name")
            and row.get("head", {}) == self.head
        }
        needs = {name: self._differences(backbone) for name, backbone in presets.items()}
        fits = {name: need[0] for name, need in needs.items() if need and not need[1]}
        out: dict[str, Any] = {}
        head = dict(self.head)
        if fits:
            out["name"] = min(fits, key=lambda name: len(fits[name]))
            backbone = fits[out["name"]]
            neck.pop("name", None)
            head = {}
        else:
            needs = {name: self._differences({"variant": name}) for name in models.BACKBONES}
            both = {name: _merged(*need) for name, need in needs.items() if need}
            variant = min(both, key=lambda name: len(both[name]))
            backbone = {"variant": variant, **both[variant]}
        parts = {"backbone": backbone, "neck": neck, "head": head}
        return out | {name: part for name, part in parts.items() if part}

    def _differences(self, config: Mapping[str, Any]) -> tuple[dict, dict] | None:
        """(fields, fields of the trunks) that a backbone lacks; None of another kind."""
        made = models.create(1, backbone=config).backbone
        theirs = trunks_of(made)
        if theirs.keys() != self.told.keys():
            return None
        fields = self.all_fields
        fields = {k: v for k, v in fields.items() if _plain(getattr(made, k)) != _plain(v)}
        return fields, trunk.differing(self.trunks, theirs)


def trunks_of(backbone: nn.Module) -> dict[str, Trunk]:
    """The residual networks of a backbone, as `Network.trunks`."""
    return {path: trunk.of_fields(network) for path, network in backbone.pathways().items()}


def _plain(value: Any) -> Any:
    """Tuples for lists and dicts for mappings of any kind."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _merged(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Both, and both of what is a mapping in both."""
    both = {k: {**a[k], **b[k]} for k in a.keys() & b.keys() if isinstance(a[k], Mapping)}
    return {**a, **b, **both}


def network(
    mapped: rules.Mapped, source: Source, defaults: Mapping[str, Any] | None = None
) -> Network:
    """What the arrays are.

    Args:
      mapped: the arrays.
      source: of them.
      defaults: fields of the backbone, see `Network`.

    Raises:
      InputError: they are no residual network, or one that is cut.
    """
    shapes = {name: value.shape for name, value in mapped.leaves.items()}
    prefixes = {"slow": "params/backbone/slow/", "fast": "params/backbone/fast/"}
    if f"{prefixes['slow']}stem_conv/kernel" not in shapes:
        prefixes = {"": "params/backbone/"}
    if not all(f"{prefix}stem_conv/kernel" in shapes for prefix in prefixes.values()):
        keys = ", ".join([*mapped.sources.values(), *mapped.unmapped][:3])
        raise InputError(
            f"The file holds no network of {source.about}: its keys begin with {keys or 'none'}; "
            "check --source."
        )
    trunks = {
        path: trunk.of_leaves(shapes, prefix, mapped.kinds) for path, prefix in prefixes.items()
    }
    neck = _neck(shapes, trunks[""]) if "" in trunks else {}
    num_classes = shapes.get(rules.FC, (0, 0))[1]
    has_bias = not num_classes or rules.FC.replace("kernel", "bias") in shapes
    found = Network(
        told=trunks,
        fields=_laterals(shapes),
        neck=neck,
        num_classes=num_classes,
        head={} if has_bias else {"use_bias": False},
        # Clips for public networks hold the frames of the fast pathway and no others.
        defaults={**({"fast_stride": 1} if len(trunks) > 1 else {}), **(defaults or {})},
    )
    found = _guessed(found, source)
    clip = {k: v for guess in found.guesses for k, v in guess.clip.items()}
    if found.trunk.num_frames:
        clip["num_frames"] = found.trunk.num_frames
    assumed = [
        f"{', '.join(f'{k}={v}' for k, v in said.items())} ({flags}), as {guess.about}"
        for guess in found.guesses
        for said, flags in ((guess.fields, "--model"), (guess.clip, "--frames, --stride"))
        if said
    ]
    if neck:
        of_depth = source.dense_neck_by_depths.get(found.trunk["depths"], {})
        neck |= {**source.neck, **({} if found.trunk.is_flat else of_depth)}
        assumed += [
            f"{k}={neck[k]} (--{k}), as the necks of {source.about} have"
            for k in ("flow", "alphas")
            if k in neck
        ]
    return dataclasses.replace(found, clip=clip, assumed=tuple(assumed))


def _guessed(found: Network, source: Source) -> Network:
    for guess in (*source.guesses, *_GUESSES):
        known = {k for g in found.guesses for k in g.fields}
        if guess.when(found) and not known & guess.fields.keys():
            found = dataclasses.replace(found, guesses=(*found.guesses, guess))
    if len(found.told) > 1 and "slow_stride" not in found.all_fields:
        raise InputError(
            f"The weights' lateral convolutions reach over {found.fields['fusion_kernel']} frames; "
            "known are 5 (4x16) and 7 (8x8)."
        )
    return found


def _laterals(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Fields of SlowFast; empty of one pathway."""
    kernel = shapes.get("params/backbone/lateral_0/conv/kernel")
    normed = "params/backbone/lateral_0/norm/scale" in shapes
    return {"fusion_kernel": kernel[0], "lateral_norm": normed} if kernel else {}


def _neck(shapes: Mapping[str, tuple[int, ...]], found: Trunk) -> dict[str, Any]:
    """What the arrays tell of a neck; empty if they have none."""
    levels = [n for n in shapes if re.fullmatch(r"params/neck/temporal_mod_\d+/kernel", n)]
    if not levels:
        return {}
    if len(levels) not in _LEVELS:
        raise InputError(f"The weights' neck has {len(levels)} levels; it can have 2, 3 or 4.")
    neck: dict[str, Any] = {"name": "tpn"}
    if len(levels) > 2:
        neck["source"] = _LEVELS[len(levels)]
    top = found["width"] * 8 * blocks.BLOCKS[found["block"]][-1].expansion
    groups = top // shapes[levels[0]][-2]
    if groups != 32:
        neck["groups"] = groups
    if shapes[levels[0]][-1] != top // 2:
        neck["features"] = shapes[levels[0]][-1]
    if not any(n.startswith("params/neck/aux_head_") for n in shapes):
        neck["aux_levels"] = "none"
    return neck
