"""SlowFast and TSM from scratch on mod-UCF101: the DeepBlue solution of the VIPriors challenge.

    python -m tempo.main --config configs/vipriors.py:t1.elu_pool_acb --workdir runs/acb
    python -m tempo.main --config configs/vipriors.py:model=tsm,depth=101,shift=off ...
    python -m tempo.main --config configs/vipriors.py:t1.elu_pool_acb,data=tempobench,size=small \
        --workdir runs/acb_small

The records of the first come from `python -m tempo.prepare --dataset mod_ucf101 --short-side 140`
(README); those of the last are made on the spot. What follows the colon is a list of options,
separated by commas, first value the default:

    model         slowfast | tsm                        depth       50 | 101
    input         rgb | diff: frames, or their differences
    act           relu | elu | swish
    downsample    strided | pool_block | pool_pre | pool_shortcut
    conv_b        plain | acb3d (3*3+3*1+1*3) | acb2d | 2plus1d | 3x3x3
    inner         matched | equal: channels between the two of conv_b=2plus1d
    pathways      both | slow | fast: where conv_b goes
    nonlocal      off | dot_product | softmax           tam         off | on
    attention     none | cbam | se                      shift       on | off (TSM)
    geometry      64f_112 | r1ch88: with norms on lateral connections, or without and no bias
    slow_index    stride | linspace: which fast frames the slow path sees
    stages        abcd | abc | ab | none                threshold   0.5 (TSM: 0.53), of stage a
    lr_stage_a    1e-3, a rate: 1e-2 is what r1ch88/SlowFastNetworks trains a base with
    decay         all | kernels: what weight decay is for
    crop          crop_then_resize | resize_then_crop   corner_prob 0.5
    short         loop | hold_last: what follows the end of a short video
    scale         unit (x / 255 - 0.45) / 0.225 | r1ch88 (x - 128) / 128
    res_pad       extra | roll | repeat                 res_scale   std | half_shift
    res_abs       off | on                              tta         off | on | repeat
    split         val | test: what the end is measured on
    data          mod_ucf101 | tempobench               size        full | small

and at most one row of the report's tables 1 and 2: `t1.base`, `t1.nl`, `t1.2p1d`, `t1.elu_pool`,
`t1.elu_pool_nl`, `t1.elu_pool_tam`, `t1.elu_pool_acb`, `t1.attn`; `t2.sf50.rgb`, `t2.sf50.diff`,
`t2.sf101.rgb`, `t2.sf101.diff`, `t2.tsm50.shift`, `t2.tsm50.noshift`, `t2.tsm101.shift`,
`t2.tsm101.noshift`.

Stages, each from the last one's weights, 60 epochs each (`tempo.stages`):

    a_base      the network without its modules, plain crops and flips, until `threshold` is
                reached; of TSM, single frames without a shift
    b_modules   with its modules, whose added parts start as nothing where they can
    c_augment   interval 1 or 2, backwards or not, scale and corner crops, light, contrast
    d_concat    the same, of the video followed by itself backwards

A stage that ends below its threshold goes on to the next, and the log says so. `stages=none` is one
run from scratch with the augmentation of c. `tta=on` adds evaluators `tta01`, ... of the entries of
table 3 for this network and input, to the last stage; `tta=repeat` also `tta01_r2`, ..., which
`configs/vipriors_ensemble.py:ens3,star=repeat` reads. A finished run has their scores by
`--mode eval --config ...,tta=on --checkpoint runs/acb --workdir runs/acb --evaluators tta01,tta03`.

`data=tempobench` is TempoBench `symmetric`: ten classes (five motions x slow or fast) that stay
what they are mirrored or backwards; without a validation set, stages stop at what they reach on its
test set. `size=small` is for two CPU cores: 48 px, 32 frames (TSM 16), one block a stage (two in
res4 for depth=101), 8 channels in the stem and 4 in the fast path's, batch 16, rate 0.05, at most
12 epochs of stage a and 6 of each other one, no dropout.

Sources: arXiv 2007.08180; what it does not say: `tempo/papers/vipriors.py`. Expected, theirs, in
percent: 70.0 for `t1.base`, 73.5 for `t1.elu_pool_acb`, 72.1 for `t2.tsm50.shift`. tempo has not
run them. A single device needs smaller steps: `--config.loop.accumulate_steps=8`.
"""

import ml_collections

from tempo.papers import vipriors, vipriors_sections
from tempo.papers.vipriors_results import ROWS


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = vipriors.read(arg, ROWS["vipriors"])
    return vipriors_sections.fill(ml_collections.ConfigDict(), chosen)
