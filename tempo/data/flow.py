"""Optical flow between neighbouring frames: the methods, its 8 bits, and what a dataset says of it.

Field i of N frames is the movement from frame i to i + 1 in pixels, (x, y) with x to the right and
y down: frame_i(p) ~ frame_{i+1}(p + field_i(p)). There are N - 1 of them.

All flow of a dataset comes from one method, one set of parameters and one major version of a
library: OpenCV 4 and 5, for one, do not give the same TV-L1.
"""

import dataclasses
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from tempo.data.video import jpeg
from tempo.errors import InputError, check_keys, lookup

BOUND = 20.0
"""Largest movement that 8 bits hold, in pixels per frame: dense_flow's `-b 20`, used by TSN."""

_ANY = float("inf")


class SmallFrameError(ValueError):
    """Frames too small for a method; `reason` is short, such as `flow_needs_16px:64x12`."""

    def __init__(self, min_side_px: int, height: int, width: int):
        self.reason = f"flow_needs_{min_side_px}px:{width}x{height}"
        super().__init__(self.reason)


@dataclasses.dataclass(frozen=True)
class FlowMethod:
    """One way to compute flow: a row of `METHODS`.

    Attributes:
      compute: f(grey uint8 [N,H,W], *, parameters) -> float32 [N-1,H,W,2]. The parameters are its
        keyword-only arguments, with their defaults.
      limits: smallest and largest value of each parameter.
      library: () -> (name, version) of what computes; `InputError` with the remedy if it is absent.
      batch_frames: N of one call. Few where pairs are taken one by one, so that memory stays small;
        a method that runs on an accelerator wants many.
      check: raises `InputError` if parameters do not go together.
    """

    compute: Callable[..., np.ndarray]
    limits: Mapping[str, tuple[float, float]]
    library: Callable[[], tuple[str, str]]
    batch_frames: int = 16
    check: Callable[[Mapping[str, Any]], None] = lambda parameters: None


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
    """

    method: str
    bound: float
    jpeg_quality: int
    parameters: Mapping[str, Any]
    library: str
    library_version: str

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal of flow that is mixed: everything but the minor version."""
        return {
            "method": self.method,
            "parameters": dict(self.parameters),
            "bound": self.bound,
            "jpeg_quality": self.jpeg_quality,
            "library": self.library,
            "library_major": int(self.library_version.split(".")[0]),
        }

    @property
    def metadata(self) -> dict[str, Any]:
        """What a dataset says of its flow: `identity` and the whole version of the library."""
        return self.identity | {"library_version": self.library_version}


def create(
    method: str, *, bound: float = BOUND, jpeg_quality: int = jpeg.QUALITY, **parameters: Any
) -> FlowSettings:
    """Settings with all parameters of the method filled in.

    Args:
      method: row of `METHODS`.
      bound: pixels at which flow is cut off; 255 steps span -bound to bound.
      jpeg_quality: 1 to 100. Above 75 the 8 bits lose more than the JPEG.
      **parameters: of the method, in place of its defaults.

    Raises:
      InputError: an unknown method or parameter, a value out of range, a library that is absent.
    """
    row = lookup(METHODS, method, "flow method")
    check_keys(f"Flow method {method!r}", parameters, row.compute)
    if not 0 < bound < _ANY or not 1 <= jpeg_quality <= 100:
        raise InputError(
            f"Flow needs a bound above 0 and a JPEG quality of 1 to 100; got {bound} and "
            f"{jpeg_quality}."
        )
    values = _defaults(row.compute)
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
    return FlowSettings(method, float(bound), int(jpeg_quality), values, library, version)


def check_same(made: Mapping[str, Any] | None, settings: FlowSettings, where: str) -> None:
    """Raises `InputError` if flow that is already there was made otherwise; names what differs.

    Args:
      made: `metadata` of what is there; None if there is none.
      settings: what would be added to it.
      where: the dataset, for the message.
    """
    for key, value in settings.identity.items():
        if made is not None and made.get(key) != value:
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
    keys = sorted({*stored, *here} - {"jpeg_quality", "library_version"})
    for key in sorted(keys, key=lambda k: k != "method"):  # the others follow from it
        old, new = stored.get(key), here.get(key)
        if old != new:
            raise InputError(
                f"{where} was trained on optical flow made with {key}={old!r}, but here it is "
                f"made with {key}={new!r}; prepare the videos with --flow {stored['method']} as "
                "its data were, or use another checkpoint."
            )


def compute(grey: np.ndarray, method: str, **parameters: Any) -> np.ndarray:
    """Flow of neighbouring frames in pixels, float32 [N-1,H,W,2].

    Args:
      grey: uint8 [N,H,W], N at least 1.
      method: row of `METHODS`.
      **parameters: of the method, in place of its defaults.

    Raises:
      InputError: an unknown method or parameter, or a library that is absent.
      SmallFrameError: a method that cannot take frames of this size.
    """
    settings = create(method, **parameters)
    return METHODS[method].compute(grey, **settings.parameters)


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


