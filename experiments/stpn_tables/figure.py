"""The t-SNE figure of models B, C and D: their features of the test videos, coloured by class."""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments import recorded
from experiments.stpn_tables import runs
from tempo.analysis import embedding, scores

FILE = "tsne.png"


def draw(out: str, folder: pathlib.Path) -> None:
    """Writes `FILE` into a folder, of the first seed that has all three; else nothing.

    Args:
      out: folder of the study.
      folder: to write to.
    """
    ended = {
        (row["name"], row["seed"]) for row in recorded.read(pathlib.Path(out) / "results.jsonl")
    }
    whole = [seed for _, seed in sorted(ended) if all((n, seed) in ended for n in runs.PLANE)]
    if not whole:
        return
    seed = min(whole)
    found = {
        one.name: scores.load(one.scores[one.name])
        for one in runs.plan(out, ["t4"], [seed])
        if one.name in runs.PLANE
    }
    if any("embedding" not in own.arrays for own in found.values()):
        return
    with plt.rc_context({"font.size": 9}):
        drawn, axes = plt.subplots(1, len(found), figsize=(9, 3.4), layout="constrained")
        for axis, (name, own) in zip(axes, found.items(), strict=True):
            plane = embedding.project(own.arrays["embedding"], own.labels)
            for label, class_name in enumerate(own.class_names):
                here = own.labels[plane.rows] == label
                color = plt.get_cmap("tab10")(label % 10)
                axis.scatter(*plane.xy[here].T, s=10, lw=0, color=color, label=class_name)
            axis.set_title(f"{runs.TABLES['t4'][name].split(':')[0]}, seed {seed}")
            axis.set_xticks([])
            axis.set_yticks([])
        handles, names = axes[0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
        drawn.savefig(folder / FILE, dpi=150, metadata={"Software": None})
        plt.close(drawn)
