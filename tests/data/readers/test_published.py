"""Every dataset in its published layout: what is found is what was written."""

import pathlib

import pytest

from tempo.data import readers, specs
from tests.data import published


def touch(path, *args, **kwargs):
    """A file in the place of a video: readers open none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_every_dataset_has_a_fixture_and_every_reader_a_dataset():
    names = {name for name in specs.DATASETS if not name.startswith("tempobench")}
    assert set(published.FIXTURES) == names
    assert {spec.reader for spec in specs.DATASETS.values()} == set(readers.READERS)
    for name in names:
        assert len(specs.DATASETS[name].source) > 10


@pytest.mark.parametrize("name", published.FIXTURES)
def test_a_published_layout_is_read(name, tmp_path):
    made = published.FIXTURES[name].make(tmp_path, touch)
    scan = readers.read(**made.arguments)
    assert {split: len(videos) for split, videos in scan.splits.items()} == dict(made.counts)
    assert scan.class_names == tuple(made.class_names)
    assert scan.label_kind == made.label_kind == specs.DATASETS[name].label_kind
    assert scan.refused == ()
    root = pathlib.Path(made.arguments["videos_dir"])
    videos = [video for found in scan.splits.values() for video in found]
    for video in videos:
        place = root / video.path
        assert place.is_dir() if made.is_frames else place.is_file()
        labels = (video.label,) if isinstance(video.label, int) else video.label
        assert all(0 <= label < len(scan.class_names) for label in labels)
    assert len({video.id for video in videos}) == len(videos)
    assert readers.read(**made.arguments) == scan
