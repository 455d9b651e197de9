"""What the tables need is run by commands that their benchmarks understand."""

import importlib

import pytest

from experiments.benchmarks import all as run_all
from experiments.benchmarks import peers, report, table

COMMANDS = [command for of in run_all.COMMANDS.values() for command in of]


@pytest.mark.parametrize("command", COMMANDS)
def test_benchmarks_take_their_options(command, monkeypatch):
    name, *options = command.split()
    benchmark = importlib.import_module(f"experiments.benchmarks.{name}")
    seen = []

    class Parsed(Exception):
        pass

    def parse(parser, argv):
        seen.append(parser.__class__.parse_known_args(parser, argv)[0])
        raise Parsed

    monkeypatch.setattr("argparse.ArgumentParser.parse_args", parse)
    with pytest.raises(Parsed):
        benchmark.main([*options, "--results"])
    assert seen[0].out == report.RESULTS
    assert any(name in shown.benchmarks for shown in table.TABLES.values())
    if getattr(seen[0], "peer", None) == "torch":
        peers.check(seen[0].model)


def test_a_failure_is_told_and_the_others_are_run(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(run_all, "_run", lambda command: ran.append(command) or len(ran) > 1)
    assert run_all.main(["--only", "x3d_s"]) == 1
    assert [command.split()[0] for command in ran] == ["train_step", "inference"]
    assert capsys.readouterr().err == f"error: failed: {ran[0]}\n"
    assert run_all.main(["--list"]) == 0 and len(ran) == 2
