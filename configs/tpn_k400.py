"""TPN on Kinetics-400: SlowOnly (the paper's I3D), TSN or TSM with the Temporal Pyramid Network.

    python -m tempo.main --config configs/tpn_k400.py --workdir runs/tpn_k400
    python -m tempo.main --config configs/tpn_k400.py:t6c.cascade --workdir runs/t6c_cascade
    python -m tempo.main --config configs/tpn_k400.py:depth=101,frames=32x2,init=imagenet ...

The records come from `python -m tempo.prepare --dataset kinetics400` (README). What follows the
colon is a list of options, separated by commas, first value the default:

    like          paper | release: of the next six, where the paper and its public code differ
    flow          parallel | cascade | cascade_single | top_down | bottom_up | isolation
    alphas        paper | release | rule | equal | a number per level such as 4+8
    steps         paper (100, 125) | release (75, 125): epochs at which the rate falls tenfold
    crop          paper (short side 256 to 320) | release (random resized crop)
    color         none | jitter
    shift         mit | release: how TSM shifts
    backbone      slowonly | tsn | tsm                     depth     50 | 101
    frames        8x8, frames x stride; or 8, segments     neck      tpn | heads | none
    source        res45 | res5 | res345 | res2345          aux       second_top | all_but_top | none
    pyramids      flow | two: use the one pyramid of a flow twice
    spatial       conv | pool                              temporal  on | off
    single_depth  sample | pool (for source=res5)          init      scratch | imagenet
    starts        ticks | linspace: where the test clips begin
    short         hold_last | loop: what follows the end of a short video

and at most one row of the paper's tables 2, 3 and 6 (`t2.tpn_r50_32x2`, `t6a.res345`,
`t6b.no_spatial`, `t6c.parallel`, `t6d.r50_16x4_base`, ...), of the release's model zoo
(`zoo.r50_8x8`) or of mmaction2's (`mm.r50_8x8`); `python -m experiments.tpn_tables.tables list`
prints them all with their commands. Which components the rows of table 6b have is inferred: its
tick marks are not in the text.

Rows start from ImageNet weights, which
`python -m tempo.convert --source torchvision --input resnet50.pth --out weights/r50_imagenet` makes
(`r101_imagenet` for depth=101); other folders are `--config.init_from=...`. The plain recipe starts
from scratch and then zeroes the last norm of each block, as mmaction2 does; in its numbers that
costs 2.5 points (74.20 instead of 76.74).

Sources. Paper (arXiv 2004.03548, section 4): 150 epochs, rate 0.01 for 64 clips, momentum 0.9,
weight decay 1e-4, dropout 0.5, flip, BatchNorm not frozen and over the 8 clips of a GPU, clips of
64 frames at stride 8, 4 or 2, 224 px, auxiliary weight 0.5; 30 views of 256 px. Release
(decisionforce/TPN) and mmaction2 1.2, alike: Nesterov momentum, clipping at a norm of 40, decay of
all parameters. Where they differ: `tempo/papers/tpn.py`. Not copied: the release validates random
clips and tests mirrored ones too; mmaction2 leaves colour jitter on in validation. Training clips
begin at 0 to N - (T - 1) x tau - 1; the release stops at N - T x tau.

Expected, theirs, on their copies of the dataset (240,403 training videos, 19,769 or 19,796
validation videos), 10 clips x 3 crops: table 2, 77.7 top-1 and 93.3 top-5 for R50 32x2; table 6c,
76.1 and 92.5 for R50 8x8, the plain recipe with init=imagenet; mmaction2, 76.74 and 92.57 for
`mm.r50_8x8`. tempo has not run them.

A single device needs smaller steps: `--config.loop.accumulate_steps=8` goes through 8 clips at a
time and has the BatchNorm of 8 GPUs exactly; of `--config.batch_size=N` the rate and the norm
groups follow.
"""

import ml_collections

from tempo.papers import tpn
from tempo.papers.tpn_results import ROWS

STEPS = {"paper": (100, 125), "release": (75, 125)}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = tpn.read(arg, ROWS["tpn_k400"])
    values = chosen.values
    # Segments are tested with ten crops (table 3), clips at a stride with 30 views (table 2).
    views = "ten_crop" if tpn.is_segments(values) else f"k400_10x3_{values['starts']}"
    return tpn.fill(
        ml_collections.ConfigDict(),
        chosen,
        dataset="kinetics400",
        total_epochs=150.0,
        weight_decay=1e-4,
        clip_norm=40.0,
        boundaries_epochs=STEPS[values["steps"]],
        views=views,
    )
