"""What is known of a public source of weights besides the names of its arrays."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tempo.convert import rules
from tempo.errors import InputError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One way a source names its arrays.

    Attributes:
      rows: see `tempo.convert.rules`.
      marker: how a key begins that only this layout has; "" fits everything.
      is_fast_first: the linear layer of a two-pathway network reads the fast pathway's channels
        before the slow one's (ours: after).
      fields: of the backbone, that its networks have where no `Guess` says else.
      family: of its networks, if they are no ResNets; see `families`.
      unpack: takes apart arrays that are several of ours, before the rows name them.
    """

    rows: Sequence[rules.Row]
    marker: str = ""
    is_fast_first: bool = False
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    family: "Family | None" = None
    unpack: Callable[[rules.Arrays], rules.Arrays] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Defaults:
    """Preprocessing and test protocol of a kind of model.

    Attributes:
      clip: fields of `tempo.types.ClipSpec`.
      views: a name of `tempo.protocols.VIEW_SETS`.
    """

    clip: Mapping[str, Any]
    views: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guess:
    """Fields of a backbone that no array tells, as some networks have them.

    Attributes:
      when: of a `recognise.Network` (of a `Family`: of its fields), whether it is one of them.
      fields: of the backbone; those that arrays can tell (`facts.FACTS`) are of both pathways.
      about: those networks, with a verb.
      clip: fields of `tempo.types.ClipSpec` that they are trained with, if not the family's.
    """

    when: Callable[[Any], bool]
    fields: Mapping[str, Any]
    about: str
    clip: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a preset of a `Family` is trained and tested on, over the source's `Defaults`.

    Attributes:
      clip: fields of `tempo.types.ClipSpec`.
      size_px: side of training crops.
      view: fields of `tempo.types.ViewSpec`.
    """

    clip: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    size_px: int = 224
    view: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of network that is no ResNet, and how its arrays tell what it is.

    Attributes:
      about: such a network, in words.
      backbone: its class, of `tempo.models.BACKBONES`.
      read: shapes by leaf name -> the fields of the backbone that they tell; raises `InputError`
        of weights that are cut.
      guesses: fields that they do not tell; `when` is asked of those that they do, the first guess
        of a field does not win over later ones.
      read_head: the same as `read` of the head's fields; None if its networks have the usual head.
      of_source: fields in which its networks differ by source, not by preset: what the arrays tell
        wins over a preset that the user names.
      protocols: by preset, what its networks are fed with. Of presets that the arrays do not tell
        apart the first one here is assumed; others are not looked at, unless there are none here.
      defaults: which of a source's `Defaults` are for its networks, see `Source.defaults`.
      window: of a backbone, the frames and the side of its training clips, the head's field of
        that name; None if its networks have the usual head.
    """

    about: str
    backbone: type
    read: Callable[[Mapping[str, tuple[int, ...]]], dict[str, Any]]
    guesses: Sequence[Guess] = ()
    read_head: Callable[[Mapping[str, tuple[int, ...]]], dict[str, Any]] | None = None
    of_source: Sequence[str] = ()
    protocols: Mapping[str, Protocol] = dataclasses.field(default_factory=dict)
    defaults: str = "dense"
    window: Callable[[Any, int, int], Sequence[int]] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A public source of weights.

    Attributes:
      about: the source in words, for messages.
      layouts: the first whose marker is found in a file is taken.
      ignored: pattern of keys -> why they are of no use; they are left out and listed.
      initial: pattern of leaves that its networks lack -> why the value of a new model stands for
        them.
      neck: fields of the neck that the weights do not tell.
      dense_neck_by_depths: more of them for 3-D networks, by blocks per stage.
      guesses: fields of the backbone that the weights do not tell; the first that fits counts.
      defaults: by family of model: `dense` (3-D), `segments` (2-D), `slowfast`; `<family>+neck`
        comes before `<family>` for models with a neck.
      assumed: what no array tells of any of its networks, in words.
      mean, std: of its normalisation, per channel of values 0-255.
      is_image: it classifies images: its weights start the backbone of any video network, and make
        up the whole of a 2-D one.
    """

    about: str
    layouts: Sequence[Layout]
    defaults: Mapping[str, Defaults]
    ignored: Mapping[str, str] = dataclasses.field(default_factory=dict)
    initial: Mapping[str, str] = dataclasses.field(default_factory=dict)
    neck: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dense_neck_by_depths: Mapping[tuple[int, ...], Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    guesses: Sequence[Guess] = ()
    assumed: Sequence[str] = ()
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    is_image: bool = False

    def layout(self, keys: Sequence[str]) -> Layout:
        """The layout of a file with these keys."""
        return next(x for x in self.layouts if any(k.startswith(x.marker) for k in keys))

    def defaults_for(self, family: str, *, has_neck: bool) -> Defaults:
        """Preprocessing of a family of models.

        Raises:
          InputError: the source has no such models.
        """
        for name in ([f"{family}+neck"] if has_neck else []) + [family]:
            if name in self.defaults:
                return self.defaults[name]
        raise InputError(
            f"The weights are of a {family} network, which {self.about} does not have; check "
            "--source."
        )


def swapped(kernel: np.ndarray, num_first: int) -> np.ndarray:
    """The kernel `[D,K]` of a linear layer with its first inputs behind the others."""
    return np.concatenate([kernel[num_first:], kernel[:num_first]])


def is_16x8(network: Any) -> bool:
    """Of a `recognise.Network`, whether it is SlowFast-R101 whose res4 sees time in 6 blocks."""
    return len(network.told) > 1 and network.trunk["kernels_t"][2] == (3,) * 6 + (1,) * 17
