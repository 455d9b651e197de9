"""The command line of a study of several commands: takes each once, lists them, makes the page.

    python -m experiments.SOME_STUDY --out DIR            # run: what has not ended, in order
    python -m experiments.SOME_STUDY plan --out DIR
    python -m experiments.SOME_STUDY report --out DIR --readme

A study says what its commands are and what is kept of each; how they are run, stopped and gone on
with is `experiments.commands`, how rows are kept `experiments.recorded`.
"""

import argparse
import dataclasses
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from experiments import commands, recorded
from experiments.benchmarks import report as report_lib
from tempo import files
from tempo.errors import InputError, RunError

Row = dict[str, Any]


class Planned(Protocol):
    """One command of a study; as text, what people call it."""

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments of python."""

    @property
    def row(self) -> Row:
        """What its row of `results.jsonl` begins with."""


@dataclasses.dataclass(frozen=True)
class Study:
    """What one study has of its own.

    Attributes:
      folder: of the study in the tree, with its `results.jsonl` and README.
      page: rows -> its tables, in Markdown.
      keys: of `Planned.row`, by which a row is that of a command.
      plan: (arguments, `--config.KEY=VALUE` flags) -> the commands in their order.
      is_begun: (folder of the run, command) -> whether the command goes on with what is there.
      ended: (folder of the run, command) -> what its row keeps of what it left.
      about: commands to come -> what their rows say of them besides, in the same order; finds
        those that cannot be before the first is run.
      environment: variables for the commands, where they are not set.
      draw: (folder of the run, folder to write to): its figures, where it has any.
    """

    folder: pathlib.Path
    page: Callable[[Sequence[Row]], str]
    keys: tuple[str, ...]
    plan: Callable[[argparse.Namespace, Sequence[str]], Sequence[Planned]]
    is_begun: Callable[[str, Any], bool]
    ended: Callable[[str, Any], Row]
    about: Callable[[Sequence[Any]], Sequence[Row]] = lambda todo: [{}] * len(todo)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    draw: Callable[[str, pathlib.Path], None] = lambda out, folder: None

    @property
    def results(self) -> pathlib.Path:
        """The recorded rows."""
        return self.folder / "results.jsonl"

    @property
    def readme(self) -> pathlib.Path:
        """The page."""
        return self.folder / "README.md"

    def run(self, out: str, planned: Sequence[Planned]) -> None:
        """Takes the commands that have not ended, and records each.

        Raises:
          InputError: another one is at work in the folder, or it has rows of another command.
          RunError: a command was stopped from outside.
          subprocess.CalledProcessError: a command failed.
          SystemExit: this process was told to stop.
        """
        results = pathlib.Path(out) / "results.jsonl"
        with commands.locked(out) as lock:
            hardware, todo = commands.hardware(), self.todo(out, planned)
            about = dict(zip(map(str, todo), self.about(todo), strict=True))
            for number, one in enumerate(planned, 1):
                at = f"[{number}/{len(planned)}] {one}"
                if one not in todo:
                    commands.say(f"{at}: has ended")
                    continue
                line = f"python {shlex.join(one.command)}"
                commands.say(f"{at}: {line}")
                is_resumed, start = self.is_begun(out, one), time.perf_counter()
                commands.start(one.command, out, lock, self.environment)
                wall_s = time.perf_counter() - start
                row = {
                    **one.row,
                    **self.ended(out, one),
                    **about[str(one)],
                    "wall_s": round(wall_s, 1),
                    "is_resumed": is_resumed,
                    **report_lib.environment(with_devices=False),
                    "hardware": hardware,
                    "command": line,
                }
                before = results.read_text() if results.is_file() else ""
                files.write_text(str(results), before + commands.as_line(row, out))
                commands.say(f"{at}: ended after {wall_s / 60:.1f} min")

    def todo(self, out: str, planned: Sequence[Planned]) -> list[Planned]:
        """The commands without a row.

        Raises:
          InputError: one was taken with other arguments.
        """
        rows = recorded.read(pathlib.Path(out) / "results.jsonl")
        taken = {self._key(row): row["command"] for row in rows}
        for one in planned:
            command = commands.without_folder(f"python {shlex.join(one.command)}", out)
            there = taken.get(self._key(one.row), command)
            if there != command:
                raise InputError(
                    f"{one} was taken with another command in {out!r}: {there}; give the same "
                    "flags, or another --out."
                )
        return [one for one in planned if self._key(one.row) not in taken]

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in self.keys)

    def describe(self, out: str, planned: Sequence[Planned]) -> str:
        """The commands, and which of them have ended."""
        todo = self.todo(out, planned)
        return "\n".join(
            f"[{number}/{len(planned)}] {one}{'' if one in todo else ': has ended'}\n"
            f"  python {shlex.join(one.command)}"
            for number, one in enumerate(planned, 1)
        )

    def report(self, out: str, *, is_readme: bool = False) -> str:
        """The tables of a folder, also written to its `tables.md`.

        Args:
          out: folder of the run; "" for the rows of the study.
          is_readme: take the rows beside the study's code, and the tables into its README.
        """
        results = pathlib.Path(out) / "results.jsonl" if out else self.results
        text = self.page(recorded.read(results))
        if out:
            files.write_text(str(results.with_name("tables.md")), text + "\n")
            self.draw(out, results.parent)
        if is_readme:
            if out:
                files.write_text(str(self.results), results.read_text())
                self.draw(out, self.folder)
            files.write_text(str(self.readme), recorded.with_tables(self.readme.read_text(), text))
        return text

    def main(self, parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
        """The study's command line; the exit status: 0 done, 1 a command failed, 2 bad input.

        Args:
          parser: has the arguments that `plan` reads.
          argv: the command line's by default.
        """
        add = parser.add_argument
        add("command", nargs="?", default="run", choices=("run", "plan", "report"))
        add("--out", default="", help="folder of the run")
        add("--readme", action="store_true", help="take rows and tables into the study's folder")
        args, flags = parser.parse_known_args(argv)
        try:
            wrong = [flag for flag in flags if not flag.startswith("--config.") or "=" not in flag]
            if wrong:
                raise InputError(f"Unexpected argument {wrong[0]!r}; flags are --config.KEY=VALUE.")
            if args.command != "report":
                if not args.out:
                    raise InputError("--out is missing: the folder of the run.")
                planned = self.plan(args, flags)
                if args.command == "plan":
                    print(self.describe(args.out, planned))
                    return 0
                self.run(args.out, planned)
            print(self.report(args.out, is_readme=args.readme))
        except InputError as e:
            print(f"error: {e}", file=sys.stderr)
            return 2
        except RunError as e:
            print(f"error: {e}", file=sys.stderr)
            return 1
        except subprocess.CalledProcessError as e:
            print(f"error: ended with status {e.returncode}: {shlex.join(e.cmd)}", file=sys.stderr)
            return 1
        return 0
