"""What is known of a dataset by its name and not written in its records; `DATASETS` is the table.

A folder of videos needs no row of its own: `folder` takes everything from its manifest.
"""

import dataclasses

from tempo import errors
from tempo.types import LABEL_KINDS

MIRRORINGS = ("keep", "swap", "refuse")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Facts about a dataset that its records do not carry.

    Attributes:
      label_kind: one of `tempo.types.LABEL_KINDS`.
      num_classes: K; 0 if the manifest decides, as where a part of a dataset is of use.
      mirroring: what becomes of the label of a mirrored video: `keep`; `swap`, where classes that
        name left and right change places; `refuse`, where there is no such class: the host op
        `flip` and crops with mirror images are refused.
      reader: row of `tempo.data.readers.READERS`.
      fps: rate of its folders of frames; 0 if it has none, or the rate is not known.
      short_side_px: of the stored frames that its recipes are for; 0 for what `tempo.prepare` does
        unless told.
      source: the published files that `--annotations` takes, and what they give.
    """

    label_kind: str = "single"
    num_classes: int = 0
    mirroring: str = "keep"
    reader: str = "folder"
    fps: float = 0.0
    short_side_px: int = 0
    source: str = "no files (folders are classes)"

    def __post_init__(self):
        errors.lookup(dict.fromkeys(LABEL_KINDS), self.label_kind, "label kind")
        errors.lookup(dict.fromkeys(MIRRORINGS), self.mirroring, "mirroring")

    @property
    def is_mirror_safe(self) -> bool:
        """Whether a mirrored video has a label."""
        return self.mirroring != "refuse"


def _kinetics(num_classes: int) -> DatasetSpec:
    source = (
        f"train.csv, val.csv or validate.csv, test.csv ({num_classes} classes; train, val, test)"
    )
    return DatasetSpec(reader="kinetics", source=source)


DATASETS = {
    "folder": DatasetSpec(),
    "frame_folders": DatasetSpec(
        reader="frame_folders",
        source="no files (folders are classes, with a folder of 00001.jpg, ... for each video)",
    ),
    # Circles have a sense of rotation.
    "tempobench_pairs": DatasetSpec(num_classes=14, mirroring="refuse"),
    "tempobench_variance": DatasetSpec(num_classes=7, mirroring="refuse"),
    "tempobench_symmetric": DatasetSpec(num_classes=10),
    "ucf101": DatasetSpec(
        reader="ucf101",
        source="the folder ucfTrainTestlist with classInd.txt, trainlist01.txt, testlist01.txt; "
        "also 02, 03 (101 classes; train, test)",
    ),
    "mod_ucf101": DatasetSpec(
        reader="mod_ucf101",
        short_side_px=140,
        source="the folder ucfTrainTestlist of UCF-101 (101 classes; train, val, test)",
    ),
    "hmdb51": DatasetSpec(
        reader="hmdb51",
        source="the folder of <class>_test_split1.txt; also 2, 3 (51 classes; train, test)",
    ),
    "kinetics400": _kinetics(400),
    "kinetics600": _kinetics(600),
    "kinetics700": _kinetics(700),
    "ssv1": DatasetSpec(
        reader="ssv1",
        mirroring="swap",
        fps=12.0,
        source="something-something-v1-train.csv, -validation.csv and -labels.csv (174 classes; "
        "train, val)",
    ),
    "ssv2": DatasetSpec(
        reader="ssv2",
        mirroring="swap",
        fps=12.0,
        source="train.json, validation.json and labels.json, also test-answers.csv; or "
        "something-something-v2-*.json (174 classes; train, val, test)",
    ),
    "moments": DatasetSpec(
        reader="moments",
        source="trainingSet.csv, validationSet.csv and moments_categories.txt (339 or 305 classes; "
        "train, val)",
    ),
    "hacs": DatasetSpec(
        reader="hacs",
        source="HACS_clips_v1.1.1.csv (200 classes; positive clips of train, val)",
    ),
    "epic55": DatasetSpec(
        reader="epic55",
        label_kind="joint",
        fps=60.0,
        source="EPIC_train_action_labels.csv, EPIC_verb_classes.csv, EPIC_noun_classes.csv and, "
        "for a val split, RULSTM's training.csv and validation.csv (125 verbs, 352 nouns; train, "
        "val)",
    ),
    "charades": DatasetSpec(
        reader="charades",
        label_kind="multi",
        source="Charades_v1_train.csv, Charades_v1_test.csv and Charades_v1_classes.txt (157 "
        "classes; train, test)",
    ),
    "mmaction_videos": DatasetSpec(
        reader="mmaction_videos", source="lists of '<path> <label>' (train, val, test)"
    ),
    "mmaction_frames": DatasetSpec(
        reader="mmaction_frames",
        source="lists of '<folder> <number of frames> <label>' (train, val, test)",
    ),
    "mmaction_multilabel": DatasetSpec(
        reader="mmaction_multilabel",
        label_kind="multi",
        source="lists of '<path> <label> <label> ...' (train, val, test)",
    ),
    "slowfast": DatasetSpec(
        reader="slowfast",
        source="train.csv, val.csv, test.csv of '<path> <label>' or '<path>,<label>'",
    ),
}


def lookup(name: str) -> DatasetSpec:
    """The row of a dataset; `InputError` with the nearest name if there is none."""
    return errors.lookup(DATASETS, name, "dataset (config.data.name)")


def prepare_flags(name: str) -> str:
    """Arguments of `tempo.prepare` that make records of a dataset: what of, and of which size."""
    spec = lookup(name)
    own = "" if spec.reader == "folder" else f" --dataset {name}"
    size = f" --short-side {spec.short_side_px}" if spec.short_side_px else ""
    return f"--videos DIR{own}{size}"
