"""Published evaluation protocols as named sets of views: `VIEW_SETS` is the table.

A config names one, and may change single fields of it:

    config.eval.multi_view = {"views": "k400_10x3_ticks"}
    config.eval.multi_view = {"views": "k400_10x3_ticks", "num_clips": 4}

A row says where clips and crops lie; which frames make a clip (T x stride, or one frame of each of
T segments) is the recipe's `clip`. Softmax probabilities are averaged over the views, everywhere.

Sources: TPN, arXiv 2004.03548, section 4 ("Inference") and the captions of tables 3 and 4; the TPN
release (decisionforce/TPN); mmaction2 1.2; the ten crops are TSN's, arXiv 1608.00859. The paper
says "three random crops"; both public codes take the left, right and middle third, and so does
this. The paper says "uniformly" of the clips; the codes differ, so each protocol of several clips
has two rows, after the rule for their starts (N frames in the video, clips of T frames at stride
tau, n clips):

* `ticks`, the TPN release: tick = (N - T * tau + 1) / n, start k = int(tick / 2 + tick * k). Of
  segments, the clips interleave: two take the odd and the even ones of 2T centres.
* `linspace`, mmaction2: round(k * max(N - (T - 1) * tau - 1, 0) / (n - 1)), so the first clip
  starts with the video and the last ends with it. Of segments (`twice_sample`), the first clip
  takes the centre of each and the second its beginning.

The release also averages the scores of mirrored clips for its Kinetics numbers (worth about 0.1
points); no row does.
"""

from collections.abc import Mapping
from typing import Any

from tempo.errors import lookup
from tempo.types import ViewSpec

_CENTER = {"num_clips": 1, "crop": "center", "short_side_px": 256, "size_px": 224}
_THREE = {"crop": "three", "short_side_px": 256, "size_px": 256}

VIEW_SETS: dict[str, dict[str, Any]] = {
    # Table 4 (one clip of 8 segments), and of every recipe the check during training.
    "center": _CENTER,
    # Kinetics-400 (tables 2 and 6): 30 views.
    "k400_10x3_ticks": {"num_clips": 10, "clip_starts": "ticks", **_THREE},
    "k400_10x3_linspace": {"num_clips": 10, "clip_starts": "linspace", **_THREE},
    # TSN on Kinetics-400 and Epic-Kitchens (tables 3 and 5): 8 segments, corners and centre, both
    # ways round.
    "ten_crop": {"num_clips": 1, "crop": "ten", "short_side_px": 256, "size_px": 224},
    # Something-Something leaderboard, "full resolution of 2 clips": 6 views that cover the frame.
    "full_2clip_ticks": {"num_clips": 2, "clip_starts": "ticks", **_THREE},
    "full_2clip_linspace": {"num_clips": 2, "clip_starts": "linspace", **_THREE},
}
"""Fields of `tempo.types.ViewSpec` by name."""


def view_spec(views: str = "", **fields: Any) -> ViewSpec:
    """The views of a set, with some fields changed.

    Args:
      views: a name of `VIEW_SETS`; "" starts from the defaults of `ViewSpec`.
      **fields: of `ViewSpec`; they win.

    Raises:
      InputError: an unknown name, or a value out of range.
    """
    row: Mapping[str, Any] = lookup(VIEW_SETS, views, "view set") if views else {}
    return ViewSpec(**{**row, **fields})
