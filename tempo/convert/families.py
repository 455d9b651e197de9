"""Networks that are no ResNets: known as the fields of a backbone that their arrays tell."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from flax import linen as nn

from tempo import models
from tempo.convert import rules
from tempo.convert.source import Family, Source
from tempo.errors import InputError, check_keys
from tempo.models import presets


class Stem(NamedTuple):
    """What a stem of so many channels reads: a row of `tempo.types.STREAMS`, of such clips."""

    stream: str
    clip: Mapping[str, Any]
    about: str


STEMS: dict[int, Stem] = {
    3: Stem("video", {}, "frames"),
    15: Stem("video", {"frames_per_segment": 6}, "the five differences of six frames"),
    20: Stem("flow", {}, "ten fields of flow"),
}
"""By channels, as TSN has them (arXiv 1608.00859); of flow there may be others, if a user says so.
"""


@dataclasses.dataclass(frozen=True)
class Found:
    """A recognised network of a `Family`; `recognise.Network` is its like for ResNets.

    Attributes:
      kind: of networks.
      told: fields of the backbone that the arrays tell.
      guessed: further ones, that they do not.
      num_classes: K; 0 if the arrays hold no classifier.
      asked: arguments of `models.create` by the user; empty for none.
      head: fields of the head that the arrays tell.
      clip: fields of `tempo.types.ClipSpec` that it is trained with.
      size_px, view: of a `Protocol`.
      assumed: in words, what no array tells.
      channels: that the stem reads.
      stream: what that is, a row of `tempo.types.STREAMS`; of flow each field is two channels.
      neck: none.
    """

    kind: Family
    told: Mapping[str, Any]
    guessed: Mapping[str, Any]
    num_classes: int
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    head: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    size_px: int = 224
    view: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    clip: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    channels: int = 3
    stream: str = "video"
    neck: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def family(self) -> str:
        """Which of the source's `Defaults` are its."""
        return self.kind.defaults

    def model(self) -> dict[str, Any]:
        """Arguments of `models.create`: what the user says, or the preset that needs least else."""
        if self.asked:
            made = models.create(1, **self.asked).backbone
            own = {k: v for k, v in self.told.items() if k in self.kind.of_source}
            backbone = {**self.asked.get("backbone", {}), **_differing(made, own)}
            name = {"name": self.asked["name"]} if self.asked.get("name") else {}
            return name | ({"backbone": backbone} if backbone else {})
        name, *_ = self.presets()
        made = models.create(1, name=name)
        parts = {
            "backbone": _differing(made.backbone, {**self.guessed, **self.told}),
            "head": _differing(made.head, self.head),
        }
        return {"name": name} | {part: fields for part, fields in parts.items() if fields}

    def presets(self) -> list[str]:
        """The presets that need least else; the first is taken."""
        needs = {}
        rows = {name: models.MODELS[name] for name in self.kind.protocols or models.MODELS}
        for name, row in rows.items():
            kind, _ = models.BACKBONES.get(row["backbone"]["variant"], (None, {}))
            is_fed = row.get("stream", "video") == self.stream and _reads(name, self)
            if kind is self.kind.backbone and "neck" not in row and is_fed:
                made = models.create(1, name=name).backbone
                needs[name] = len(_differing(made, {**self.guessed, **self.told}))
        return [name for name, number in needs.items() if number == min(needs.values())]

    def fed(self) -> "Found":
        """With what the preset is trained and tested on, and which others there are."""
        names = self.presets()
        backbone = {"variant": "", **self.asked.get("backbone", {})}
        name = (self.asked.get("name") or backbone["variant"]) if self.asked else names[0]
        if name not in self.kind.protocols:
            return self
        protocol = self.kind.protocols[name]
        clip, assumed = {**self.clip, **protocol.clip}, self.assumed
        if not self.asked and len(names) > 1:
            said = ", ".join(f"{k}={v}" for k, v in protocol.clip.items())
            text = f"{name}, with {said}, size_px={protocol.size_px} (--model)"
            if "backbone" not in self.model():
                others = " and ".join(names[1:])
                text += f"; the arrays are those of {others} too: give --model for these"
            assumed = (*assumed, text)
        return dataclasses.replace(
            self, clip=clip, size_px=protocol.size_px, view=protocol.view, assumed=assumed
        )


