"""Whole models by name: which backbone, with what in its slots, and which neck and head.

A preset is data alone. Where the public sources differ the comment says whose network it is; what
differs from them is the normal override of a field.
"""

import fnmatch
from typing import Any

from tempo.types import ClipShapes, Streams

# A SlowFast name says how many frames the slow path sees and how many frames of the video they are
# apart. The clip holds the fast path's frames, two of the video apart: 32, and 64 for 16x8.
_SLOWFAST_4X16 = {"slow_stride": 8, "fusion_kernel": 5}
_SLOWFAST_8X8 = {"slow_stride": 4, "fusion_kernel": 7}
# Of an R101, and of an R50 with non-local blocks, whose lateral connections see fewer frames.
_SLOWFAST_8X8_SHORT = {"slow_stride": 4, "fusion_kernel": 5}
# As in the paper's figures and the public weights: no more blocks see time than those of an R50.
_R101_SEES_TIME_AS_R50 = (3,) * 6 + (1,) * 17
_SLOWFAST_16X8_R101 = {
    "slow_stride": 4,
    "fusion_kernel": 5,
    "slow_kernels_t": (1, 1, _R101_SEES_TIME_AS_R50, 3),
    "fast_kernels_t": (3, 3, _R101_SEES_TIME_AS_R50, 3),
}
# 64 consecutive frames of 112 px (arXiv 2007.08180): the paths see what 4x16 sees.
_SLOWFAST_64F = {"slow_stride": 16, "fast_stride": 2, "fusion_kernel": 5}
# The public SlowFast for training on UCF101 from scratch (r1ch88/SlowFastNetworks).
_R1CH88 = {**_SLOWFAST_64F, "lateral_norm": False}
_NO_BIAS = {"use_bias": False}
# PySlowFast's SLOWFAST_NLN: on the slow path; of an R101 res4 alone.
_NONLOCAL_R50 = {"nonlocal_blocks": ((), (1, 3), (1, 3, 5), ())}
_NONLOCAL_SLOWFAST_R101 = {"nonlocal_blocks": ((), (), (6, 13, 20), ())}
# Of the authors (video-nonlocal-net). Theirs inflates every second one of the 23 blocks of res4,
# which is 59.1 M parameters; the published 54.3 M (in arXiv 2004.04730) are of this one, which
# inflates those of an R50.
_NONLOCAL_I3D_R101 = {
    "nonlocal_blocks": ((), (1, 3), (6, 13, 20), ()),
    "kernels_t": ((3, 3, 3), (3, 1, 3, 1), (3, 1) * 3 + (1,) * 17, (1, 3, 1)),
}
_TSM = {"temporal": "tsm"}
# Space and time halve together in res3 to res5, as in the authors' release (VMZ).
_HALVES_TIME = {"stem_kernel_t": 3, "strides_t": (1, 2, 2, 2)}
# arXiv 1711.11248. VMZ pools behind the stem of bottleneck networks only.
_R2PLUS1D = {**_HALVES_TIME, "conv_b": "2plus1d", "stem_inner": 45}
_R2PLUS1D_PTV = {
    "conv_b": {"name": "2plus1d", "order": "temporal_first", "width": "equal"},
    "strides": (2, 2, 2, 2),
    "strides_t": (1, 1, 2, 2),
    "stem_pool": False,
}
# arXiv 1904.02811; PyTorchVideo's csn_r101 is the interaction-reduced one.
_IP_CSN = {**_HALVES_TIME, "conv_b": "pointwise_depthwise"}
_IR_CSN = {**_HALVES_TIME, "conv_b": "depthwise"}
# arXiv 1711.09577, with a stem of 3 frames.
_R3D = {**_HALVES_TIME, "conv_b": "3x3x3", "pool1_kernel_t": 3, "pool1_stride_t": 2}
# The comparisons of arXiv 2011.03949, table 2: blocks give as many channels as their 3x3x3
# convolution does. Its slow-only and SlowFast networks are slowonly_r50 and slowfast_r50_4x16.
_R3D_X1 = {**_R3D, "expansion": 1}
_R2PLUS1D_X1 = {
    **_R2PLUS1D,
    "expansion": 1,
    "pool1_kernel_t": 3,
    "pool1_stride_t": 2,
}
_MTCONV = {"conv_b": "mtconv", "attention": "sr"}
# arXiv 2006.08247, with the gate of consistency off as in all networks of the authors' release: of
# a new network hardly any clip is consistent, and what does not multiply a clip does not train.
_SRTG = {"attention": {"name": "srtg", "is_gated": False}}
# Dropout and initial classifier as TSN has them of frames (arXiv 1608.00859), and of stacks of
# optical flow in their place.
_TSN = {"head": {"dropout_prob": 0.8, "init_std": 1e-3}}
_FLOW = {"head": {"dropout_prob": 0.7, "init_std": 1e-3}, "stream": "flow"}
# arXiv 1903.01038: two networks of one kind; dropout and initial classifier of its new layers are
# those of TSN. B and C are what the pyramid is built up from: B reads one snippet of flow. Late
# fusion (A) is of networks that are trained alone; its one dropout is for those who train it whole.
_TWO_BNINCEPTION, _TWO_VGG16, _TWO_R50 = (
    {"variant": "two_stream", "spatial": {"variant": base}, "temporal": {"variant": base}}
    for base in ("bninception", "vgg16", "c2d_r50")
)
_STPN = {"neck": {"name": "stpn"}, "head": {"dropout_prob": 0.7, "init_std": 1e-3}}
_STPN_C = {**_STPN, "neck": {"name": "stpn", "guidance": "none"}}
_STPN_B = {**_STPN, "neck": {"name": "stpn", "guidance": "none", "level1": "identity"}}
_LATE = {"head": {"name": "late_fusion", "dropout_prob": 0.7, "init_std": 1e-3}}
_X3D = {"head": {"name": "x3d"}}
# The text of arXiv 2011.03949 has two recurrent layers; its tables are of one.
_MTNET_TEXT = {"sr_layers": 2}
# The authors' released MTNet, which is not the paper's; it has no dropout.
_RELEASED = {"head": {"dropout_prob": 0.0}}
_TPN = {"name": "tpn"}
# With sparse frames every level keeps one, as in the released TSN and TSM models.
_TPN_SPARSE = {"name": "tpn", "alphas": "equal"}

