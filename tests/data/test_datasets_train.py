"""Every dataset in its published layout goes through the command and into a training step."""

import dataclasses
import json

import ml_collections
import numpy as np
import pytest

from tempo import prepare, train
from tempo.data import pipeline
from tempo.types import ClipSpec
from tests import compiled
from tests.data import published

LABELS = {"single": (np.int32, 1), "joint": (np.int32, 2), "multi": (np.uint8, 2)}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A fixture and the records the command made of it."""

    made: published.Published
    out: str


@pytest.fixture(autouse=True, scope="module")
def compiled_once(tmp_path_factory):
    """Datasets with as many classes share a compiled step."""
    with compiled.kept_in(tmp_path_factory.mktemp("compiled")):
        yield


@pytest.fixture(params=published.FIXTURES)
def prepared(request, tmp_path, tiny):
    made = published.FIXTURES[request.param].make(tmp_path / "published", tiny.write_video)
    out = str(tmp_path / "records")
    given = dict(made.arguments)
    flags = ["--videos", given.pop("videos_dir"), "--dataset", given.pop("dataset"), "--out", out]
    if lists := given.pop("annotations", ()):
        flags += ["--annotations", *lists]
    for name, value in given.items():
        flags += [f"--{name.replace('_', '-')}", value]
    assert prepare.main([*map(str, flags), "--num-workers", "1"]) == 0
    return Prepared(made, out)


def config(data_dir, batch_size):
    """One step of a network of four blocks."""
    return ml_collections.ConfigDict(
        {
            "batch_size": batch_size,
            "total_epochs": 1e-6,  # rounds to no step, and at least one is made
            "data": {"dir": data_dir, "num_workers": 0},
            "clip": {"num_frames": 4, "short": "loop"},
            "input": {"size_px": 32},
            "model": {
                "backbone": {"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 4},
                "head": {"dropout_prob": 0.0},
            },
            "mesh": {},
        }
    )


def test_published_files_become_records_and_a_training_step(prepared, tmp_path):
    made = prepared.made
    records = pipeline.open_records(prepared.out)
    assert records.dataset == made.arguments["dataset"]
    assert records.class_names == tuple(made.class_names)
    assert {name: len(records.split(name)) for name in records.splits} == dict(made.counts)

    split = records.split("train")
    dtype, ndim = LABELS[made.label_kind]
    assert (split.labels.dtype, split.labels.ndim) == (dtype, ndim)
    clip = ClipSpec(num_frames=4, short="loop")
    with pipeline.train_batches(split, clip=clip, batch_size=4, size_px=32) as batches:
        batch = next(batches)
    assert batch["video"].shape == (4, 4, 32, 32, 3) and batch["video"].std() > 0
    assert batch["label"].shape == (4, *split.labels.shape[1:])

    workdir = tmp_path / "run"
    assert train.train(config(prepared.out, batch_size=4), str(workdir)) == []
    (row,) = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert row["step"] == 1 and np.isfinite(row["loss"])
    if made.label_kind == "joint":
        assert {"train_verb_top1", "train_noun_top1"} <= row.keys()
