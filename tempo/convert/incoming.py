"""A public checkpoint becomes one of ours: read, named, recognised, compared, written."""

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from tempo import files, models, protocols, trees
from tempo.convert import asked as asked_model
from tempo.convert import (
    bninception,
    caffe,
    comparison,
    families,
    inflate,
    mmaction2,
    mtnet_release,
    pyslowfast,
    pytorchvideo,
    recognise,
    rules,
    tensor_files,
    torchvision,
    tpn_release,
    tsm_release,
)
from tempo.convert.source import Layout, Source, swapped
from tempo.errors import InputError, check_keys, lookup
from tempo.models import tracing
from tempo.types import ClipSpec, ViewSpec

SOURCES: dict[str, Source] = {
    "bninception": bninception.SOURCE,
    "caffe": caffe.SOURCE,
    "torchvision": torchvision.SOURCE,
    "mmaction2": mmaction2.SOURCE,
    "mtnet_release": mtnet_release.SOURCE,
    "pytorchvideo": pytorchvideo.SOURCE,
    "pyslowfast": pyslowfast.SOURCE,
    "tpn_release": tpn_release.SOURCE,
    "tsm_release": tsm_release.SOURCE,
}
"""Public sources by name."""

NUM_UNKNOWN = 400
"""Classes of a model whose weights hold no classifier, if nothing says how many: Kinetics-400's."""