MODELS: dict[str, dict[str, Any]] = {
    "tsn_r18": {"backbone": {"variant": "c2d_r18"}},
    "tsn_r34": {"backbone": {"variant": "c2d_r34"}},
    "tsn_r50": {"backbone": {"variant": "c2d_r50"}},
    "tsn_r101": {"backbone": {"variant": "c2d_r101"}},
    "tsn_r152": {"backbone": {"variant": "c2d_r152"}},
    "tsn_r50_flow": {"backbone": {"variant": "c2d_r50"}, **_FLOW},
    "tsn_r152_flow": {"backbone": {"variant": "c2d_r152"}, **_FLOW},
    "tsn_bninception": {"backbone": {"variant": "bninception"}, **_TSN},
    "tsn_bninception_flow": {"backbone": {"variant": "bninception"}, **_FLOW},
    "tsn_bninception_rgb_diff": {"backbone": {"variant": "bninception"}, **_TSN},
    "tsn_vgg16": {"backbone": {"variant": "vgg16"}, "head": {"name": "vgg"}},
    "tsn_vgg16_flow": {
        "backbone": {"variant": "vgg16"},
        "head": {"name": "vgg"},
        "stream": "flow",
    },
    "two_stream_bninception": {"backbone": _TWO_BNINCEPTION, **_LATE},
    "two_stream_r50": {"backbone": _TWO_R50, **_LATE},
    "two_stream_vgg16": {
        "backbone": _TWO_VGG16,
        "head": {"name": "late_fusion", "stream_head": "vgg"},
    },
    "stpn_bninception": {"backbone": _TWO_BNINCEPTION, **_STPN},
    "stpn_bninception_b": {"backbone": _TWO_BNINCEPTION, **_STPN_B},
    "stpn_bninception_c": {"backbone": _TWO_BNINCEPTION, **_STPN_C},
    "stpn_r50": {"backbone": _TWO_R50, **_STPN},
    "stpn_vgg16": {"backbone": _TWO_VGG16, **_STPN},
    "tsm_r18": {"backbone": {"variant": "c2d_r18", **_TSM}},
    "tsm_r50": {"backbone": {"variant": "c2d_r50", **_TSM}},
    "tsm_r101": {"backbone": {"variant": "c2d_r101", **_TSM, "shift_every": 2}},
    "tanet_r50": {"backbone": {"variant": "c2d_r50", "temporal": "tam"}},
    "slowonly_r18": {"backbone": {"variant": "slowonly_r18"}},
    "slowonly_r34": {"backbone": {"variant": "slowonly_r34"}},
    "slowonly_r50": {"backbone": {"variant": "slowonly_r50"}},
    "slowonly_r101": {"backbone": {"variant": "slowonly_r101"}},
    "i3d_r50": {"backbone": {"variant": "i3d_r50"}},
    "i3d_r101": {"backbone": {"variant": "i3d_r101"}},
    "nl_i3d_r50": {"backbone": {"variant": "i3d_r50", **_NONLOCAL_R50}},
    "nl_i3d_r101": {"backbone": {"variant": "i3d_r101", **_NONLOCAL_I3D_R101}},
    "slowfast_r50_4x16": {"backbone": {"variant": "slowfast_r50", **_SLOWFAST_4X16}},
    "slowfast_r50_8x8": {"backbone": {"variant": "slowfast_r50", **_SLOWFAST_8X8}},
    "slowfast_r101_8x8": {"backbone": {"variant": "slowfast_r101", **_SLOWFAST_8X8_SHORT}},
    "slowfast_r101_16x8": {"backbone": {"variant": "slowfast_r101", **_SLOWFAST_16X8_R101}},
    "slowfast_r50_8x8_nl": {
        "backbone": {"variant": "slowfast_r50", **_SLOWFAST_8X8_SHORT, **_NONLOCAL_R50}
    },
    "slowfast_r101_8x8_nl": {
        "backbone": {"variant": "slowfast_r101", **_SLOWFAST_8X8_SHORT, **_NONLOCAL_SLOWFAST_R101}
    },
    "slowfast_r101_16x8_nl": {
        "backbone": {"variant": "slowfast_r101", **_SLOWFAST_16X8_R101, **_NONLOCAL_SLOWFAST_R101}
    },
    "slowfast_r50_64f_112": {"backbone": {"variant": "slowfast_r50", **_SLOWFAST_64F}},
    "slowfast_r101_64f_112": {"backbone": {"variant": "slowfast_r101", **_SLOWFAST_64F}},
    "slowfast_r50_r1ch88": {"backbone": {"variant": "slowfast_r50", **_R1CH88}, "head": _NO_BIAS},
    "slowfast_r101_r1ch88": {
        "backbone": {"variant": "slowfast_r101", **_R1CH88},
        "head": _NO_BIAS,
    },
    "r2plus1d_r34": {"backbone": {"variant": "c2d_r34", **_R2PLUS1D, "stem_pool": False}},
    "r2plus1d_r50": {"backbone": {"variant": "c2d_r50", **_R2PLUS1D}},
    "r2plus1d_r101": {"backbone": {"variant": "c2d_r101", **_R2PLUS1D}},
    "r2plus1d_r50_ptv": {"backbone": {"variant": "c2d_r50", **_R2PLUS1D_PTV}},
    "ip_csn_r101": {"backbone": {"variant": "c2d_r101", **_IP_CSN}},
    "ip_csn_r152": {"backbone": {"variant": "c2d_r152", **_IP_CSN}},
    "ir_csn_r101": {"backbone": {"variant": "c2d_r101", **_IR_CSN}},
    "ir_csn_r152": {"backbone": {"variant": "c2d_r152", **_IR_CSN}},
    "r3d_r50": {"backbone": {"variant": "c2d_r50", **_R3D}},
    "r3d_r50_x1": {"backbone": {"variant": "c2d_r50", **_R3D_X1}},
    "r2plus1d_r50_x1": {"backbone": {"variant": "c2d_r50", **_R2PLUS1D_X1}},
    "mtnet_r50": {"backbone": {"variant": "c2d_r50", **_R3D_X1, **_MTCONV}},
    "srtg_r3d_r50": {"backbone": {"variant": "c2d_r50", **_R3D_X1, **_SRTG}},
    "srtg_r3d_r101": {"backbone": {"variant": "c2d_r101", **_R3D_X1, **_SRTG}},
    "srtg_r2plus1d_r50": {"backbone": {"variant": "c2d_r50", **_R2PLUS1D_X1, **_SRTG}},
    "srtg_r2plus1d_r101": {"backbone": {"variant": "c2d_r101", **_R2PLUS1D_X1, **_SRTG}},
    "mfnet": {"backbone": {"variant": "mfnet"}},
    "x3d_xs": {"backbone": {"variant": "x3d_xs"}, **_X3D},
    "x3d_s": {"backbone": {"variant": "x3d_s"}, **_X3D},
    "x3d_m": {"backbone": {"variant": "x3d_m"}, **_X3D},
    "x3d_l": {"backbone": {"variant": "x3d_l"}, **_X3D},
    "x3d_xl": {"backbone": {"variant": "x3d_xl"}, **_X3D},
    "mtnet_s": {"backbone": {"variant": "mtnet_s"}},
    "mtnet_m": {"backbone": {"variant": "mtnet_m"}},
    "mtnet_l": {"backbone": {"variant": "mtnet_l"}},
    "mtnet_s_text": {"backbone": {"variant": "mtnet_s", **_MTNET_TEXT}},
    "mtnet_m_text": {"backbone": {"variant": "mtnet_m", **_MTNET_TEXT}},
    "mtnet_l_text": {"backbone": {"variant": "mtnet_l", **_MTNET_TEXT}},
    "mtnet_xs_released": {"backbone": {"variant": "mtnet_xs_released"}, **_RELEASED},
    "mtnet_s_released": {"backbone": {"variant": "mtnet_s_released"}, **_RELEASED},
    "mtnet_m_released": {"backbone": {"variant": "mtnet_m_released"}, **_RELEASED},
    "mtnet_l_released": {"backbone": {"variant": "mtnet_l_released"}, **_RELEASED},
    "tpn_tsn_r50": {"backbone": {"variant": "c2d_r50"}, "neck": _TPN_SPARSE},
    "tpn_tsm_r50": {"backbone": {"variant": "c2d_r50", **_TSM}, "neck": _TPN_SPARSE},
    "tpn_slowonly_r18": {"backbone": {"variant": "slowonly_r18"}, "neck": _TPN},
    "tpn_slowonly_r50": {"backbone": {"variant": "slowonly_r50"}, "neck": _TPN},
    "tpn_slowonly_r101": {"backbone": {"variant": "slowonly_r101"}, "neck": _TPN},
}
"""Whole models by name: rows of arguments of `create`: `backbone`, `neck`, `head` and `stream`."""

