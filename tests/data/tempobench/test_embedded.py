import os
import shutil

import pytest

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
