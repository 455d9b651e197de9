"""The ablations of MTNet that fit TempoBench and two CPU cores: their variants and commands."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from experiments import commands
from tempo.errors import InputError
from tempo.papers.mtnet_results import POOLINGS

DEFAULT = "default"
"""The variant that is in every study: ratio .875, SoftPool with frame selection, one GRU layer."""

EVALUATOR = "multi_view"
"""Whose hits are recorded."""

_RATIOS = ("0.875", "0.75", "0.625", "0.5", "0.375", "0.25")

STUDIES: dict[str, Mapping[str, str]] = {
    # Without a prolonged branch the paper has no gate either; the gate alone is our own row.
    "ratio": {
        "r=1, no gate": "ratio=1,layers=0",
        "r=1, gate": "ratio=1",
        **{f"r={r}": "" if r == "0.875" else f"ratio={r}" for r in _RATIOS},
    },
    "pool": {p: "" if p == "soft_triplet" else f"pool={p}" for p in POOLINGS},
    "cell": {c: "" if c == "gru" else f"cell={c}" for c in ("rnn", "lstm", "lstm_peephole", "gru")},
}
"""Options of the recipe by study and variant; "" is the default."""

PUBLISHED: dict[str, Mapping[str, str]] = {
    "ratio": {
        "r=1, no gate": "t6a.m_r1",
        **{f"r={r}": f"t6a.m_r{r}" for r in _RATIOS},
    },
    "pool": {pool: f"t6c.m_{pool}" for pool in POOLINGS},
    "cell": {cell: f"t6b.m_{cell}" for cell in ("rnn", "lstm", "lstm_peephole", "gru")},
}
"""Rows of `tempo.papers.mtnet_results` of the variants that the paper has, for MTNet-M on HACS."""

CONFIG = "configs/mtnet.py:s,tempo_bench,multigrid=off"

LENGTH = ("--config.total_epochs=10", "--config.eval.single_view.every_epochs=0")
"""Chosen for the default with seed 100, on the test videos: it is then well above chance and not
perfect. It is evaluated at the end alone."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
      name: of the variant; `DEFAULT` for the one that all studies share.
      options: of the recipe.
      seed: of the training.
      workdir: of the run.
      flags: of the command, besides.
    """

    name: str
    options: str
    seed: int
    workdir: pathlib.Path
    flags: tuple[str, ...]

    @property
    def config(self) -> str:
        """The recipe with its argument."""
        return f"{CONFIG},{self.options}" if self.options else CONFIG

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments of python."""
        return commands.training(self.config, self.workdir, self.seed, self.flags)

    @property
    def row(self) -> dict[str, str | int]:
        """What its row of `results.jsonl` begins with."""
        return {"name": self.name, "options": self.options, "seed": self.seed}

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


def plan(
    out: str, names: Sequence[str], seeds: Sequence[int], flags: Sequence[str] = ()
) -> list[Run]:
    """The trainings, every one once: all of a seed before the next.

    Args:
      out: folder of the ablation.
      names: of `STUDIES`.
      seeds: of the trainings.
      flags: `--config.KEY=VALUE` for every training.
    """
    variants = {
        options: variant_of(options) for name in names for options in STUDIES[name].values()
    }
    shared = (f"--config.data.dir={out}/data", *LENGTH, *flags)
    runs = [
        Run(name, options, seed, pathlib.Path(out) / f"seed{seed}" / name, shared)
        for seed in seeds
        for options, name in variants.items()
    ]
    if not runs:
        raise InputError("There is nothing to run; give --study and --seeds.")
    return runs


def variant_of(options: str) -> str:
    """The name of a variant in rows and folders."""
    return options.replace(",", "_") or DEFAULT
