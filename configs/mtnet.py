"""MTNet (arXiv 2011.03949): multi-temporal convolutions, from scratch on HACS, then fine-tuned.

    python -m tempo.main --config configs/mtnet.py:m,hacs --workdir runs/mtnet/t5.m
    python -m tempo.main --config configs/mtnet.py:m,k400 --workdir runs/mtnet/t1.m
    python -m tempo.main --config configs/mtnet.py:m,hacs,ratio=0.5,multigrid=off --workdir ...
    python -m tempo.main --config configs/mtnet.py:s,tempo_bench --workdir runs/mtnet_small
    python -m tempo.main --config configs/mtnet.py:s,tempo_bench --explain-schedule

Records come from `python -m tempo.prepare` (README); those of `tempo_bench` are made on the spot.
What follows the colon is a size, a dataset and options, separated by commas, first value the
default:

    size          m | s | l: s is m at 182 px; l has X3D-L's depths
    data          hacs | k400 | k700 | mit | ucf101 | tempo_bench
    init          hacs | scratch: weights of `runs/mtnet/t5.<size>` (not of hacs, tempo_bench)
    multigrid     both | off | short | long | per_epoch: cycles of clip shapes (arXiv 1912.00998);
                  of tempo_bench short is the default, for long cycles change the stride, and
                  there the tempo is the class
    crop          side of training crops: 182 for s, else 224
    net           mtnet, or of table II: r50_3d | r50_2plus1d | multifiber | slowonly | slowfast |
                  r50_mtconv

and of the network `mtnet`:

    ratio         0.875: share of local channels, above 0; 1 has no prolonged branch
    layers        1 | 2 | 0: of the recurrent gate; the tables' counts are of 1, the text says 2
    cell          gru | gru_reset_before | rnn | lstm | lstm_peephole
    pool          soft_triplet | avg_triplet | max_triplet: 1x2x2 and frame selection;
                  soft | avg | max | stochastic: 2x2x2
    block         mt4 | x3d | bottleneck                se          off | on
    input         split | full: what the branches read  lateral     post | pre: its activation
    norms         own | shared, of the prolonged branch last        linear | relu
    select        lowest | highest similarity           square      off | on
    border        interior | replicate                  indices     own | shared

or one row of the paper's tables: `t1.s`, `t2.r50_3d`, `t3.l`, `t4.l`, `t5.m`, `t6a.m_r0.5`,
`t6b.s_rnn`, `t6c.m_avg`, `ucf.l`; all of them: `python -m experiments.mtnet_tables.tables list`.

Numbers that the sources lost are our choice: start rates 0.1 (HACS, MiT) and 0.05 (Kinetics), decay
1e-4 and epochs 120, 130 and 110 are those of the authors' code, which is of another network; the
rate of UCF-101 (0.01), the multiplier of its convolutions (0.1), where the warm-up starts (a
tenth), the crops (182, 224; tests 182, 256) and dropout 0.5 are ours. `tempo/papers/mtnet.py` says
where everything is from.

`tempo_bench` is for two CPU cores: two blocks of 12 and 24 channels, 16 frames of 32 px, TempoBench
`pairs` (14 classes), 16 clips a step. Most of its time is compilation.

Expected, theirs, top-1 in percent: HACS 80.7, 83.4, 86.6 (s, m, l), Kinetics-400 74.8, 76.6, 78.1,
Moments in Time 35.2 (l), UCF-101 94.2, 95.4, 97.4. tempo has not run them.
"""

import ml_collections

from tempo.papers import mtnet, mtnet_sections
from tempo.papers.mtnet_results import ROWS


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = mtnet.read(arg, ROWS["mtnet"])
    return mtnet_sections.fill(ml_collections.ConfigDict(), chosen)
