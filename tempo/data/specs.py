"""What is known of a dataset by its name and not written in its records; `DATASETS` is the table.

A folder of videos needs no row of its own: `folder` takes everything from its manifest.
"""

import dataclasses

from tempo import errors
from tempo.types import LABEL_KINDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Facts about a dataset that its records do not carry.

    Attributes:
      label_kind: one of `tempo.types.LABEL_KINDS`.
      num_classes: K; 0 if the manifest decides.
      is_mirror_safe: whether a mirrored video keeps its label. Where it does not, the host op
        `flip` and crops with mirror images are refused.
    """

    label_kind: str = "single"
    num_classes: int = 0
    is_mirror_safe: bool = True

    def __post_init__(self):
        errors.lookup(dict.fromkeys(LABEL_KINDS), self.label_kind, "label kind")


DATASETS = {
    "folder": DatasetSpec(),
    # Circles have a sense of rotation.
    "tempobench_pairs": DatasetSpec(num_classes=14, is_mirror_safe=False),
    "tempobench_variance": DatasetSpec(num_classes=7, is_mirror_safe=False),
}


def lookup(name: str) -> DatasetSpec:
    """The row of a dataset; `InputError` with the nearest name if there is none."""
    return errors.lookup(DATASETS, name, "dataset (config.data.name)")
