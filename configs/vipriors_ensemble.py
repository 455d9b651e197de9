"""Ensembles of the DeepBlue team in the VIPriors action challenge (arXiv 2007.08180, table 4).

    python -m tempo.ensemble --config configs/vipriors_ensemble.py:ens3 \
        --scores runs/*/scores/tta*.npz --out ens3.json

Three networks of `configs/vipriors.py`, trained with `tta=on`, make the members' score files:
`t2.sf50.rgb`, `t2.sf50.diff` and `t2.tsm50.shift`. `tta07.npz` is entry 7 of table 3: the mean,
before softmax, over 10 random clips; files of other names are left out. Files of the right name
that another row's network made are combined, and said to be: see DEVIATION in the output, and
`row` and `wanted_row` of a member in the JSON. What follows the colon is
the ensemble, `ens1` to `ens4` (`ens3`, the best one, if none is named), and after a comma how "*k"
in its name is read:

* `star=weight` (default): the entry's logits count k times.
* `star=repeat`: k repetitions of the entry, each with 10 random clips of its own, count once each.
  The score is the same on average and less noisy. Members `tta01`, `tta01_r2`, `tta01_r3`, ... are
  the same evaluator with other seeds; networks with `tta=repeat` have them all.

The report has no such word as "weight": it prints names ("center*2"), and which entries belong to
them is derived from those (`tempo/papers/vipriors_results.py`). The factors cannot be numbers of
entries, for the first ensemble has two center entries without one.

Expected, theirs, on the challenge's test set: 84.5, 86.3, 87.6 and 85.8 % top-1, with 75.6 % for
the best single entry. tempo has not run them.
"""

import ml_collections

from tempo.papers import arguments
from tempo.papers.vipriors_results import ENSEMBLES, ENTRIES, NETWORKS

OPTIONS = {"star": arguments.Option(default="weight", choices=("weight", "repeat"))}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = arguments.parse(arg, OPTIONS, dict.fromkeys(ENSEMBLES, ""))
    name = chosen.row or "ens3"
    ensemble, star = ENSEMBLES[name], chosen.values["star"]
    config = ml_collections.ConfigDict()
    config.name = f"{name}_repeat" if star == "repeat" else name
    config.average = "logits"
    config.calibrate = "none"
    config.published = {"top1": ensemble.published}
    config.members = {}
    tta = "repeat" if star == "repeat" else "on"
    for member, weight in ensemble.weights(star).items():
        number = int(member.removeprefix("tta")[:2])
        config.members[member] = {**_member(number, tta), "weight": weight}
    return config


def _member(number: int, tta: str) -> dict[str, str]:
    """Fields of `tempo.analysis.members.Member`, but for the weight."""
    entry = ENTRIES[number]
    row = NETWORKS[entry.model, entry.input]
    note = f"{entry.model} {entry.input}, interval {entry.interval}, {entry.crop}, {entry.order}"
    return {
        "row": row,
        "note": note + ", flipped" * entry.is_flipped,
        "command": f"python -m tempo.main --mode eval --config configs/vipriors.py:{row},tta={tta} "
        "--checkpoint DIR --workdir DIR --evaluators {names}",
    }
