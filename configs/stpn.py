"""Spatiotemporal pyramid networks (STPN, arXiv 1903.01038), two streams, and TSN on optical flow.

    python -m tempo.main --config configs/stpn.py:t4.D --workdir runs/stpn/t4.D
    python -m tempo.main --config configs/stpn.py:final.bninception,split=all --splits 1,2,3 \
        --workdir runs/stpn/final.bninception
    python -m tempo.main --config configs/stpn.py:model=B,base=resnet50,norm=l2 --workdir ...
    python -m tempo.main --config configs/stpn.py:t4.B,streams=runs/stpn/t4.A --workdir ...
    python -m tempo.main --config configs/stpn.py:t4.D,data=tempobench,size=small \
        --workdir runs/stpn_small

The records of the first come from `python -m tempo.prepare --dataset ucf101 --split-number 1
--short-side 256 --flow tvl1 --out data/ucf101_split1 ...` (README), the weights in
`weights/bninception_imagenet` from `tempo.convert`; those of the last are made on the spot, with
their flow. `tsn.warped` reads `data/ucf101_warped_split1`, prepared with `--flow-warped` besides.
What follows the colon is a list of options, separated by commas, first value the default:

    model         D | A | B | C: the pyramid, and what it is built up from: A averages the scores
                  of both networks, B fuses them, C fuses snippets too
                  snippets | attention: of the ablations, flow alone and attention alone
                  spatial | temporal: one network      tsn: three segments of `input`
    base          bninception | vgg16 | resnet50 | resnet152
    fusion        stcb (compact bilinear) | concat | sum | identity: of snippets
    paths         3 | 5 | 1: snippets; 1 is fusion=identity
    d1, d2, d3    1024, 2048, 4096: of each level's compact bilinear pooling; small 128, 128, 256
    norm          ssqrt_l2 | l2 | none: after each
    interval      5: fields from snippet to snippet in tests (1 to 10 in training), of paths=3|5
    stride_rule   center | gap: what the interval is between
    late          1.5: weight of the temporal scores in model A
    late_space    logit | prob                          aux         0: weight of auxiliary losses
    affine        frozen | trained: scales and biases of norms whose statistics are frozen
    cross         mean | mean_rescaled: first kernels of flow from those of colours (imagenet)
    positions     13 | 5: of training crops             warmup      0: steps of the new layers alone
    input         rgb | flow | rgb_diff | warped (model=tsn)
    streams       folder of a run with stages a_spatial and b_temporal (t4.A has both), whose
                  networks are fused; without, this run trains them first
    init          imagenet | scratch: weights/<base>_imagenet (not of tempobench)
    split         1 | 2 | 3 | all: with `--splits 1,2,3`
    flow          tvl1_jax | tvl1 | dis: of tempobench; of other data tempo.prepare says it
    data          ucf101 | hmdb51 | tempobench          size        full | small

and at most one row of the tables: `t1.<base>.spatial`, `t1.<base>.temporal`, `t1.<base>.twostream`;
`t2.concat.p1`, `t2.{concat,sum,cb}.p{3,5}`; `t3.avgpool`, `t3.att1`, `t3.att3concat`,
`t3.att3stcb`; `t4.A` to `t4.D`; `final.{vgg16,resnet50,bninception}`, `hmdb.{...}` (HMDB-51);
`tsn.{rgb,flow,rgb_diff,warped}`.

Stages of the models of both streams (`tempo.stages`):

    a_spatial     one frame a video
    b_temporal    one snippet of ten fields of flow
    c_joint       both networks and what fuses them, from the weights of a and b; A only scores

`data=tempobench` is TempoBench `symmetric`, ten classes (five motions x slow or fast) with TV-L1
flow. One frame tells nothing of them: the spatial network stays at chance. `size=small` is for two
CPU cores: 48 px, four blocks of 8 to 64 channels, batch 16, from scratch.

Sources: see `tempo/papers/stpn.py`, which says what they leave open. Expected, theirs, in percent
of UCF-101: 91.7, 93.2, 93.6, 94.6 for `t4.A` to `t4.D`; `tempo/papers/stpn_results.py` has all.
tempo has not run them. A single device needs smaller steps:
`--config.stages.c_joint.loop.accumulate_steps=8`.
"""

import ml_collections

from tempo.papers import stpn, stpn_sections
from tempo.papers.stpn_results import ROWS


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = stpn.read(arg, ROWS["stpn"])
    return stpn_sections.fill(ml_collections.ConfigDict(), chosen)