def _tvl1(
    grey: np.ndarray,
    *,
    tau: float = 0.25,
    lambda_: float = 0.15,
    theta: float = 0.3,
    num_scales: int = 5,
    num_warps: int = 5,
    epsilon: float = 0.01,
    num_inner: int = 30,
    num_outer: int = 10,
    scale_step: float = 0.8,
    gamma: float = 0.0,
    median_radius_px: int = 2,
) -> np.ndarray:
    """Dual TV-L1 of opencv_contrib (Zach, Pock, Bischof 2007; Sanchez et al., IPOL 2013).

    Args:
      grey: uint8 [N,H,W].
      tau: time step of the dual scheme.
      lambda_: weight of the data term; smaller is smoother.
      theta: tightness between the two terms.
      num_scales: of the pyramid.
      num_warps: per scale.
      epsilon: stop when a step moves less, in pixels.
      num_inner: iterations between two medians.
      num_outer: medians per warp.
      scale_step: size of a scale against the one below.
      gamma: weight of the illumination term.
      median_radius_px: of the filter of the flow; 0 for none.
    """
    # Smaller ones have no pyramid, and OpenCV fails on the thinnest.
    _check_side(grey, 16)
    # By position: the binding's names are not those of its documentation.
    computer = cv2.optflow.DualTVL1OpticalFlow_create(
        tau,
        lambda_,
        theta,
        num_scales,
        num_warps,
        epsilon,
        num_inner,
        num_outer,
        scale_step,
        gamma,
        2 * median_radius_px + 1,
        False,
    )
    return _pair_by_pair(computer, grey)


def _dis(
    grey: np.ndarray,
    *,
    finest_scale: int = 1,
    patch_px: int = 8,
    patch_stride_px: int = 3,
    num_gradient_steps: int = 25,
    num_refinements: int = 5,
    alpha: float = 20.0,
    delta: float = 5.0,
    gamma: float = 10.0,
) -> np.ndarray:
    """Dense inverse search (Kroeger et al., arXiv 1603.03590); the defaults are OpenCV's `medium`.

    Args:
      grey: uint8 [N,H,W].
      finest_scale: pyramid level at which the flow is computed; 0 is the whole size.
      patch_px: side of a patch.
      patch_stride_px: between patches; at most half a patch.
      num_gradient_steps: per patch.
      num_refinements: of the variational refinement; 0 for none.
      alpha: weight of its smoothness.
      delta: weight of its colour constancy.
      gamma: weight of its gradient constancy.
    """
    # Below this OpenCV 4.11 to 5.0 fail, and on elongated frames they end the whole process.
    _check_side(grey, patch_px << max(1, finest_scale))
    computer = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    computer.setFinestScale(finest_scale)
    computer.setPatchSize(patch_px)
    computer.setPatchStride(patch_stride_px)
    computer.setGradientDescentIterations(num_gradient_steps)
    computer.setVariationalRefinementIterations(num_refinements)
    computer.setVariationalRefinementAlpha(alpha)
    computer.setVariationalRefinementDelta(delta)
    computer.setVariationalRefinementGamma(gamma)
    return _pair_by_pair(computer, grey)


def _check_dis(parameters: Mapping[str, Any]) -> None:
    patch, stride = parameters["patch_px"], parameters["patch_stride_px"]
    # Patches further apart leave pixels without one, where OpenCV may end the whole process.
    if 2 * stride > patch:
        raise InputError(
            f"Flow method 'dis': patch_stride_px={stride} is more than half of patch_px={patch}; "
            f"use at most {patch // 2}."
        )


def _check_side(grey: np.ndarray, min_side_px: int) -> None:
    height, width = grey.shape[1:]
    if min(height, width) < min_side_px:
        raise SmallFrameError(min_side_px, height, width)


def _pair_by_pair(computer: Any, grey: np.ndarray) -> np.ndarray:
    # Videos run side by side, and the result must not depend on how many threads share a frame.
    cv2.setNumThreads(0)
    num_frames, height, width = grey.shape
    out = np.empty((num_frames - 1, height, width, 2), np.float32)
    for i in range(num_frames - 1):
        out[i] = computer.calc(grey[i], grey[i + 1], None)
    return out


def _opencv() -> tuple[str, str]:
    return "opencv", cv2.__version__


def _opencv_contrib() -> tuple[str, str]:
    # Where another OpenCV was installed over it, an empty `cv2.optflow` can be left.
    if not hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create"):
        raise InputError(
            f"Flow method 'tvl1' needs cv2.optflow, which this OpenCV {cv2.__version__} has not. "
            f"Run: pip install --force-reinstall --no-deps {_contrib_requirement()} - or take "
            "--flow dis."
        )
    return _opencv()


def _contrib_requirement() -> str:
    """The package that brings `cv2.optflow`, of the very version whose files it replaces."""
    for name in ("opencv-python-headless", "opencv-contrib-python-headless"):
        try:
            return f"opencv-contrib-python-headless=={importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "opencv-contrib-python-headless"


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}


METHODS = {
    "tvl1": FlowMethod(
        compute=_tvl1,
        limits={
            "tau": (0.001, 1.0),
            "lambda_": (0.001, 100.0),
            "theta": (0.001, 100.0),
            "num_scales": (1, 20),
            "num_warps": (1, 100),
            "epsilon": (0.0, 10.0),
            "num_inner": (1, 1000),
            "num_outer": (1, 1000),
            "scale_step": (0.1, 0.95),
            "gamma": (0.0, 100.0),
            "median_radius_px": (0, 2),
        },
        library=_opencv_contrib,
    ),
    "dis": FlowMethod(
        compute=_dis,
        limits={
            "finest_scale": (0, 5),
            "patch_px": (4, 16),
            "patch_stride_px": (1, 8),
            "num_gradient_steps": (1, 1000),
            "num_refinements": (0, 1000),
            "alpha": (0.0, 1000.0),
            "delta": (0.0, 1000.0),
            "gamma": (0.0, 1000.0),
        },
        library=_opencv,
        check=_check_dis,
    ),
}
