"""The section on where every number comes from."""

from tempo.analysis import page, statistics
from tempo.analysis.compared import Compared
from tempo.analysis.page import Column, Section, Table, Text
from tempo.analysis.sections import wording


def provenance(c: Compared) -> Section:
    """Protocol, dataset copy and checkpoint of every score file."""
    rows, copies = [], {}
    for run in c.all_runs:
        for s in run.scores.values():
            rows.append(
                {
                    "run": run.name,
                    "evaluator": s.name,
                    "step": s.checkpoint_step,
                    "videos": len(s),
                    "protocol": s.protocol,
                }
            )
            copy = {"dataset": s.dataset, "split": s.split, "copy": s.manifest_sha256}
            copies[tuple(copy.values())] = {k: v or "not said" for k, v in copy.items()}
    columns = [
        Column("run", "run"), Column("evaluator", "evaluator"), Column("step", "step", "count"),
        Column("videos", "videos", "count"), Column("protocol", "protocol", "long"),
    ]  # fmt: skip
    of_copies = [
        Column("dataset", "dataset"), Column("split", "split"),
        Column("copy", "copy (SHA-256)", "code"),
    ]  # fmt: skip
    blocks = [
        Text(
            "Every number of this page is computed from these files of scores of single videos. "
            "The copy is the hash of the dataset's list of videos. Intervals are percentiles of "
            f"{statistics.NUM_RESAMPLES} bootstrap resamples with seed {wording.SEED}."
        ),
        *_mixed(c),
        Table("datasets", of_copies, list(copies.values())),
        Table("files", columns, rows),
    ]
    return Section("provenance", "Where the numbers come from", blocks)


def _mixed(c: Compared) -> list[page.Warn]:
    """A warning for each run whose files are of several checkpoints."""
    found = []
    for run in c.all_runs:
        steps = sorted({s.checkpoint_step for s in run.scores.values()})
        if len(steps) > 1:
            listed = ", ".join(map(str, steps))
            found.append(
                page.Warn(
                    f"The scores of {run.name} are of several checkpoints (steps {listed}): they "
                    "are not of one network. Evaluate again."
                )
            )
    return found
