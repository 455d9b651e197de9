"""How big the named networks are said to be, by their authors and by public model zoos.

Numbers are theirs, not counted here. What they call FLOPs are multiply-adds, of one clip. Counters
differ in whether norms and pooling count; `tempo.models.size` counts convolutions and matrix
products alone.
"""

import dataclasses

from tempo.models import size

NUM_CLASSES = 400

_SLOWFAST = "arXiv 1812.03982, table 2"
_CSN = "arXiv 1904.02811"
_X3D = "arXiv 2004.04730, table 4"
_MTNET = "arXiv 2011.03949, table 1"
_MTNET_R50 = "arXiv 2011.03949, table 2"
_PTV = "PyTorchVideo's model zoo"
_PYSLOWFAST = "PySlowFast's model zoo"
_MMACTION2 = "mmaction2 1.2's model zoo"
_TORCHVISION = "torchvision's model zoo, one picture"


@dataclasses.dataclass(frozen=True)
class Published:
    """One source's numbers for a network with 400 classes.

    Attributes:
      source: who says so.
      num_frames: T of the clip that the multiply-adds are of: as the source says, or, where it does
        not, the one whose count of ours agrees.
      side_px: its height and width.
      gmacs: multiply-adds of the clip in G; None where only parameters are given.
      mparams: parameters in millions; None where only multiply-adds are given. Papers leave out
        those of norms.
    """

    source: str
    num_frames: int
    side_px: int
    gmacs: float | None = None
    mparams: float | None = None


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "slowonly_r50": (Published(_PTV, 4, 256, 27.55, 32.45), Published(_PTV, 8, 256, 54.52, 32.45)),
    "slowfast_r50_4x16": (
        Published(_SLOWFAST, 32, 256, 36.1),
        Published(_PTV, 32, 256, 36.69, 34.48),
    ),
    "slowfast_r50_8x8": (
        Published(_SLOWFAST, 32, 256, 65.7),
        Published(_PTV, 32, 256, 65.71, 34.57),
    ),
    # The paper's R101 8x8 has fewer temporal kernels than the public configuration, which this is.
    "slowfast_r101_8x8": (
        Published(_SLOWFAST, 32, 256, 106),
        Published(_PTV, 32, 256, 127.20, 62.83),
    ),
    "slowfast_r101_16x8": (
        Published(_SLOWFAST, 64, 256, 213),
        Published(_PTV, 64, 256, 215.61, 53.77),
    ),
    "slowfast_r101_16x8_nl": (Published(_X3D, 64, 256, 234, 59.9),),
    "i3d_r50": (Published(_MMACTION2, 32, 256, 43.56, 28.04),),
    "nl_i3d_r50": (Published(_MMACTION2, 32, 256, 54.33, 35.40),),
    "r2plus1d_r34": (Published(_X3D, 32, 112, 152, 63.6),),
    "r2plus1d_r50_ptv": (Published(_PTV, 16, 256, 76.45, 28.11),),
    "ir_csn_r101": (
        Published(_CSN, 32, 256, 73.8, 22.1),
        Published(_PTV, 32, 256, 75.62, 22.21),
    ),
    "ip_csn_r101": (Published(_CSN, 32, 256, 83.0, 24.5),),
    "ir_csn_r152": (Published(_CSN, 32, 256, 96.7, 29.6),),
    "ip_csn_r152": (
        Published(_CSN, 32, 256, 108.8, 32.8),
        Published(_MMACTION2, 32, 256, 110.34, 33.02),
    ),
    # The paper's multiply-adds are of one of its 30 test crops, PySlowFast's of a training crop.
    "x3d_xs": (
        Published(_PYSLOWFAST, 4, 160, 0.60, 3.8),
        Published(_PTV, 4, 182, 0.91, 3.79),
    ),
    "x3d_s": (
        Published(_PYSLOWFAST, 13, 160, 1.96, 3.8),
        Published(_PTV, 13, 182, 2.96, 3.79),
    ),
    "x3d_m": (
        Published(_X3D, 16, 256, 6.2, 3.8),
        Published(_PYSLOWFAST, 16, 224, 4.73, 3.8),
        Published(_PTV, 16, 256, 6.72, 3.79),
    ),
    "x3d_l": (
        Published(_X3D, 16, 356, 24.8, 6.1),
        Published(_PYSLOWFAST, 16, 312, 18.37, 6.2),
    ),
    "x3d_xl": (Published(_X3D, 16, 356, 48.4, 11.0),),
    "tsm_r50": (Published(_MMACTION2, 8, 224, 32.88, 23.87),),
    "mtnet_s": (Published(_MTNET, 16, 182, 5.8, 25.8),),
    "mtnet_m": (Published(_MTNET, 16, 224, 8.8, 25.8),),
    # No network of the others' kind has the large one's parameters, see `tempo.models.mtnet`.
    "mtnet_l": (Published(_MTNET, 16, 224, 17.6, 50.1),),
    # FLOPs of the other three are twice the multiply-adds; of the first that cannot be told.
    "mtnet_r50": (Published(_MTNET_R50, 16, 224, 23.1, 35.7),),
    "r3d_r50_x1": (Published(_MTNET_R50, 16, 224, 53.2 / 2, 36.7),),
    # The authors' release has 34.9 M: its first blocks have fewer channels between the kernels.
    "r2plus1d_r50_x1": (Published(_MTNET_R50, 16, 224, 56.0 / 2, 38.8),),
    "mfnet": (
        Published("arXiv 1807.11195", 16, 224, 11.1, 8.0),
        Published(_MTNET_R50, 16, 224, 22.5 / 2, 8.0),
    ),
    # Parameters are told of 1000 classes there.
    "tsn_r152": (Published(_TORCHVISION, 1, 224, 11.51),),
    "tsn_vgg16": (Published(_TORCHVISION, 1, 224, 15.47),),
    "tanet_r50": (Published(_MMACTION2, 8, 256, 43.07, 25.59),),
}
"""By preset; of most clips the source tells the frames and that evaluation is at 256 px."""


def beside_ours(name: str) -> list[str]:
    """A table of the published numbers of a preset, each beside what is counted here; traces only.

    Empty where nothing is published.
    """
    rows = PUBLISHED.get(name, ())
    counts = {
        clip: size.count(NUM_CLASSES, {"name": name}, (clip[0], clip[1], clip[1], 3))
        for clip in {(row.num_frames, row.side_px) for row in rows}
    }
    lines = []
    for row in rows:
        params, macs = counts[row.num_frames, row.side_px]
        lines.append(
            f"{f'{row.num_frames}x{row.side_px}':>8}  GMACs {_told(row.gmacs)} here "
            f"{macs / 1e9:7.2f}  M parameters {_told(row.mparams)} here {params / 1e6:6.2f}  "
            f"({row.source})"
        )
    return lines


def _told(number: float | None) -> str:
    return f"{'-' if number is None else f'{number:g}':>6}"
