"""The model that a user names for weights: what it says, and whether the weights are of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tempo import models
from tempo.convert import trunk
from tempo.convert.facts import FACTS
from tempo.convert.recognise import OF_TRUNKS, Network, trunks_of
from tempo.errors import InputError, check_keys, lookup

_SPEED = ("slow_stride", "fast_stride", "slow_index")


@dataclasses.dataclass(frozen=True)
class Asked:
    """Arguments of `models.create`, looked up.

    Attributes:
      what: the name, for messages.
      trunks: its residual networks, as of `Network`.
      preset, own: fields of the backbone that no trunk tells: of its rows, and said beside them.
      neck: `name` and fields; empty for none.
      own_neck: of them, what is said beside the preset.
      head: fields, of the preset.
    """

    what: str
    trunks: Mapping[str, trunk.Trunk]
    preset: Mapping[str, Any]
    own: Mapping[str, Any]
    neck: Mapping[str, Any]
    own_neck: Mapping[str, Any]
    head: Mapping[str, Any]


def read(model: Mapping[str, Any]) -> Asked:
    """What arguments of `models.create` say.

    Raises:
      InputError: they make no model.
    """
    check_keys("model", model, models.create)
    try:
        name = model.get("name")
        row = lookup(models.MODELS, name, "model (--model)") if name else {}
        own, own_neck = dict(model.get("backbone", {})), dict(model.get("neck", {}))
        preset = dict(row.get("backbone", {}))
        variant = own.pop("variant", preset.pop("variant", None))
        if variant is None:
            raise InputError("--model needs a name or backbone.variant; see tempo.list_models().")
        made = models.create(1, **model)
        if not trunks_of(made.backbone):
            raise InputError(f"{name or '--model'} is no ResNet, and the weights are of one.")
        preset = {**models.BACKBONES[variant][1], **preset}
        return Asked(
            what=name or "--model",
            trunks=trunks_of(made.backbone),
            preset={k: v for k, v in preset.items() if k not in OF_TRUNKS},
            own={k: v for k, v in own.items() if k not in OF_TRUNKS},
            neck={**row.get("neck", {}), **own_neck},
            own_neck=own_neck,
            head=row.get("head", {}),
        )
    except TypeError as error:  # JSON may hold a number where fields are due
        raise InputError(
            f"--model {dict(model)} makes no model ({error}): give arguments of tempo.create_model."
        ) from None


def agreed(model: Mapping[str, Any], found: Network) -> Network:
    """The network of the weights as the user describes it, where the weights leave a choice.

    Args:
      model: arguments of `models.create`.
      found: of the weights.

    Raises:
      InputError: the two differ in what the weights tell; the message says what they are.
    """
    asked = read(model)
    if len(asked.trunks) != len(found.trunks):
        have = "one pathway" if len(found.trunks) == 1 else "two pathways"
        raise InputError(f"{asked.what} does not fit weights of {have}{_or(found)}")
    _check_sizes(asked, found)
    # A guess counts only if the user says nothing else.
    guesses = tuple(g for g in found.guesses if asked.trunks == _having(asked.trunks, g.fields))
    kept = dataclasses.replace(found, guesses=guesses)
    for path, told in kept.trunks.items():
        for name, fact in FACTS.items():
            here, there = asked.trunks[path][name], told[name]
            if here != there:
                raise InputError(
                    f"{asked.what} does not fit: the {fact.about} is {_said(here)}, that of the "
                    f"weights {_said(there)}{_or(found)}"
                )
    if bool(asked.neck) != bool(found.neck):
        having = "a neck" if found.neck else "no neck"
        raise InputError(
            f"{asked.what} has {'a' if asked.neck else 'no'} neck, but the weights have {having}"
            f"{_or(found)}"
        )
    # What the name of a preset says; of all else the source knows better how its networks are.
    speed = {k: v for k, v in asked.preset.items() if k in _SPEED}
    return Network(
        told=kept.trunks,
        fields={**asked.preset, **kept.all_fields, **speed, **found.fields, **asked.own},
        neck={**found.neck, **asked.own_neck},
        num_classes=found.num_classes,
        head=found.head,
        clip=found.clip,
        assumed=tuple(text for text in found.assumed if "(--model)" not in text),
    )


def described(model: Mapping[str, Any], found: Network) -> Network:
    """The network that the user describes, of which the weights found are the trunk.

    Raises:
      InputError: its residual network has other blocks or widths.
    """
    asked = read(model)
    _check_sizes(asked, found)
    # What a source has everywhere and no array tells.
    fields = {**found.defaults, **asked.preset, **asked.own}
    return Network(
        told=asked.trunks,
        fields=fields,
        neck=asked.neck,
        num_classes=found.num_classes,
        head=asked.head,
        assumed=found.assumed,
    )


def _having(trunks: Mapping[str, trunk.Trunk], fields: Mapping[str, Any]):
    return {path: each.having(fields) for path, each in trunks.items()}


def _check_sizes(asked: Asked, found: Network) -> None:
    """Raises `InputError` if the residual networks have other blocks or widths."""
    told = next(iter(asked.trunks.values()))
    if told.sizes != found.trunk.sizes:
        raise InputError(
            f"{asked.what} is {told}, but the weights are of {found.trunk}{_or(found)}"
        )


def _said(value: Any) -> Any:
    """The value, with what repeats from the first block on said once."""
    if not isinstance(value, tuple):
        return value
    return tuple(v[0] if isinstance(v, tuple) and len(v) == 1 else v for v in value)


def _or(found: Network) -> str:
    name = found.model().get("name")
    return f"; use --model {name} or leave --model out." if name else "; leave --model out."
