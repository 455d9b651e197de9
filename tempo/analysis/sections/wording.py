"""What sections say alike: captions, missing scores, intervals, names of groups."""

from collections.abc import Sequence

from tempo.analysis import page, statistics
from tempo.analysis.compared import Compared, Group, Run
from tempo.analysis.page import Section
from tempo.analysis.scores import Scores

SEED = 0
"""Of every bootstrap, sample and projection."""


def caption(text: str, scores: Scores, num: int | None = None) -> str:
    """A caption: what is shown, then of how many videos, by which protocol."""
    videos = page.FORMATS["count"](len(scores) if num is None else num)
    return f"{text} {videos} videos; {scores.protocol}."


def missing(key: str, title: str, what: str, run: Run, kind: str, command: str = "") -> Section:
    """A section without its scores.

    Args:
      key: of the section.
      title: of the section.
      what: is not there, such as `per-frame scores`.
      run: that does not have it.
      kind: of evaluator that makes it.
      command: that makes it; "" for that of `Run.command`.
    """
    text = f"{run.name} has no {what} yet. This command makes them:"
    return Section(key, title, [page.Text(text, command or run.command(kind))], {}, True)


def unfit(key: str, title: str, why: str) -> Section:
    """A section that these runs cannot have."""
    return Section(key, title, [page.Text(why)], {"not_applicable": True})


def estimate(found: statistics.Estimate) -> dict[str, float]:
    """An estimate for the JSON."""
    return {"value": found.value, "ci95": [found.low, found.high], "num": found.num}


def cells(found: statistics.Estimate) -> dict[str, object]:
    """An estimate as two cells: `value`, and the ends of its interval as `ci95`."""
    return {"value": found.value, "ci95": [found.low, found.high]}


def of_group(group: Group) -> str:
    """How a title says which classes it is about."""
    return f" ({group.name})" if group.name else ""


def first_group(found: Sequence[Group]) -> str:
    """What is said where several groups could be meant."""
    return f" Classes are those of the {found[0].name}." if len(found) > 1 else ""


def without_baseline(compared: Compared, kind: str, what: str) -> page.Text | None:
    """What is said where the baseline has no such scores; None where it has, or there is none."""
    if compared.baseline is None or compared.pair(kind)[1] is not None:
        return None
    text = f"The baseline {compared.baseline.name} has no {what} yet. This command makes them:"
    return page.Text(text, compared.baseline.command(kind))


def other_protocol(compared: Compared, kind: str) -> page.Warn | None:
    """A warning where run and baseline were not measured alike; None where they were."""
    own, base = compared.pair(kind)
    if own is None or base is None or own.protocol == base.protocol:
        return None
    return page.Warn(
        f"The two runs were not measured alike, so the difference is not the networks' alone: "
        f"{compared.run.name} by {own.protocol}; {compared.baseline.name} by {base.protocol}."
    )
