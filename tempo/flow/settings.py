"""Parameters of TV-L1 optical flow; without jax, for who describes a dataset needs none."""

import dataclasses

MIN_SIDE_PX = 16
"""A pyramid ends before a side gets smaller."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the field; the defaults are OpenCV's.

    Attributes:
      tau: time step of the dual scheme.
      lambda_: weight of the data term; smaller is smoother.
      theta: tightness between the two terms.
      num_scales: of the pyramid; fewer where a side would be under `MIN_SIDE_PX`.
      num_warps: per scale.
      epsilon: a warp ends when a step moves less, in pixels. 0 takes every step of the schedule, so
        all pairs take equally long.
      num_inner: iterations between two medians.
      num_outer: medians per warp.
      scale_step: size of a scale against the one below.
      median_radius_px: of the filter of the field, 0 to 2; 0 for none.
      coordinates_per_px: places between two pixels at which the second frame can be read: 0 for any
        (OpenCV 5), 32 for OpenCV 4, whose `remap` rounds.
    """

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    num_scales: int = 5
    num_warps: int = 5
    epsilon: float = 0.01
    num_inner: int = 30
    num_outer: int = 10
    scale_step: float = 0.8
    median_radius_px: int = 2
    coordinates_per_px: int = 0
