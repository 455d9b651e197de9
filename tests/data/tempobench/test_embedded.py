import os
import shutil

import numpy as np
import pytest

from tempo.data import flow
from tempo.data.tempobench import embedded
from tempo.errors import InputError
from tests import tiny


def test_made_once_and_then_only_opened(tmp_path):
    data_dir = str(tmp_path / "records")
    made = embedded.open_or_make(data_dir, tiny.TEMPOBENCH)
    assert len(made.split("train")) == 24 and len(made.split("test")) == 11
    stamp = os.stat(os.path.join(data_dir, "manifest.json")).st_mtime_ns
    again = embedded.open_or_make(data_dir, tiny.TEMPOBENCH)
    assert again.manifest_sha256 == made.manifest_sha256
    assert os.stat(os.path.join(data_dir, "manifest.json")).st_mtime_ns == stamp


def test_truth_about_tempo_is_in_the_manifest(tmp_path):
    records = embedded.open_or_make(str(tmp_path / "records"), tiny.TEMPOBENCH)
    entry = records.split("train").manifest[0]
    assert entry["metadata"]["cycles_per_s"] > 0 and entry["metadata"]["pattern"]


def test_other_parameters_are_refused_not_ignored(tmp_path):
    data_dir = str(tmp_path / "records")
    embedded.open_or_make(data_dir, tiny.TEMPOBENCH)
    with pytest.raises(InputError, match="hard"):
        embedded.open_or_make(data_dir, {**tiny.TEMPOBENCH, "level": "hard"})


def test_records_whose_videos_are_gone_are_taken(tmp_path):
    data_dir = str(tmp_path / "records")
    embedded.open_or_make(data_dir, tiny.TEMPOBENCH)
    shutil.rmtree(f"{data_dir}_videos")
    assert len(embedded.open_or_make(data_dir, tiny.TEMPOBENCH).split("train")) == 24


def test_unknown_argument_and_nothing_to_make(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'num_train'"):
        embedded.open_or_make(str(tmp_path / "records"), {"num_trian": 3})
    with pytest.raises(InputError, match="records"):
        embedded.open_or_make(str(tmp_path / "records"), {})


def test_flow_is_stored_beside_the_frames(tmp_path):
    data_dir = str(tmp_path / "records")
    given = {**tiny.TEMPOBENCH, "num_train": 7, "num_test": 7, "num_frames": 6}
    dis = {"name": "dis", "patch_stride_px": 4}
    records = embedded.open_or_make(data_dir, {**given, "flow": dis})
    assert records.flow == flow.create("dis", patch_stride_px=4).metadata
    record = records.split("train")[0]
    frames, fields = record.decode(np.arange(6)), record.decode_flow(np.arange(5))
    assert fields.shape == (5, *frames.shape[1:3], 2) and fields.std() > 0
    with pytest.raises(InputError, match="patch_stride_px"):
        embedded.open_or_make(data_dir, {**given, "flow": "dis"})
    with pytest.raises(InputError, match="without optical flow"):
        embedded.make(tiny.make_records(tmp_path / "plain", **given), **given, flow="dis")


def test_flow_that_cannot_be_is_refused_before_anything_is_rendered(tmp_path):
    data_dir = str(tmp_path / "records")
    for wrong, said in (("tvl", "flow method 'tvl'"), ({"name": "dis", "bond": 1}, "'bond'")):
        with pytest.raises(InputError, match=said):
            embedded.open_or_make(data_dir, {**tiny.TEMPOBENCH, "flow": wrong})
    with pytest.raises(InputError, match="kind encoded"):
        embedded.open_or_make(data_dir, {**tiny.TEMPOBENCH, "flow": "dis", "kind": "encoded"})
    assert not list(tmp_path.iterdir())