def network(
    mapped: rules.Mapped, source: Source, kind: Family, asked: Mapping[str, Any] | None = None
) -> Found:
    """What the arrays are.

    Args:
      mapped: the arrays.
      source: of them.
      kind: of network that they are said to be.
      asked: arguments of `models.create` by the user, if any.

    Raises:
      InputError: they are no such network, one that is cut, or not the one that is asked for.
    """
    shapes = {name: tuple(value.shape) for name, value in mapped.leaves.items()}
    if "params/backbone/stem_conv/kernel" not in shapes:
        keys = ", ".join([*mapped.sources.values(), *mapped.unmapped][:3])
        raise InputError(
            f"The file holds no network of {source.about}: its keys begin with {keys or 'none'}; "
            "check --source."
        )
    told = kind.read(shapes)
    guesses = [guess for guess in kind.guesses if guess.when(told)]
    guessed = {k: v for guess in guesses for k, v in guess.fields.items()}
    assumed = tuple(
        f"{', '.join(f'{k}={v}' for k, v in said.items())} ({flags}), as {guess.about}"
        for guess in guesses
        for said, flags in ((guess.fields, "--model"), (guess.clip, "--frames, --stride"))
        if said and not (asked and flags == "--model")
    )
    channels = shapes["params/backbone/stem_conv/kernel"][-2]
    made = _made(asked) if asked else None
    stem = _stem(channels, kind, made)
    found = Found(
        kind=kind,
        told=told,
        guessed=guessed,
        num_classes=shapes.get(rules.FC, (0, 0))[1],
        channels=channels,
        stream=stem.stream,
        head=kind.read_head(shapes) if kind.read_head else {},
        clip={k: v for guess in guesses for k, v in guess.clip.items()} | stem.clip,
        assumed=assumed,
    )
    if not asked and not found.presets():
        raise InputError(
            f"The weights' stem reads {channels} channels, {stem.about}, and no {kind.about} here "
            "does: check --source and the file."
        )
    if made:
        _check(asked, made, found)
        found = dataclasses.replace(found, asked=asked)
    return found.fed()


def blocks_of(shapes: Mapping[str, Any], prefix: str = "params/backbone/") -> tuple[int, ...]:
    """Blocks per stage of leaves named `{prefix}stage{s}_block{b}/...`.

    Raises:
      InputError: a stage, or a block within one, is missing.
    """
    names = {name.removeprefix(prefix).split("/")[0] for name in shapes if name.startswith(prefix)}
    depths = []
    for stage in range(1, 5):
        start = f"stage{stage}_block"
        found = sorted(int(name.removeprefix(start)) for name in names if name.startswith(start))
        if not found or found != list(range(1, len(found) + 1)):
            last = f", although the last one is number {found[-1]}" if found else ""
            raise InputError(
                f"The weights are cut: stage {stage} of the network has {len(found) or 'no'} "
                f"blocks{last}."
            )
        depths.append(len(found))
    return tuple(depths)


def _reads(name: str, found: Found) -> bool:
    """Whether frames of a preset have the channels of the stem; flow has as many as it is given."""
    return found.stream != "video" or presets.channels_of(name)["video"] == found.channels


def _stem(channels: int, kind: Family, made: nn.Module | None) -> Stem:
    """What the stem reads: as the user says, or as TSN has it.

    Args:
      channels: of the stem.
      kind: of network.
      made: the model that the user asks for, if any.

    Raises:
      InputError: nobody knows, or what the user says cannot be.
    """
    stem = STEMS.get(channels)
    if made is not None and made.stream == "flow" and channels % 2 == 0:
        return Stem("flow", {}, f"{channels // 2} fields of flow")
    if stem and (made is None or made.stream == stem.stream):
        return stem
    known = ", ".join(f"{count} ({row.about})" for count, row in STEMS.items())
    known = f"The weights' stem reads {channels} channels; known are {known}"
    if made is None:
        raise InputError(
            f"{known}. If it reads fields of flow, two channels each, say so with --model "
            f'\'{{"backbone": {{"variant": ...}}, "stream": "flow"}}\' of {kind.about}.'
        )
    raise InputError(f"{known}, and --model is a network of {made.stream}; leave --model out.")


def _made(asked: Mapping[str, Any]) -> nn.Module:
    check_keys("model", asked, models.create)
    try:
        return models.create(1, **asked)
    except TypeError as error:  # JSON may hold a number where fields are due
        raise InputError(
            f"--model {dict(asked)} makes no model ({error}): give arguments of tempo.create_model."
        ) from None


def _check(asked: Mapping[str, Any], model: nn.Module, found: Found) -> None:
    """Raises `InputError` unless the network asked for is the one of the weights."""
    what = asked.get("name") or "--model"
    fit = found.model() if found.presets() else {"backbone": {}}
    use = "" if "backbone" in fit else f"use --model {fit['name']} or "
    fitting = f"; {use}leave --model out."
    made = model.backbone
    if not isinstance(made, found.kind.backbone):
        raise InputError(f"{what} does not fit: the weights are of {found.kind.about}{fitting}")
    if asked.get("name") and not _reads(asked["name"], found):
        raise InputError(
            f"{what} does not fit: the weights' stem reads {found.channels} channels, "
            f"{STEMS[found.channels].about}{fitting}"
        )
    said = asked.get("backbone", {})
    for field, value in _differing(made, found.told).items():
        if field in found.kind.of_source and field not in said:
            continue
        raise InputError(
            f"{what} does not fit: backbone.{field} is {getattr(made, field)!r}, that of the "
            f"weights {value!r}{fitting}"
        )


def _differing(made: nn.Module, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the fields that the backbone has otherwise."""
    return {k: v for k, v in fields.items() if _plain(getattr(made, k)) != _plain(v)}


def _plain(value: Any) -> Any:
    """Tuples for lists of any depth."""
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value