_NEW_PARTS = r"^(params|batch_stats)/(neck|head)/"
_CLASSIFIER = rules.FC.removesuffix("kernel")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the weights do not tell; what is not given has the source's defaults.

    Attributes:
      mean, std: of the normalisation, per channel of values 0-255.
      clip: fields of `tempo.types.ClipSpec`.
      view: fields of `tempo.types.ViewSpec`.
      size_px: side of training crops; None is that of the network's source.

    Raises:
      InputError: a side below 1, a mean that is not finite, or a std that is not above 0.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    clip: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    view: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    size_px: int | None = None

    def __post_init__(self):
        sides = {"size_px (--size)": 1 if self.size_px is None else self.size_px}
        sides["size_px of views (--crop-size)"] = self.view.get("size_px", 1)
        sides["short_side_px (--short-side)"] = self.view.get("short_side_px", 1)
        for name, side in sides.items():
            if side < 1:
                raise InputError(f"{name} is a number of pixels, at least 1; got {side}.")
        for name, values, above in (("mean", self.mean, -math.inf), ("std", self.std, 0)):
            if values is not None and (
                len(values) != 3 or not all(above < v < math.inf for v in values)
            ):
                limit = " above 0" if above == 0 else ""
                raise InputError(
                    f"--{name} is three finite numbers{limit}; got {', '.join(map(str, values))}."
                )


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A checkpoint that fits, or the table that shows why it does not.

    Attributes:
      comparison: of the file with the model.
      variables: `{"params", "batch_stats"}`; empty if it does not fit.
      info: what is written beside them.
      notes: what was assumed and what of the file was not read, in words.
    """

    comparison: comparison.Comparison
    variables: Mapping[str, Any]
    info: Mapping[str, Any]
    notes: tuple[str, ...]


def read(
    source: str,
    path: str,
    *,
    model: str | Mapping[str, Any] | None = None,
    neck: Mapping[str, Any] | None = None,
    partial: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    inflation: str = "repeat",
    settings: Settings | None = None,
    skip_unknown: bool = False,
    command: str = "",
) -> Conversion:
    """Reads a public checkpoint as variables of a model; nothing is written.

    Args:
      source: a name of `SOURCES`.
      path: the file, see `tensor_files.read`.
      model: a preset's name or arguments of `models.create`; None takes what the weights show. For
        weights of an image network, which video network they are to start.
      neck: fields of the neck that win over all else (`flow`, `alphas`).
      partial: patterns of keys and leaves that may be missing on either side.
      classes: names of the classes in order; None takes those in the file, if there are any.
      inflation: a row of `inflate.INFLATIONS`, for kernels of an image network.
      settings: preprocessing and protocol.
      skip_unknown: leave out objects in the file that are no tensors, see `tensor_files.read`.
      command: how this was called, for the record.

    Raises:
      InputError: anything of the above that cannot be used; the file is of another source, network
        or depth. What does not fit the model is told by `comparison.check`.
    """
    public = lookup(SOURCES, source, "source (--source)")
    lookup(inflate.INFLATIONS, inflation, "way to inflate (--inflate)")
    asked = {"name": model} if isinstance(model, str) else model
    file = tensor_files.read(path, skip_unknown=skip_unknown)
    layout, mapped = _named(file.tensors, public)
    found = _recognised(mapped, public, layout, asked)
    target, ignored, initial = found, {}, {}
    if public.is_image:
        target, ignored, initial = _image_target(asked, found)
    if neck:
        if not target.neck:
            raise InputError(f"{', '.join(f'--{k}' for k in neck)}: the model has no neck.")
        unsaid = tuple(a for a in target.assumed if not a.startswith(tuple(f"{k}=" for k in neck)))
        target = dataclasses.replace(target, neck={**target.neck, **neck}, assumed=unsaid)
    kept = 0 if _CLASSIFIER in ignored else found.num_classes
    names, num_classes = _classes(classes, file.meta, kept, path)
    settings = _over(target, settings or Settings())
    defaults = public.defaults_for(target.family, has_neck=bool(target.neck))
    further = {k: v for k, v in (asked or {}).items() if k not in ("name", "backbone", "neck")}
    config = {"model": target.model() | further}
    config |= _preprocessing(settings, public, {**defaults.clip, **target.clip}, defaults.views)
    clip_shape = _clip_shape(target, config, settings.size_px)
    made = models.create(num_classes, **config["model"])
    if layout.family and layout.family.window:  # on which no shape depends
        window = layout.family.window(made.backbone, config["clip"]["num_frames"], settings.size_px)
        config["model"]["head"] = {"window": window, **config["model"].get("head", {})}
    flat = trees.named(tracing.variable_shapes(num_classes, config["model"], clip_shape))
    mapped = _fitted(mapped, layout, flat, public, inflation)
    compared = comparison.compare(
        mapped,
        {name: s.shape for name, s in flat.items()},
        ignored={**public.ignored, **ignored},
        initial={**public.initial, **initial},
        partial=partial,
    )
    variables = _variables(made, mapped, compared, flat, clip_shape)
    info = {
        "config": config,
        "class_names": names,
        "num_classes": num_classes,
        "source": {
            "source": source,
            "model": config["model"].get("name", ""),
            "file": os.path.basename(path),
            "sha256": _sha256(path),
            "command": command,
            "initial": sorted(compared.initial_leaves),
        },
    }
    notes = [f"assumed: {text}" for text in (*target.assumed, *public.assumed)]
    if not kept and classes is None:
        notes.append(f"assumed: {num_classes} classes (--classes), for no classifier was taken")
    notes += [f"of the file, {text} was left out" for text in file.dropped]
    return Conversion(compared, variables, info, tuple(notes))


def read_classes(path: str) -> list[str]:
    """Names of classes: a JSON list, or one per line.

    Raises:
      InputError: no such file, or one that holds something else.
    """
    try:
        if path.endswith(".json"):
            names = files.read_json(path)
        else:
            with open(path, encoding="utf-8") as f:
                names = [line.strip() for line in f if line.strip()]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text or JSON"
        raise InputError(f"--classes {path}: {why}.") from None
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or not names:
        raise InputError(f"--classes {path} must be a JSON list of names, or one name per line.")
    return names


def _named(tensors: Mapping[str, np.ndarray], source: Source) -> tuple[Layout, rules.Mapped]:
    """How the source names the arrays of a file, and the arrays under our names."""
    arrays = rules.without_prefix(tensors, "module.")
    layout = source.layout(list(arrays))
    arrays = layout.unpack(arrays) if layout.unpack else arrays
    return layout, rules.to_leaves(arrays, layout.rows)


def _recognised(
    mapped: rules.Mapped, source: Source, layout: Layout, asked: Mapping[str, Any] | None
):
    """A `recognise.Network`, or a `families.Found`; what the user asks for is agreed to."""
    if layout.family:
        return families.network(mapped, source, layout.family, asked)
    found = recognise.network(mapped, source, layout.fields)
    return asked_model.agreed(asked, found) if asked and not source.is_image else found


def _over(target: Any, settings: Settings) -> Settings:
    """The settings, where they say nothing with those that the network is known to have."""
    size_px = target.size_px if settings.size_px is None else settings.size_px
    return dataclasses.replace(settings, size_px=size_px, view={**target.view, **settings.view})


def _image_target(asked: Mapping[str, Any] | None, found: recognise.Network | families.Found):
    """The video network that an image network's weights start, and what may differ.

    Returns (network, patterns of leaves that are left out, patterns of leaves that are new).
    """
    if not asked or isinstance(found, families.Found):
        return found, {}, {}
    target = asked_model.described(asked, found)
    if target.family == "slowfast":
        raise InputError(
            "Weights of an image network start networks of one pathway; --model names SlowFast, "
            "which has two: choose another model."
        )
    if target.trunk.is_flat and not target.neck:
        return target, {}, {}
    why = "the classifier of images; the video network has its own"
    return target, {_CLASSIFIER: why}, {_NEW_PARTS: "an image network has none"}


def _fitted(
    mapped: rules.Mapped,
    layout: Layout,
    expected: Mapping[str, Any],
    source: Source,
    inflation: str,
) -> rules.Mapped:
    """The arrays with their pathways in our order, and 2-D kernels as long as the model's."""
    leaves = dict(mapped.leaves)
    fast = leaves.get("params/backbone/fast/stage4_block1/conv_proj/kernel")
    if layout.is_fast_first and rules.FC in leaves and fast is not None:
        leaves[rules.FC] = swapped(leaves[rules.FC], fast.shape[-1])
    if source.is_image:
        for name, value in leaves.items():
            like = expected.get(name)
            if like is not None and value.ndim == 5 and value.shape[1:] == like.shape[1:]:
                leaves[name] = np.asarray(inflate.inflate_kernel(value, like.shape[0], inflation))
    return dataclasses.replace(mapped, leaves=leaves)


