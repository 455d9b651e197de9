"""What is known of a dataset by its name: splits, label kind, frame rate; `DATASETS` is the table.

A folder of videos needs no row of its own: `folder` takes classes and splits from its manifest.
"""

import dataclasses

from tempo import errors

LABEL_KINDS = ("single",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Facts about a dataset that its records do not carry.

    Attributes:
      train_split: the split to train on.
      eval_split: the split to evaluate on.
      label_kind: `single` (one class per video).
      num_classes: K; 0 if the manifest decides.
      fps: frame rate of the videos; 0 if they differ.
      is_mirror_safe: whether a mirrored video keeps its label. Where it does not, leave out the
        host op `flip` and crops with mirror images.
    """

    train_split: str = "train"
    eval_split: str = "test"
    label_kind: str = "single"
    num_classes: int = 0
    fps: float = 0.0
    is_mirror_safe: bool = True

    def __post_init__(self):
        errors.lookup(dict.fromkeys(LABEL_KINDS), self.label_kind, "label kind")


DATASETS = {
    "folder": DatasetSpec(),
    # Circles have a sense of rotation.
    "tempobench_pairs": DatasetSpec(num_classes=14, fps=25.0, is_mirror_safe=False),
    "tempobench_variance": DatasetSpec(num_classes=7, fps=25.0, is_mirror_safe=False),
}


def lookup(name: str) -> DatasetSpec:
    """The row of a dataset; `InputError` with the nearest name if there is none."""
    return errors.lookup(DATASETS, name, "dataset")
