"""What a paper reports: a row of one of its tables, and a table."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One published number and the options of its run.

    Attributes:
      arg: argument of the recipe.
      published: percent, by the key of `results.json`.
      evaluator: of the recipe, whose row of `results.json` compares.
      note: what else to know.
    """

    arg: str
    published: Mapping[str, float]
    evaluator: str = "multi_view"
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper.

    Attributes:
      title: for people.
      protocol: how its numbers were measured, in the paper's words.
      metrics: columns, keys of `results.json`.
      configs: recipes whose rows with this table's prefix belong here.
      rivals: numbers of other work that the table quotes, in the order of `metrics`; None if it
        gives none.
    """

    title: str
    protocol: str
    metrics: tuple[str, ...]
    configs: tuple[str, ...]
    rivals: Mapping[str, tuple[float | None, ...]] = dataclasses.field(default_factory=dict)
