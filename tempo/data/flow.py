"""Optical flow between neighbouring frames: the methods, its 8 bits, and what a dataset says of it.

Field i of N frames is the movement from frame i to i + 1 in pixels, (x, y) with x to the right and
y down: frame_i(p) ~ frame_{i+1}(p + field_i(p)). There are N - 1 of them.

All flow of a dataset comes from one method, one set of parameters and one major version of a
library: OpenCV 4 and 5, for one, do not give the same TV-L1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tempo.data import camera as cameras
from tempo.data.flow_methods import METHODS
from tempo.data.flow_methods import FlowMethod as FlowMethod
from tempo.data.flow_methods import SmallFrameError as SmallFrameError
from tempo.data.video import jpeg
from tempo.errors import InputError, check_keys, is_whole, lookup

BOUND = 20.0
"""Largest movement that 8 bits hold, in pixels per frame: dense_flow's `-b 20`, used by TSN."""


@dataclasses.dataclass(frozen=True)
class FlowSettings:
    """How the flow of a dataset is made; from `create`.

    Attributes:
      method: row of `METHODS`.
      bound: pixels at which flow is cut off.
      jpeg_quality: of the two pictures of a field.
      parameters: of the method, all of them.
      library: name of what computes.
      library_version: its version.
      camera: `kept`, or `removed`: the second frame of a pair is warped so that the camera stands
        still (TSN's warped flow).
    """

    method: str
    bound: float
    jpeg_quality: int
    parameters: Mapping[str, Any]
    library: str
    library_version: str
    camera: str = "kept"

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal of flow that is mixed: everything but the minor version."""
        made = {
            "method": self.method,
            "parameters": dict(self.parameters),
            "bound": self.bound,
            "jpeg_quality": self.jpeg_quality,
            "library": self.library,
            "library_major": int(self.library_version.split(".")[0]),
        }
        # Only where it says something: flow was made before there was a choice.
        return made if self.camera == "kept" else made | {"camera": self.camera}

    @property
    def metadata(self) -> dict[str, Any]:
        """What a dataset says of its flow: `identity` and the whole version of the library."""
        return self.identity | {"library_version": self.library_version}


def create(
    method: str,
    /,
    *,
    bound: float = BOUND,
    jpeg_quality: int = jpeg.QUALITY,
    camera: str = "kept",
    **parameters: Any,
) -> FlowSettings:
    """Settings with all parameters of the method filled in.

    Args:
      method: row of `METHODS`.
      bound: pixels at which flow is cut off; 255 steps span -bound to bound.
      jpeg_quality: 1 to 100, whole. Above 75 the 8 bits lose more than the JPEG.
      camera: `kept`, or `removed` for warped flow.
      **parameters: of the method, in place of its defaults.

    Raises:
      InputError: an unknown method or parameter, a value out of range, a library that is absent.
    """
    row = lookup(METHODS, method, "flow method")
    lookup(dict.fromkeys(cameras.CAMERAS), camera, "camera of optical flow")
    check_keys(f"Flow method {method!r}", parameters, row.signature)
    has_bound = isinstance(bound, int | float) and 0 < bound < float("inf")
    if not has_bound or not is_whole(jpeg_quality) or jpeg_quality > 100:
        raise InputError(
            "Flow needs a bound above 0 and a whole JPEG quality of 1 to 100; got "
            f"{bound!r} and {jpeg_quality!r}."
        )
    values = row.defaults
    for name, value in parameters.items():
        low, high = row.limits[name]
        kind = type(values[name])
        if not isinstance(value, int | float) or not low <= value <= high or kind(value) != value:
            what = "whole number" if kind is int else "number"
            raise InputError(
                f"Flow method {method!r}: {name} must be a {what} from {low} to {high}; got "
                f"{value!r}."
            )
        values[name] = kind(value)
    library, version = row.library()
    row.check(values)
    return FlowSettings(method, float(bound), int(jpeg_quality), values, library, version, camera)


def check_same(made: Mapping[str, Any] | None, settings: FlowSettings, where: str) -> None:
    """Raises `InputError` if flow that is already there was made otherwise; names what differs.

    Args:
      made: `metadata` of what is there; None if there is none.
      settings: what would be added to it.
      where: the dataset, for the message.
    """
    if made is None:
        return
    made = {"camera": "kept"} | made
    for key, value in (settings.identity | {"camera": settings.camera}).items():
        if made.get(key) != value:
            raise InputError(
                f"{where} holds flow made with {key}={made.get(key)!r}, now it is {value!r}; flows "
                "do not mix: use the same, or another --out."
            )


def check_trained(
    stored: Mapping[str, Any] | None, here: Mapping[str, Any] | None, where: str
) -> None:
    """Raises `InputError` if a network would be shown other flow than it was trained on.

    All of `identity` counts but how hard the fields were compressed.

    Args:
      stored: `metadata` of what it was trained on; None if that is not known.
      here: `metadata` of what it would be shown; None if there is none.
      where: the checkpoint, for the message.
    """
    if stored is None or here is None:
        return
    stored, here = ({"camera": "kept"} | made for made in (stored, here))
    keys = sorted({*stored, *here} - {"jpeg_quality", "library_version"})
    for key in sorted(keys, key=lambda k: k != "method"):  # the others follow from it
        old, new = stored.get(key), here.get(key)
        if old != new:
            raise InputError(
                f"{where} was trained on optical flow made with {key}={old!r}, but here it is "
                f"made with {key}={new!r}; prepare the videos with --flow {stored['method']} as "
                "its data were, or use another checkpoint."
            )


def compute(grey: np.ndarray, method: str, **settings: Any) -> np.ndarray:
    """Flow of neighbouring frames in pixels, float32 [N-1,H,W,2].

    Args:
      grey: uint8 [N,H,W], N at least 1.
      method: row of `METHODS`.
      **settings: as `create` takes them: parameters of the method, or `camera`.

    Raises:
      InputError: an unknown method or parameter, or a library that is absent.
      SmallFrameError: a method that cannot take frames of this size.
    """
    return of_frames(grey, create(method, **settings))


def of_frames(grey: np.ndarray, settings: FlowSettings) -> np.ndarray:
    """Flow of neighbouring frames in pixels, as `settings` say: `compute` for one who has them.

    Args:
      grey: uint8 [N,H,W], N at least 1.
      settings: from `create`.

    Raises:
      SmallFrameError: a method that cannot take frames of this size.
    """
    first, second = grey[:-1], grey[1:]
    if settings.camera == "removed":
        second = cameras.removed(first, second)
    return METHODS[settings.method].compute(first, second, **settings.parameters)


def quantize(flow: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Flow in 8 bits: clip(rint((v + bound) / (2 bound) * 255), 0, 255), uint8 of the same shape.

    Halves go to the even number, so no movement is exactly 128 (TSN, dense_flow). One step is
    2 * bound / 255 pixels, 0.157 for a bound of 20.
    """
    levels = np.rint((flow + bound) / (2 * bound) * 255)
    return np.clip(levels, 0, 255).astype(np.uint8)


def dequantize(levels: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Pixels from 8 bits, float32: the middle of each step of `quantize`.

    128 gives half a step, not 0: networks subtract 128 from the levels instead.
    """
    return levels.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)
