"""The section on pooled features: where videos lie in the plane (t-SNE)."""

import numpy as np

from tempo.analysis import compared, embedding, page
from tempo.analysis.compared import Compared, Run
from tempo.analysis.figures import features as figures
from tempo.analysis.page import Section, Text
from tempo.analysis.scores import Scores
from tempo.analysis.sections import wording
from tempo.analysis.sections.wording import SEED


def plane(c: Compared) -> Section:
    """t-SNE of the features of both runs, and how well their neighbours share a class."""
    key, title = "features", "Pooled features (t-SNE)"
    command = f"{c.run.command('multi_view')} --save_embedding"
    having = [(run, s) for run in c.runs if (s := _with_features(run)) is not None]
    if not having:
        return wording.missing(key, title, "pooled features", c.run, "multi_view", command)
    own = having[0][1]
    if not compared.groups(own):
        why = "Videos with any number of labels have no one class to be coloured by."
        return wording.unfit(key, title, why)
    if sum(compared.is_known(own)) < embedding.MIN_VIDEOS:
        return wording.unfit(key, title, f"{len(own)} videos are too few for t-SNE.")
    blocks, numbers = [], {}
    for run, s in having:
        block, values = _one(run, s)
        blocks.append(block)
        numbers[run.name] = values
    shares = "; ".join(
        f"{name} {page.share(values['same_class_neighbour'])}" for name, values in numbers.items()
    )
    text = (
        "The feature that the classifier reads, mean over the views of a video, laid out in the "
        "plane by t-SNE: near videos are similar, but distances between groups, their sizes and "
        "the axes mean nothing. In the features themselves, the nearest other video is of the "
        f"same class for: {shares}.{wording.first_group(compared.groups(own))}"
    )
    return Section(key, title, [Text(text), *blocks], numbers)


def _with_features(run: Run) -> Scores | None:
    """Its views' scores that hold features; None if none do."""
    main = run.of_kind("multi_view")
    found = [main, *run.scores.values()] if main else []
    return next((s for s in found if s.kind == "multi_view" and "embedding" in s.arrays), None)


def _one(run: Run, s: Scores) -> tuple[page.Figure, dict[str, object]]:
    group = compared.groups(s)[0]
    known = np.flatnonzero(group.labels >= 0)
    found = embedding.project(s.arrays["embedding"][known], group.labels[known], seed=SEED)
    rows = known[found.rows]
    drawn = figures.plane(found.xy, group.labels[rows], group.class_names)
    sample = ""
    if len(rows) < len(known):
        sample = f" A random sample of {len(rows)} of {len(known)} videos."
    caption = (
        f"t-SNE of the features of {run.name} (perplexity {found.perplexity:.0f}, begun from the "
        f"first two principal components, seed {SEED}).{sample}"
    )
    values = {
        "evaluator": s.name, "dimensions": int(s.arrays["embedding"].shape[1]),
        "perplexity": found.perplexity, "same_class_neighbour": found.same_class,
        "rows": rows, "xy": np.round(found.xy, 3),
    }  # fmt: skip
    figure = page.Figure(
        f"features_{run.name}", drawn.svg, drawn.png,
        f"A dot for each of {len(rows)} videos, coloured by class; dots of videos with similar "
        "features lie near each other.",
        wording.caption(caption, s, len(rows)),
    )  # fmt: skip
    return figure, values