CLIPS: dict[str, tuple[int, int]] = {
    "slowfast_*_64f_112": (64, 112),
    "slowfast_*_r1ch88": (64, 112),
    "slowfast_*_16x8*": (64, 224),
    "slowfast_*": (32, 224),
    "*_x1": (16, 224),
    "mtnet_r50": (16, 224),
    "srtg_*": (16, 224),
    "mfnet": (16, 224),
    "x3d_xs": (4, 160),
    "x3d_s": (13, 160),
    "x3d_m": (16, 224),
    "x3d_[lx]*": (16, 312),
    "mtnet_*_released": (16, 224),
    "mtnet_s*": (16, 182),
    "mtnet_[ml]*": (16, 224),
    "two_stream_*": (1, 224),
    "stpn_*": (1, 224),
    "*": (8, 224),
}
"""Clips to describe presets by, (frames, side in pixels): of the first pattern that fits."""


SNIPPETS: dict[str, int] = {"stpn_*_b": 1, "stpn_*": 3, "two_stream_*": 1}
"""Snippets of flow in them, of networks that see both; those of flow alone have the frames'."""

CHANNELS: dict[str, dict[str, int]] = {
    "*_rgb_diff": {"video": 15},
    "*": {"video": 3, "flow": 20},
}
"""Channels of each stream in them: five differences of colours, ten fields of flow."""


def clip_of(name: str) -> tuple[int, int]:
    """The clip of `CLIPS` for a preset."""
    return next(clip for pattern, clip in CLIPS.items() if fnmatch.fnmatch(name, pattern))


def channels_of(name: str) -> dict[str, int]:
    """The row of `CHANNELS` for a preset."""
    return next(row for pattern, row in CHANNELS.items() if fnmatch.fnmatch(name, pattern))


def clip_shapes(name: str, streams: Streams, num_frames: int, side_px: int) -> ClipShapes:
    """A clip of so many frames and pixels for a preset that reads these streams."""
    channels = channels_of(name)
    found = [count for pattern, count in SNIPPETS.items() if fnmatch.fnmatch(name, pattern)]
    lengths = {"video": num_frames, "flow": found[0] if found else num_frames}
    shapes = {s: (lengths[s], side_px, side_px, channels[s]) for s in streams}
    return shapes if len(shapes) > 1 else shapes[streams[0]]
