"""Tables of a paper: the commands of their runs, and what runs gave beside what was published.

A study has a `Paper`, whose `commands` are every cell with what trains and evaluates it, and whose
`show` is Markdown from any number of `results.json` files, each beside the `config.json` of its
run; a cell without a run says so.

Which cell a run belongs to is decided by its config. The key `row` names a cell; besides, a run
belongs to every cell whose recipe has the very same numbers. Where a named run was made with other
numbers, such as a smaller batch, its line lists them: it is no repetition of the row. What does not
change the numbers is not compared: folders, workers, devices, micro-batches, logging, the seed, and
which evaluators the config has, for each line says how it was evaluated. Evaluators that decide
where a stage ends (`loop.stop_at`) are.

Stages before the last are compared too, those of another run (`streams=runs/stpn/t4.A`) by the
config that lies there; where it is gone, the line says that they were not compared. Of a run with
`--splits` the mean has a line of its own, where all its splits are given.
"""

import argparse
import dataclasses
import functools
import importlib.util
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from experiments.table_runs import Mean, Run, means_of, read_run
from tempo import protocols, stages
from tempo.errors import InputError
from tempo.types import ViewSpec

ROOT = pathlib.Path(__file__).resolve().parents[1]
FREE = (
    "row", "seed", "sharding_rules", "eval/", "init_from", "mesh/", "data/dir", "data/num_workers",
    "data/worker_kind", "loop/accumulate_steps", "loop/checkpoint_every_steps",
    "loop/keep_checkpoints", "loop/log_every_steps", "model/lowering", "model/norm_groups",
    "model/remat",
)  # fmt: skip
"""Keys of a config, or their beginnings, that make no other run. Micro-batches and groups of
BatchNorm are compared together, as the clips of a group: see `_numbers`."""
NAMES = {
    "top1": "top-1", "top5": "top-5", "noun_top1": "noun top-1", "verb_top1": "verb top-1",
    "mean_class": "mean of classes",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """A row of a table for one recipe.

    Attributes:
      recipe: file of `configs/`, without its ending.
      name: of the row.
      argument: of the recipe.
      row: its published numbers (`published`, percent, by metric), its `evaluator` and `note`.
      label: its name in a table.
      options: of the recipe, that its command has besides and that make no other row.
      flags: of its command, besides.
    """

    recipe: str
    name: str
    argument: str
    row: Any
    label: str
    options: str = ""
    flags: str = ""

    @property
    def run_row(self) -> str:
        """What the config of its run has as `row`."""
        return self.argument.split(",")[0]

    @property
    def command(self) -> str:
        """Trains and evaluates it."""
        workdir = f"runs/{self.recipe}/{self.run_row}"
        argument = ",".join(filter(None, (self.argument, self.options)))
        flags = f" {self.flags}" if self.flags else ""
        return (
            f"python -m tempo.main --config configs/{self.recipe}.py:{argument}{flags} "
            f"--workdir {workdir}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper:
    """The tables of one paper.

    Attributes:
      tables: by the prefix of their rows' names, such as those of `tempo.papers.tpn_results`.
      rows: by recipe and name; the name's first part is the table.
      arguments: of the recipe, for rows that are not the recipe's own: rows of several evaluators
        of one run. Each begins with the row of the run.
      options: of the recipe, by row, that a command has besides, see `Cell`.
      flags: by row, that a command has besides.
      about: what `commands` begins with.
    """

    tables: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    arguments: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    about: str = ""

    def cells(self, prefix: str) -> list[Cell]:
        """The rows of a table, in the paper's order."""
        recipes = self.tables[prefix].configs
        return [
            Cell(
                recipe=recipe,
                name=name,
                argument=self.arguments.get(name, name),
                row=row,
                label=name if len(recipes) == 1 else f"{recipe} {name}",
                options=self.options.get(name, ""),
                flags=self.flags.get(name, ""),
            )
            for recipe in recipes
            for name, row in self.rows[recipe].items()
            if name.split(".")[0] == prefix
        ]

    def commands(self) -> str:
        """Every cell with its command, as text."""
        lines = ["", self.about] if self.about else []
        for prefix, table in self.tables.items():
            lines += ["", f"{table.title}", f"published with: {table.protocol}"]
            for cell in self.cells(prefix):
                published = cell.row.published.items()
                theirs = ", ".join(f"{NAMES[k]} {percent(v)}" for k, v in published)
                note = f" ({cell.row.note})" if cell.row.note else ""
                lines.append(f"  {cell.recipe} {cell.name}: {theirs}{note}")
                lines.append(f"    {cell.command}")
        return "\n".join(lines[1:])

    def show(self, paths: Sequence[str]) -> str:
        """The tables as Markdown.

        Args:
          paths: `results.json` files.

        Raises:
          InputError: a file that is not there or holds something else, or one without its config.
        """
        runs = [read_run(path) for path in paths]
        means = means_of(runs)
        used: set[str] = set()
        parts = [self._table(prefix, runs, means, used) for prefix in self.tables]
        unused = [run.path for run in runs if run.path not in used]
        if unused:
            parts.append("Runs of no cell of these tables: " + ", ".join(unused) + ".")
        return "\n\n".join(parts)

    def _table(
        self, prefix: str, runs: Sequence[Run], means: Sequence[Mean], used: set[str]
    ) -> str:
        table = self.tables[prefix]
        heads = [f"{NAMES[metric]} {who}" for metric in table.metrics for who in ("theirs", "ours")]
        columns = ["row", *heads, "views", "videos", "dataset copy", "run"]
        lines = [
            f"### {table.title}",
            "",
            f"Theirs (published, on their copy of the dataset): {table.protocol}.",
            "",
            f"| {' | '.join(columns)} |",
            f"|{'---|' * len(columns)}",
        ]
        for name, numbers in table.rivals.items():
            shown = [text for number in numbers for text in (percent(number), "-")]
            lines.append(line([name, *shown, "", "", "", "published only, another method"]))
        missing, notes = [], {}
        for cell in self.cells(prefix):
            found = list(self._of_cell(cell, runs))
            used.update(run.path for run, *_ in found)
            lines += [_cell_line(cell, table.metrics, *facts) for facts in found]
            lines += _mean_lines(cell, table.metrics, found, means)
            if not found:
                missing.append(cell.label)
                theirs = [x for m in table.metrics for x in (_theirs(cell, m), "not run")]
                lines.append(line([cell.label, *theirs, "", "", "", f"`{cell.command}`"]))
            if cell.row.note:
                notes.setdefault(cell.row.note, []).append(cell.label)
        lines.append("")
        lines += [f"* {', '.join(names)}: {note}." for note, names in notes.items()]
        lines.append(
            f"* Not run: {', '.join(missing)}." if missing else "* Every row has been run."
        )
        return "\n".join(lines)

    def _of_cell(
        self, cell: Cell, runs: Sequence[Run]
    ) -> Iterator[tuple[Run, Mapping[str, Any], list[str]]]:
        """Runs of a cell: the run, a result of the cell's evaluator, and what deviates."""
        wanted = stages_of(cell.recipe, cell.argument)
        for run in runs:
            changed = _changed(wanted, run)
            is_named = run.config.get("row") == cell.run_row and self._is_of(run, cell.recipe)
            if changed and not is_named:
                continue
            rows = [
                row for row in run.results
                if row["name"] == cell.row.evaluator
                and row.get("kind", "multi_view") == "multi_view"
            ]  # fmt: skip
            for row in rows:
                yield run, row, changed

    def _is_of(self, run: Run, recipe: str) -> bool:
        """Whether a run that names a row means this recipe's, on this recipe's dataset.

        Two recipes may have rows of one name. Records called `folder` may be a copy of any dataset.
        """
        row = run.config["row"]
        dataset = run.config.get("data", {}).get("name", "folder")
        recipes = [name for name, rows in self.rows.items() if row in rows]
        if dataset == "folder":
            return recipes == [recipe]
        return dataset == config_of(recipe, row)["data"]["name"]


def config_of(recipe: str, argument: str) -> Mapping[str, Any]:
    """The config of a recipe with an argument, as a run stores it; of stages, that of the last."""
    return stages_of(recipe, argument)[""]


@functools.cache
def stages_of(recipe: str, argument: str) -> Mapping[str, Mapping[str, Any]]:
    """The configs of a recipe's stages by name, as runs store them; "" is the last, or the only."""
    path = ROOT / "configs" / f"{recipe}.py"
    spec = importlib.util.spec_from_file_location(recipe, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config: ml_collections.ConfigDict = module.get_config(argument)
    found = stages.split(config) or {"": config.to_dict()}
    *before, last = found
    return json.loads(json.dumps({**{name: found[name] for name in before}, "": found[last]}))


def percent(number: float) -> str:
    """With as many places as it was published with, one at least."""
    return f"{number:.1f}" if number == round(number, 1) else f"{number:.2f}"


def measured(result: Mapping[str, Any], metric: str) -> str:
    """Percent, with its interval where there is one."""
    if metric not in result:
        return "not measured"
    text = f"{100 * result[metric]:.2f}"
    if metric == "top1" and "ci95" in result:
        low, high = (100 * x for x in result["ci95"])
        text += f" ({low:.2f} to {high:.2f})"
    return text


def line(texts: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(text.replace('|', '/') for text in texts)} |"


def _cell_line(
    cell: Cell,
    metrics: Sequence[str],
    run: Run,
    result: Mapping[str, Any],
    changed: Sequence[str],
) -> str:
    """A run's result beside the published numbers."""
    views, expected = f"{result['views']}: {result['protocol']}", _views(cell).num_views
    numbers = _numbers_of(cell, metrics, result, bool(changed) or result["views"] != expected)
    if result["views"] != expected:
        views += f"; DEVIATES: the recipe has {expected} views"
    copy = f"{result['dataset']} {result['manifest_sha256'][:12]}, {result['split']}"
    note = f"{run.path}, step {result['checkpoint_step']}"
    if changed:
        note += "; DEVIATES: " + "; ".join(changed)
    note += "".join(f"; {name} not compared: no config in {run.lost[name]}" for name in run.lost)
    return line([cell.label, *numbers, views, str(result["num_videos"]), copy, note])


def _mean_lines(
    cell: Cell,
    metrics: Sequence[str],
    found: Sequence[tuple[Run, Mapping[str, Any], Sequence[str]]],
    means: Sequence[Mean],
) -> list[str]:
    """The means over splits beside the published numbers, where every split is a run of the cell.

    Args:
      cell: the row.
      metrics: of the table.
      found: of `Paper._of_cell`.
      means: of all runs.
    """
    expected, by_path, lines = _views(cell).num_views, {}, []
    for run, result, changed in found:
        by_path[run.path] = bool(changed) or result["views"] != expected
    for mean in means:
        for row in mean.rows:
            paths = [mean.runs.get(name, "") for name in row["splits"]]
            if row["name"] != cell.row.evaluator or not by_path.keys() >= {*paths}:
                continue
            numbers = _numbers_of(cell, metrics, row, any(by_path[path] for path in paths))
            about = f"mean of splits {', '.join(row['splits'])}"
            videos = str(row["num_videos"])
            lines.append(line([cell.label, *numbers, row["protocol"], videos, about, mean.path]))
    return lines


def _numbers_of(
    cell: Cell, metrics: Sequence[str], result: Mapping[str, Any], is_other: bool
) -> list[str]:
    """Theirs and ours of every metric."""
    mark = " DEVIATES" if is_other else ""
    return [x for m in metrics for x in (_theirs(cell, m), f"{measured(result, m)}{mark}")]


def _theirs(cell: Cell, metric: str) -> str:
    published = cell.row.published
    return percent(published[metric]) if metric in published else ""


def _views(cell: Cell) -> ViewSpec:
    """The views of the cell's evaluator as the recipe has them."""
    settings = config_of(cell.recipe, cell.argument)["eval"][cell.row.evaluator]
    fields = {"views", *(field.name for field in dataclasses.fields(ViewSpec))}
    return protocols.view_spec(**{k: v for k, v in settings.items() if k in fields})


def _changed(wanted: Mapping[str, Mapping[str, Any]], run: Run) -> list[str]:
    """What is other in a run than in the stages of a row, as far as the run's stages are known."""
    own = {**run.stages, "": run.config}
    changed = []
    for name in sorted((wanted.keys() | own.keys()) - run.lost.keys()):
        if name not in own or name not in wanted:
            changed.append(f"{name}: a stage of {'the row' if name in wanted else 'the run'} alone")
            continue
        found = _difference(_numbers(wanted[name]), _numbers(own[name]))
        changed += [f"{name}: {text}" if name else text for text in found]
    return changed


def _numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's numbers depend on, flat: `{"optim/clip_norm": 40.0, ...}`."""
    deciding = stages.deciding(config)
    flat = {
        k: v
        for k, v in _flatten(config).items()
        if not k.startswith(FREE) or k.startswith(deciding)
    }
    flat["init_from"] = "given weights" if config.get("init_from") else "from scratch"
    at_once = config.get("batch_size", 64) / config.get("loop", {}).get("accumulate_steps", 1)
    flat["clips per BatchNorm group"] = at_once / config.get("model", {}).get("norm_groups", 1)
    return flat


def _difference(wanted: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {own.get(key, 'not set')!r}, the row has {wanted.get(key, 'not set')!r}"
        for key in sorted(wanted.keys() | own.keys())
        if wanted.get(key) != own.get(key)
    ]


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, Mapping):
        flat = {}
        for key, value in tree.items():
            flat |= _flatten(value, f"{prefix}{key}/")
        return flat
    return {prefix.rstrip("/"): tree}


def main(study: Any, description: str, argv: Sequence[str] | None = None) -> int:
    """Parses the command line; the exit status.

    Args:
      study: has `commands()` and `show(paths)`: a `Paper`, or one with more to it.
      description: first line of the help.
      argv: the arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=description)
    subparsers = parser.add_subparsers(dest="command", required=True)
    subparsers.add_parser("list", help="the runs and their commands")
    showing = subparsers.add_parser("show", help="the tables as Markdown")
    showing.add_argument("results", nargs="*", help="result files of runs")
    args = parser.parse_args(argv)
    try:
        print(study.commands() if args.command == "list" else study.show(args.results))
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0
