"""A network that reads flow gets, from a file, what it would get from a dataset with that flow."""

import jax
import numpy as np
import pytest

from tempo import experiment, models, pretrained
from tempo.data import pipeline
from tempo.errors import InputError
from tempo.models import tracing
from tempo.prediction.predictor import Predictor, Windows
from tests import tiny

MODEL = {
    "backbone": {"variant": "c2d_r18", "depths": (1, 1, 1, 1), "width": 4},
    "stream": "flow",
}
VIEW = {"num_clips": 9, "clip_starts": "tsn", "crop": "five", "short_side_px": 36, "size_px": 32}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(checkpoint, experiment whose records have flow)."""
    root = tmp_path_factory.mktemp("run")
    videos = {"num_train": 7, "num_test": 7, "num_frames": 15, "height_px": 48, "width_px": 64}
    data = {"dir": str(root / "records")}
    made = {**tiny.TEMPOBENCH, **videos, "short_side_px": 40, "flow": "dis"}
    config = {
        "data": {**data, "generate": made},
        "clip": {"num_frames": 1},
        "flow": {"num_snippets": 2, "num_fields": 4, "interval": 3},
        "input": {"size_px": 32, "host_ops": ("random_crop",)},
        "model": MODEL,
        "eval": {"multi_view": VIEW},
    }
    exp = experiment.create(config)
    shapes = tracing.module_shapes(models.create(7, **MODEL), exp.clip_shape)
    zeros = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    path = str(root / "weights")
    pretrained.save_model(path, zeros, exp.checkpoint_info())
    return path, exp


def test_clips_of_a_file_are_those_of_its_record(run):
    path, exp = run
    row = exp.records.split("test").manifest[0]
    file = f"{exp.records.data_dir}_videos/{row['path']}"
    predict, seen = Predictor(path, batch_size=7), []

    def forward(variables, clips):
        seen.append(clips)
        logits = np.zeros((len(clips["flow"]), 7), np.float32)
        return {"logits": logits, "probs": logits + 1 / 7}

    predict._forward = forward
    assert predict(file).error == ""
    given = {name: np.concatenate([part[name] for part in seen])[:45] for name in seen[0]}
    settings = exp.recipe.eval["multi_view"]
    with pipeline.eval_batches(
        exp.records.split("test"),
        clip=predict.clip,
        view=settings.view,
        flow=exp.flow,
        batch_size=1,
    ) as batches:
        [expected] = [b for b in batches if b["id"][0] == row["id"]]
    np.testing.assert_array_equal(given["flow"], expected["flow"][0])
    assert np.ptp(given["flow"]) > 3
    error = np.abs(given["video"].astype(int) - expected["video"][0])
    assert error.mean() < 2  # the record's frames were compressed
    assert "2 x 4 flow fields 3 apart" in predict.protocol


def test_what_flow_does_not_allow_is_refused(run, tmp_path):
    path, exp = run
    for asked in ({"windows": Windows()}, {"stride_scale": 2.0}):
        with pytest.raises(InputError, match="reads optical flow; a timeline"):
            Predictor(path, **asked)
    _, variables, info = pretrained.load_model(path)
    for stored, message in (
        (None, "does not say how that was made"),
        ({**info["flow"], "library_major": 3}, r"library_major=3, but here it is made with"),
    ):
        other = str(tmp_path / str(stored is None))
        pretrained.save_model(other, variables, {**exp.checkpoint_info(), "flow": stored})
        with pytest.raises(InputError, match=message):
            Predictor(other)