def _classes(
    given: Sequence[str] | None, meta: Mapping[str, Any], num_weights: int, path: str
) -> tuple[list[str], int]:
    """(names, K); K is that of the weights, if they hold a classifier."""
    if given is not None:
        if num_weights and len(given) != num_weights:
            raise InputError(
                f"--classes names {len(given)} classes, but the weights in {path} have "
                f"{num_weights}; give a list of {num_weights} names in the order of training."
            )
        return list(given), num_weights or len(given)
    told = meta.get("meta", meta)
    if isinstance(told, Mapping):
        # mmengine and, before it, mmcv.
        listed = told.get("dataset_meta")
        listed = listed.get("classes") if isinstance(listed, Mapping) else told.get("CLASSES")
        if isinstance(listed, list | tuple) and len(listed) == num_weights:
            names = [str(n) for n in listed if isinstance(n, str | int)]
            if len(names) == num_weights and all(n.isprintable() for n in names):
                return names, num_weights
    return [], num_weights or NUM_UNKNOWN


def _preprocessing(
    settings: Settings, source: Source, clip: Mapping[str, Any], views: str
) -> dict[str, Any]:
    """The sections of a config that say how video becomes the model's input."""
    clip = {**clip, **settings.clip}
    view = {**protocols.VIEW_SETS[views], **settings.view}
    check_keys("clip", clip, ClipSpec)
    stacked = ClipSpec(**clip).frames_per_segment
    ViewSpec(**view)
    mean, std = (getattr(settings, k) or getattr(source, k) for k in ("mean", "std"))
    if stacked > 1:  # the mean is in no difference
        op = {"name": "stack_differences", "frames_per_segment": stacked, "std": list(std)}
    else:
        op = {"name": "normalize", "mean": list(mean), "std": list(std)}
    return {
        "clip": clip,
        "input": {"size_px": settings.size_px, "device_ops": [op]},
        "eval": {"multi_view": view},
    }


def _clip_shape(target: Any, config: dict[str, Any], size_px: int) -> tuple[int, ...]:
    """`[T,H,W,C]` of what the network reads of a clip; one that reads flow gets its section too."""
    frames = config["clip"]["num_frames"]
    if not isinstance(target, families.Found) or target.stream == "video":
        return frames, size_px, size_px, getattr(target, "channels", 3)
    fields = {"num_snippets": frames, "num_fields": target.channels // 2}
    config["flow"] = {**fields, "stride_rule": "segments"}
    # Views have as many snippets as a network of frames would have frames: of TSN's 250 one each.
    for view in config["eval"].values():
        view.setdefault("num_snippets", view.get("num_frames", 0))
    return frames, size_px, size_px, target.channels


def _variables(made, mapped, compared, flat, clip_shape) -> dict[str, Any]:
    """The arrays as a nested tree, with initial values where the comparison says so."""
    leaves = {name: mapped.leaves[name] for name in compared.taken}
    new = compared.initial_leaves
    if new:

        @jax.jit  # of which only the initial values are computed, not the forward pass
        def init():
            values = trees.named(
                made.init(jax.random.key(0), jnp.zeros((1, *clip_shape)), train=False)
            )
            return {name: values[name] for name in new}

        leaves |= {name: np.asarray(value) for name, value in init().items()}
    if leaves.keys() != flat.keys():
        return {}
    return flax.traverse_util.unflatten_dict(leaves, sep="/")


def _sha256(path: str) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
