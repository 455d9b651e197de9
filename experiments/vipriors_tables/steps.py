"""The steps of the chain: networks and their entries of table 3, ensembles, and the commands."""

import dataclasses
import pathlib
from collections.abc import Sequence

from tempo.papers.vipriors_results import ENSEMBLES

_SIZE = "data=tempobench,size=small"
_SMALLER = ("--config.eval.multi_view.num_clips=2",)
"""Half the views behind every stage, whose results the chain does not show."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the chain.

    Attributes:
      argument: of `configs/vipriors.py`, besides size and data.
      entries: of table 3, by number.
    """

    argument: str
    entries: tuple[int, ...]


NETWORKS = {
    "base_rgb": Network("t1.base", (1, 3, 5, 6, 7)),
    "base_diff": Network("t1.base,input=diff", (2, 4, 8, 9, 16)),
    "acb_rgb": Network("t2.sf50.rgb", (1, 3, 5, 6, 7, 15, 17, 19, 20, 21)),
    "acb_diff": Network("t2.sf50.diff", (2, 4, 8, 9, 16, 18, 22)),
    "tsm": Network("t2.tsm50.shift", (10, 11, 12, 13, 14)),
}
COMBINED = {"base": ("ens1", "ens2"), "acb": ("ens1", "ens2", "ens3", "ens4")}
"""Rows of table 4 by variant of SlowFast, which is combined with its own residual network and the
one TSM: of the base, those whose entries it has."""
MAIN = "single_view"
"""Evaluator of every stage."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One command of the chain.

    Attributes:
      kind: `train`, `evaluate` or `ensemble`.
      name: of the network, or `<variant>_<row of table 4>`.
      seed: of the training.
      command: arguments of python.
    """

    kind: str
    name: str
    seed: int
    command: tuple[str, ...]

    @property
    def row(self) -> dict[str, str | int]:
        """What its row of `results.jsonl` begins with."""
        return {"step": self.kind, "name": self.name, "seed": self.seed}

    def __str__(self) -> str:
        return f"{self.kind} {self.name}, seed {self.seed}"


def plan(out: str, seeds: Sequence[int], flags: Sequence[str] = ()) -> list[Step]:
    """The steps, in their order: all of a seed before the next.

    Args:
      out: folder of the chain.
      seeds: of the trainings.
      flags: `--config.KEY=VALUE` for every training and evaluation.
    """
    steps = []
    for seed in seeds:
        for name, network in NETWORKS.items():
            folder = str(workdir(out, name, seed))
            shared = (f"--config.seed={seed}", f"--config.data.dir={out}/data", *_SMALLER, *flags)
            recipe = f"configs/vipriors.py:{network.argument},{_SIZE}"
            steps.append(
                Step(
                    "train", name, seed,
                    ("-m", "tempo.main", "--config", recipe, "--workdir", folder, *shared),
                )
            )  # fmt: skip
            evaluators = ",".join(evaluator(number) for number in network.entries)
            steps.append(
                Step(
                    "evaluate", name, seed,
                    (
                        "-m", "tempo.main", "--mode", "eval", "--config", f"{recipe},tta=on",
                        "--evaluators", evaluators, "--checkpoint", folder, "--workdir", folder,
                        *shared,
                    ),
                )
            )  # fmt: skip
        steps += [
            combination(out, v, name, seed) for v, names in COMBINED.items() for name in names
        ]
    return steps


def combination(out: str, variant: str, name: str, seed: int) -> Step:
    """The ensemble of a row of table 4."""
    paths = [
        str(workdir(out, network, seed) / "scores" / f"{evaluator(number)}.npz")
        for network, number in members(variant, name)
    ]
    command = (
        "-m", "tempo.ensemble", "--config", f"configs/vipriors_ensemble.py:{name}",
        "--scores", *paths,
        "--out", str(ensemble_file(out, variant, name, seed)),
        "--out-scores", str(ensemble_file(out, variant, name, seed).with_suffix(".npz")),
    )  # fmt: skip
    return Step("ensemble", f"{variant}_{name}", seed, command)


def members(variant: str, name: str) -> list[tuple[str, int]]:
    """(network, entry) of a row of table 4, in the order of the entries."""
    mine = (f"{variant}_rgb", f"{variant}_diff", "tsm")
    has = {number: network for network in mine for number in NETWORKS[network].entries}
    return [(has[number], number) for number in ENSEMBLES[name].ids]


def evaluator(number: int) -> str:
    """Name of the evaluator of an entry of table 3."""
    return f"tta{number:02d}"


def workdir(out: str, name: str, seed: int) -> pathlib.Path:
    """Of a network."""
    return pathlib.Path(out) / f"seed{seed}" / name


def ensemble_file(out: str, variant: str, name: str, seed: int) -> pathlib.Path:
    """What `tempo.ensemble` writes."""
    return pathlib.Path(out) / f"seed{seed}" / "ensembles" / f"{variant}_{name}.json"
