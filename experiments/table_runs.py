"""What runs left behind, read for the tables of a paper: results, configs of all stages, means.

The stages of a run are those that it trained itself, and those of another run whose weights it
names in `init_from`, such as `runs/a/stages/a_spatial`: they are how its weights came about.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tempo import files, init_from, splits, stages
from tempo.errors import InputError

NEEDED = (
    "protocol", "views", "num_videos", "split", "dataset", "manifest_sha256", "checkpoint_step",
)  # fmt: skip
"""Keys of a row of `results.json` that a table shows."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run left behind.

    Attributes:
      path: of its `results.json`.
      config: as a nested dict; of a run in stages, that of the last.
      results: rows of `results.json`.
      stages: configs of the stages before, by name.
      lost: folders of stages before whose config is not there, by name.
    """

    path: str
    config: Mapping[str, Any]
    results: Sequence[Mapping[str, Any]]
    stages: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    lost: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Mean:
    """What `--splits` found, over all splits of a run.

    Attributes:
      path: of its `splits.json`.
      rows: of the mean, one per evaluator.
      runs: paths of the `results.json` of its splits, by split.
    """

    path: str
    rows: Sequence[Mapping[str, Any]]
    runs: Mapping[str, str]


def read_run(path: str) -> Run:
    """The run of a `results.json`.

    Raises:
      InputError: it is not there or holds something else, or has no config beside it.
    """
    config_path = pathlib.Path(path).with_name("config.json")
    for needed in (pathlib.Path(path), config_path):
        if not needed.is_file():
            raise InputError(
                f"{str(needed)!r} is no file; give the results.json of a run's workdir, which has "
                "its config.json beside it."
            )
    try:
        results, config = files.read_json(path), files.read_json(str(config_path))
        found, lost = _stages_before(config_path.parent, dict(config))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{path!r}, the config.json beside it or what stages.json there names is no JSON that "
            f"tempo wrote: {e}."
        ) from None
    if not isinstance(results, list):
        raise InputError(f"{path!r} is not the results.json of a run (a list of rows).")
    for row in results:
        lacking = [key for key in ("name", *NEEDED) if key not in row]
        if row.get("kind", "multi_view") == "multi_view" and lacking:
            raise InputError(
                f"{path!r}: a row of results.json has no {lacking[0]!r}; give one that tempo wrote."
            )
    return Run(path, config, results, found, lost)


def means_of(runs: Sequence[Run]) -> list[Mean]:
    """The means over splits that some of these runs are part of, each once.

    Raises:
      InputError: a `splits.json` that tempo did not write.
    """
    folders = dict.fromkeys(pathlib.Path(run.path).parent.parent for run in runs)
    found = []
    for folder in folders:
        path = folder / splits.RECORD
        if not path.is_file():
            continue
        try:
            record = files.read_json(str(path))
            of_split = {
                name: str(folder / own["workdir"] / "results.json")
                for name, own in record["splits"].items()
            }
            rows = [row for row in record["mean"] if {"name", "splits", "protocol"} <= {*row}]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise InputError(f"{str(path)!r} is no JSON that tempo wrote: {e}.") from None
        if any(run.path in of_split.values() for run in runs):
            found.append(Mean(str(path), rows, of_split))
    return found


def _stages_before(
    workdir: pathlib.Path, config: Mapping[str, Any]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Configs of the stages before the last, by name, and the folders of those that have none.

    Folders below the workdir that `stages.json` does not name are of no stage of this run.
    """
    record = workdir / "stages.json"
    ended = files.read_json(str(record)) if record.is_file() else []
    folders = {row["name"]: workdir / row["workdir"] for row in ended if row["workdir"] != "."}
    found = {
        name: dict(files.read_json(str(folder / "config.json"))) for name, folder in folders.items()
    }
    lost = {}
    for text in init_from.by_pathway(config.get("init_from") or "").values():
        folder = pathlib.Path(text)
        if folder.parent.name != stages.FOLDER or stages.names_in(text):
            continue
        if (folder / "config.json").is_file():
            found[folder.name] = dict(files.read_json(str(folder / "config.json")))
        else:
            lost[folder.name] = text
    return found, lost
