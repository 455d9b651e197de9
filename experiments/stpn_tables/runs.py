"""The runs of STPN's ablations on TempoBench: rows of the recipe, and which need which."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from experiments import commands
from tempo.errors import InputError
from tempo.papers import stpn

FIRST = "t4.A"
"""Trains the two networks that all others of a seed start from."""

TABLES: dict[str, Mapping[str, str]] = {
    "t4": {
        "spatial": "frames alone",
        "temporal": "flow alone",
        "t4.A": "A: scores averaged",
        "t4.B": "B: + both fused",
        "t4.C": "C: + three snippets fused",
        "t4.D": "D: + attention",
    },
    "t2": {
        "temporal": "one snippet",
        "t2.concat.p3": "concatenation, 3 paths",
        "t2.concat.p5": "concatenation, 5 paths",
        "t2.sum.p3": "sum, 3 paths",
        "t2.sum.p5": "sum, 5 paths",
        "t2.cb.p3": "compact bilinear, 3 paths",
        "t2.cb.p5": "compact bilinear, 5 paths",
    },
}
"""What is shown of the runs, by table and name: rows of the recipe, or the two networks of `FIRST`,
which are its stages."""

STAGES = {"spatial": "stages/a_spatial", "temporal": "stages/b_temporal"}
"""Folders of the two networks below the workdir of `FIRST`."""

PUBLISHED = {
    "spatial": "t1.bninception.spatial",
    "temporal": "t2.concat.p1",
    **{name: name for rows in TABLES.values() for name in rows if "." in name},
}
"""Rows of `tempo.papers.stpn_results` by name."""

PLANE = ("t4.B", "t4.C", "t4.D")
"""Models of the t-SNE figure."""

EVALUATOR = "multi_view"
"""Whose hits are recorded."""

OPTIONS = "data=tempobench,size=small"

VIEWS = ("--config.data.generate.num_test=200", "--config.eval.multi_view.num_clips=5")
"""More videos with fewer views of each than the recipe has, at about its cost: narrower
intervals."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One command.

    Attributes:
      name: row of the recipe.
      seed: of the training.
      workdir: of the run.
      streams: workdir of the run whose networks it starts from; "" trains its own.
      flags: of the command, besides.
    """

    name: str
    seed: int
    workdir: pathlib.Path
    streams: str
    flags: tuple[str, ...]

    @property
    def config(self) -> str:
        """The recipe with its argument."""
        streams = f",streams={self.streams}" if self.streams else ""
        return f"configs/stpn.py:{self.name},{OPTIONS}{streams}"

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments of python."""
        return commands.training(self.config, self.workdir, self.seed, self.flags)

    @property
    def row(self) -> dict[str, str | int]:
        """What its row of `results.jsonl` begins with."""
        return {"name": self.name, "seed": self.seed}

    @property
    def scores(self) -> dict[str, pathlib.Path]:
        """Its score files by the names of `TABLES`."""
        folders = {self.name: ""} | (STAGES if self.name == FIRST else {})
        file = pathlib.Path("scores") / f"{EVALUATOR}.npz"
        return {name: self.workdir / folder / file for name, folder in folders.items()}

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


def plan(
    out: str, tables: Sequence[str], seeds: Sequence[int], flags: Sequence[str] = ()
) -> list[Run]:
    """The runs, every one once: all of a seed before the next, `FIRST` before the others.

    Args:
      out: folder of the study.
      tables: of `TABLES`.
      seeds: of the trainings.
      flags: `--config.KEY=VALUE` for every run.

    Raises:
      InputError: nothing to run, or a folder that the recipe's `streams` cannot name.
    """
    stpn.OPTIONS["streams"].check("--out", out)
    wanted = dict.fromkeys(name for table in tables for name in TABLES[table] if "." in name)
    if not wanted or not seeds:
        raise InputError("There is nothing to run; give --tables and --seeds.")
    shared = (f"--config.data.dir={out}/data", *VIEWS, *flags)
    runs = []
    for seed in seeds:
        folder = pathlib.Path(out) / f"seed{seed}"
        for name in dict.fromkeys((FIRST, *wanted)):
            streams = "" if name == FIRST else str(folder / FIRST)
            runs.append(Run(name, seed, folder / name, streams, shared))
    return runs
