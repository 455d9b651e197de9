"""Published evaluation protocols as named sets of views: `VIEW_SETS` is the table.

A config names one, and may change single fields of it:

    config.eval.multi_view = {"views": "k400_10x3_ticks"}
    config.eval.multi_view = {"views": "k400_10x3_ticks", "num_clips": 4}

A row says where clips and crops lie; which frames make a clip (T x stride, or one frame of each of
T segments) is the recipe's `clip`, but for length, stride and order that some rows set. Softmax
probabilities are averaged over the views, but where a row says `logits`.

Sources: TPN, arXiv 2004.03548, section 4 ("Inference") and the captions of tables 3 and 4; the TPN
release (decisionforce/TPN); mmaction2 1.2; the ten crops are TSN's, arXiv 1608.00859. The paper
says "three random crops"; both public codes take the left, right and middle third, and so does
this. The paper says "uniformly" of the clips; the codes differ, so each protocol of several clips
has two rows, after the rule for their starts (N frames in the video, clips of T frames at stride
tau, n clips); TSN's own has a third rule:

* `ticks`, the TPN release: tick = (N - T * tau + 1) / n, start k = int(tick / 2 + tick * k). Of
  segments, the clips interleave: two take the odd and the even ones of 2T centres.
* `linspace`, mmaction2: round(k * max(N - (T - 1) * tau - 1, 0) / (n - 1)), so the first clip
  starts with the video and the last ends with it. Of segments (`twice_sample`), the first clip
  takes the centre of each and the second its beginning.
* `tsn`, the TSN release: k * ((N - L) // (n - 1)) of N frames, single ones (L = 1), or of N flow
  fields, snippets of L; frames between the last of these and the end of the video are not shown.

The TPN release also averages the scores of mirrored clips for its Kinetics numbers (worth about 0.1
points); none of these rows does.

`vipriors_1` to `vipriors_22` are the entries of table 3 of the DeepBlue solution of the VIPriors
challenge (arXiv 2007.08180): ten random clips of 64 frames (of the TSM network: 16), whose scores
are averaged before the softmax. From the report: ten, random, the average, 112 px, and interval,
crop, flip and order of every entry. It does not say to what size frames are resized: a short side
of 128 px is the smallest that the public SlowFast for UCF101 (r1ch88/SlowFastNetworks) draws in
training, and leaves the crop the usual 7/8. Each entry has its number as seed, so that no two show
the same random clips; another `seed` is an independent repeat. Entries that agree in all else
differ in the network and its input (RGB, differences of frames), which are the recipe's, as is
what follows where a video is shorter than a clip (`ClipSpec.short`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tempo.errors import lookup
from tempo.types import ViewSpec

_CENTER = {"num_clips": 1, "crop": "center", "short_side_px": 256, "size_px": 224}
_THREE = {"crop": "three", "short_side_px": 256, "size_px": 256}
_VIPRIORS = {
    "num_clips": 10,
    "clip_starts": "random",
    "short_side_px": 128,
    "size_px": 112,
    "average": "logits",
}
_VIPRIORS_ENTRIES = {
    # (stride, crop, is_flipped, order) -> numbers of the entries that differ in nothing of these
    (1, "center", False, "normal"): (1, 2, 10),
    (1, "center", True, "normal"): (3, 4, 13),
    (1, "random", False, "normal"): (5, 12),
    (1, "center", False, "concat"): (6, 8),
    (1, "center", False, "reverse"): (7, 9, 14),
    (2, "center", False, "normal"): (11, 15, 16),
    (2, "center", True, "normal"): (17, 18),
    (2, "random", False, "normal"): (19,),
    (2, "center", False, "concat"): (20, 22),
    (2, "center", False, "reverse"): (21,),
}


def _vipriors_rows() -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of every entry of the table, and the fields that it sets."""
    for values, numbers in _VIPRIORS_ENTRIES.items():
        row = dict(zip(("stride", "crop", "is_flipped", "order"), values, strict=True))
        yield from ((number, row) for number in numbers)


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
    # TSN and the networks that are tested like it: 250 views of one frame each. Beside it lies the
    # recipe's flow; TSN's own networks of flow are shown one snippet (`num_snippets` 1).
    "tsn_25x10": {
        "num_clips": 25,
        "clip_starts": "tsn",
        "num_frames": 1,
        "crop": "ten",
        "short_side_px": 256,
        "size_px": 224,
        "average": "logits",
    },
    # VIPriors, table 3.
    **{
        f"vipriors_{number}": {**_VIPRIORS, **row, "seed": number}
        for number, row in sorted(_vipriors_rows())
    },
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
