"""TPN on Epic-Kitchens (EPIC-55): TSN with the Temporal Pyramid Network, a verb and a noun at once.

    python -m tempo.main --config configs/tpn_epic.py --workdir runs/tpn_epic
    python -m tempo.main --config configs/tpn_epic.py:t5.tsn --workdir runs/t5_tsn

The records come from `python -m tempo.prepare --dataset epic55` (README). What follows the colon is
a list of options, separated by commas, as in `configs/tpn_k400.py` except that the backbone is
`tsn` and `frames` is 8 (one frame of each of 8 segments) unless said; `steps` and `starts` are no
options here: the paper gives no epochs for steps, and a single clip is tested. Also at most one row
of table 5: `t5.tsn_tpn`, the plain recipe from ImageNet weights, or `t5.tsn`, without the neck.

Rows start from ImageNet weights, which
`python -m tempo.convert --source torchvision --input resnet50.pth --out weights/r50_imagenet`
makes; other folders are `--config.init_from=...`. The plain recipe starts from scratch, which is no
setting of the paper's and will be well below its numbers on a dataset of this size.

Two heads of 125 verbs and 352 nouns read the same pooled feature under one dropout mask: one linear
layer of 477 rows with a softmax for each group (977,373 parameters), and so does the auxiliary
head. The losses of the two add up; `--config.loss.task_weights.noun=0.5` weighs one. A label of -1
(a noun that is not known) gives that group no loss and does not count. An action's score is the
product of its verb's and noun's probabilities.

Sources. Paper (arXiv 2004.03548, section 4): 55 epochs, momentum 0.9, weight decay 1e-4, dropout
0.5, flip, 64 clips over 8 GPUs with a BatchNorm each, 8 segments, ten crops. Neither the paper nor
its code says more, and neither public code has this dataset: the rate of 0.01, its falls at 28 and
46 epochs (the fractions of the 150-epoch recipes) and the clipping at a norm of 20 (the other
recipe of 8 segments) are our choice, as are equal weights of the two losses. The two heads on one
feature are those of the dataset's authors (epic-kitchens-55-action-models). The paper prints 23,439
training segments; the split of RULSTM (arXiv 1905.09035), 28,472 - 4,979, has 23,493.

Expected, theirs, on their copy of the dataset (40 videos, 4,979 segments), 8 segments, ten crops:
TSN 39.7 noun and 48.2 verb top-1, TSN + TPN 41.3 and 61.1. tempo has not run them.

A single device needs smaller steps: `--config.loop.accumulate_steps=8` goes through 8 clips at a
time and has the BatchNorm of 8 GPUs exactly.
"""

import ml_collections

from tempo.papers import tpn
from tempo.papers.tpn_results import ROWS


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = tpn.read(
        arg, ROWS["tpn_epic"], without=("steps", "starts"), backbone="tsn", frames="8"
    )
    config = tpn.fill(
        ml_collections.ConfigDict(),
        chosen,
        dataset="epic55",
        total_epochs=55.0,
        weight_decay=1e-4,
        clip_norm=20.0,
        boundaries_epochs=(28, 46),
        views="ten_crop",
    )
    config.loss["task_weights"] = {"verb": 1.0, "noun": 1.0}
    return config
