"""`python -m tempo.doctor`: what is installed, what works and how fast, to paste into a bug report.

Versions, cores and memory, devices, settings, compile cache; a test of every codec; a test of every
kind of convolution, its output and gradients as compiled here against plain loops, with the
lowering in force; measured peaks. Takes some seconds. Names no user, host or folder.

Exit status: 0 all well, 1 a test failed, 2 bad input.
"""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from tempo import command_line, machine
from tempo.errors import InputError
from tempo.version import __version__

_WIDTH = 100
_UNITS = {
    "f32_flops_per_s": ("f32 matrix product", 1e9, "GFLOP/s"),
    "bf16_flops_per_s": ("bf16 matrix product", 1e9, "GFLOP/s"),
    "bytes_per_s": ("copy, read + written", 1e9, "GB/s"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    given = _parser().parse_args(argv)
    return command_line.run(lambda: _run(given.workdir, given.json))


def examine(
    workdir: str = "", tell: Callable[[str, dict[str, Any]], None] = lambda name, facts: None
) -> dict[str, dict[str, Any]]:
    """What there is to tell, section by section; JSON's types alone.

    A section that ends with an error is `{"failed": why}`.

    Args:
      workdir: the free space of its disk is told, too; "" for none.
      tell: called with the name and the facts of each section as soon as they are known, so that
        something is known even where a broken library takes the process down.

    Raises:
      InputError: the workdir is a file.
    """
    if workdir and os.path.exists(workdir) and not os.path.isdir(workdir):
        raise InputError(
            f"--workdir {os.path.basename(workdir)} is a file; name the folder of a run."
        )
    sections = {
        "tempo": lambda: {"version": __version__},
        "versions": machine.versions,
        "system": machine.system,
        **({"disk": lambda: machine.disk_gib(workdir)} if workdir else {}),
        "settings": machine.settings,
        "codecs": _codecs,
        "devices": machine.devices,
        "compile cache": _compile_cache,
        "convolutions": _convolutions,
        "peaks": _peaks,
    }
    report = {}
    for name, facts_of in sections.items():
        try:
            report[name] = facts_of()
        except Exception as error:
            # Whatever ails an installation, the rest is to be told as well.
            report[name] = {"failed": f"{type(error).__name__}: {_in_one_line(error)}"}
        tell(name, report[name])
    return report


def failures(report: dict[str, dict[str, Any]]) -> list[str]:
    """What failed, as `section: test`, or the section alone where nothing came of it."""
    failed = [name for name, facts in report.items() if "failed" in facts]
    tests = [("codecs", name, text) for name, text in report["codecs"].items()]
    rows = report["convolutions"].items()
    tests += [("convolutions", name, row["check"]) for name, row in rows if name != "failed"]
    return failed + [
        f"{section}: {name}" for section, name, text in tests if text.startswith("failed")
    ]


def _run(workdir: str, as_json: bool) -> int:
    def tell(name: str, facts: dict[str, Any]) -> None:
        print(_text(name, facts), flush=True)

    report = examine(workdir, **({} if as_json else {"tell": tell}))
    failed = failures(report)
    if as_json:
        print(json.dumps({**report, "failures": failed}, indent=2))
    else:
        print(f"{len(failed)} failed: {'; '.join(failed)}" if failed else "All tests passed.")
    return 1 if failed else 0


def _codecs() -> dict[str, str]:
    from tempo.data import selftest

    return {name: machine.without_folders(text) for name, text in selftest.check().items()}


def _compile_cache() -> dict[str, Any]:
    from tempo import program_cache

    with program_cache.cached_in("auto"):
        return machine.compile_cache()


def _convolutions() -> dict[str, dict[str, str]]:
    from tempo.layers import selftest

    checks = selftest.check()
    return {
        kind: {"lowering": lowering, "check": checks[kind]}
        for kind, lowering in selftest.table().items()
    }


def _peaks() -> dict[str, float]:
    from tempo import peaks

    return peaks.measured()


def _text(name: str, facts: dict[str, Any]) -> str:
    """A section as people read it."""
    if "failed" in facts:
        lines = [_wrapped("FAILED: " + facts["failed"])]
    elif name == "versions":
        lines = [_wrapped(", ".join(f"{k} {v}" for k, v in facts.items()))]
    elif name == "devices":
        own = ", ".join(f"{d['count']} x {d['kind']}{_memory(d)}" for d in facts["devices"])
        lines = _table({**facts, "devices": own})
    elif name == "convolutions":
        lines = _table({k: f"{row['lowering']:18}{row['check']}" for k, row in facts.items()})
    elif name == "peaks":
        lines = _table(
            {
                what: f"{facts[key] / unit:.1f} {unit_name}"
                for key, (what, unit, unit_name) in _UNITS.items()
            }
        )
    else:
        lines = _table(facts)
    return "\n".join((name, *lines))


def _table(facts: dict[str, Any]) -> list[str]:
    """A line per fact, with its unit as a word; those that are None, such as limits, not."""
    lines = []
    for key, value in facts.items():
        if value is not None:
            unit = " GiB" if key.endswith("_gib") else ""
            lines.append(f"  {key.removesuffix('_gib').replace('_', ' '):28}{value}{unit}")
    return lines or ["  none"]


def _memory(device: dict[str, Any]) -> str:
    gib = device["memory_gib"]
    return "" if gib is None else f", {gib} GiB each"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _in_one_line(error: Exception) -> str:
    return machine.without_folders(" ".join(str(error).split()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.doctor",
        description="Tells what is installed, what works and how fast, for a bug report.",
    )
    parser.add_argument("--workdir", default="", metavar="DIR", help="also tell its disk's space")
    parser.add_argument("--json", action="store_true", help="print JSON, at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
