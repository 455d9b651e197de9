"""The methods that compute optical flow: rows of `METHODS`, with their parameters and limits."""

import dataclasses
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from tempo import version
from tempo.errors import InputError
from tempo.flow import settings


class SmallFrameError(ValueError):
    """Frames too small for a method; `reason` is short, such as `flow_needs_16px:64x12`."""

    def __init__(self, min_side_px: int, height: int, width: int):
        self.reason = f"flow_needs_{min_side_px}px:{width}x{height}"
        super().__init__(self.reason)


@dataclasses.dataclass(frozen=True)
class FlowMethod:
    """One way to compute flow: a row of `METHODS`.

    Attributes:
      compute: f(first, second, *, parameters) -> float32 [N,H,W,2]: from each first frame to its
        second, both grey uint8 [N,H,W].
      limits: smallest and largest value of each parameter.
      library: () -> (name, version) of what computes; `InputError` with the remedy if it is absent.
      batch_frames: of one call. Few where pairs are taken one by one, so that memory stays small; a
        method that runs on an accelerator wants many.
      check: raises `InputError` if parameters do not go together.
      settings: whose keyword-only arguments the parameters are, with their defaults; None is
        `compute`.
    """

    compute: Callable[..., np.ndarray]
    limits: Mapping[str, tuple[float, float]]
    library: Callable[[], tuple[str, str]]
    batch_frames: int = 16
    check: Callable[[Mapping[str, Any]], None] = lambda parameters: None
    settings: Callable[..., Any] | None = None

    @property
    def signature(self) -> Callable[..., Any]:
        """What has the parameters."""
        return self.settings or self.compute

    @property
    def defaults(self) -> dict[str, Any]:
        """Every parameter and what it is if nobody says otherwise."""
        parameters = inspect.signature(self.signature).parameters.values()
        return {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}


def _tvl1(
    first: np.ndarray,
    second: np.ndarray,
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
      first: uint8 [N,H,W].
      second: the same shape.
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
    _check_side(first, 16)
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
    return _pair_by_pair(computer, first, second)


def _dis(
    first: np.ndarray,
    second: np.ndarray,
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
      first: uint8 [N,H,W].
      second: the same shape.
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
    _check_side(first, patch_px << max(1, finest_scale))
    computer = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    computer.setFinestScale(finest_scale)
    computer.setPatchSize(patch_px)
    computer.setPatchStride(patch_stride_px)
    computer.setGradientDescentIterations(num_gradient_steps)
    computer.setVariationalRefinementIterations(num_refinements)
    computer.setVariationalRefinementAlpha(alpha)
    computer.setVariationalRefinementDelta(delta)
    computer.setVariationalRefinementGamma(gamma)
    return _pair_by_pair(computer, first, second)


def _tvl1_jax(first: np.ndarray, second: np.ndarray, **parameters: Any) -> np.ndarray:
    """TV-L1 as `tempo.flow.tvl1` has it, to about 0.01 px on average that of OpenCV 5.

    Args:
      first: uint8 [N,H,W].
      second: the same shape.
      **parameters: of `tempo.flow.settings.Settings`.
    """
    # Here, because who reads a dataset needs no jax for it.
    from tempo.flow import tvl1

    _check_side(first, settings.MIN_SIDE_PX)
    return tvl1.of_pairs(first, second, settings.Settings(**parameters))


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


def _pair_by_pair(computer: Any, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Videos run side by side, and the result must not depend on how many threads share a frame.
    cv2.setNumThreads(0)
    out = np.empty((*first.shape, 2), np.float32)
    for field, before, after in zip(out, first, second, strict=True):
        field[...] = computer.calc(before, after, None)
    return out


def _opencv() -> tuple[str, str]:
    return "opencv", cv2.__version__


def _opencv_contrib() -> tuple[str, str]:
    # Where another OpenCV was installed over it, an empty `cv2.optflow` can be left.
    if not hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create"):
        raise InputError(
            f"Flow method 'tvl1' needs cv2.optflow, which this OpenCV {cv2.__version__} has not. "
            f"Run: pip install --force-reinstall --no-deps {_contrib_requirement()} - or take "
            "--flow tvl1_jax, which is within about 0.01 px of OpenCV 5 on average, or --flow dis."
        )
    return _opencv()


def _own() -> tuple[str, str]:
    return "tempo", version.__version__


def _contrib_requirement() -> str:
    """The package that brings `cv2.optflow`, of the very version whose files it replaces."""
    for name in ("opencv-python-headless", "opencv-contrib-python-headless"):
        try:
            return f"opencv-contrib-python-headless=={importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "opencv-contrib-python-headless"


_TVL1_LIMITS = {
    "tau": (0.001, 1.0),
    "lambda_": (0.001, 100.0),
    "theta": (0.001, 100.0),
    "num_scales": (1, 20),
    "num_warps": (1, 100),
    "epsilon": (0.0, 10.0),
    "num_inner": (1, 1000),
    "num_outer": (1, 1000),
    "scale_step": (0.1, 0.95),
    "median_radius_px": (0, 2),
}

METHODS = {
    "tvl1": FlowMethod(
        compute=_tvl1,
        limits=_TVL1_LIMITS | {"gamma": (0.0, 100.0)},
        library=_opencv_contrib,
    ),
    "tvl1_jax": FlowMethod(
        compute=_tvl1_jax,
        limits=_TVL1_LIMITS | {"coordinates_per_px": (0, 1024)},
        library=_own,
        batch_frames=65,
        settings=settings.Settings,
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
