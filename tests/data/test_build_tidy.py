"""What a build takes away is its own by its whole name; what looks like it stays."""

import pytest

from tempo.data import pipeline
from tempo.data.builders import features
from tempo.data.builders import records as builder
from tempo.errors import InputError


def build(videos, out, **kwargs):
    return builder.build(videos, out, short_side_px=0, progress=False, **kwargs)


@pytest.mark.parametrize(
    "name",
    [
        "videos-holiday.mp4",
        "videos-train.mp4",
        "videos-train.array_record-1-of-2",
        "videos-train.jsonl.gz",
        "my.labels.txt",
        ".secret",
        ".manifest.json.swp",
        "dataset_info_json",
    ],
)
@pytest.mark.parametrize("check_only", [False, True])
def test_a_folder_of_others_is_refused_and_left_as_it_is(ucf_tree, tmp_path, name, check_only):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(InputError, match="and no dataset; choose another --out"):
        build(ucf_tree, out, check_only=check_only)
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize("name", [".build", ".check"])
def test_a_hidden_folder_without_our_lock_is_not_ours(ucf_tree, tmp_path, name):
    mine = tmp_path / "out" / name / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("words")
    with pytest.raises(InputError, match=rf"holds '\{name}' and no dataset"):
        build(ucf_tree, tmp_path / "out")
    assert mine.read_text() == "words" and [p.name for p in mine.parent.iterdir()] == ["mine"]


def test_of_a_stopped_build_only_its_own_files_go(ucf_tree, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(features, "write", None)
        with pytest.raises(TypeError):
            build(ucf_tree, out)
    own = {".manifest.json.abcd1234", "videos-val.array_record-00000-of-00001", "videos-val.jsonl"}
    for name in own:
        (out / name).write_text("left over")
    (out / ".build" / "train-00099.tmp").write_text("left over")
    (out / ".build" / "mine").write_text("words")
    assert build(ucf_tree, out).num_reused == 15
    assert sorted(p.name for p in (out / ".build").iterdir()) == ["lock", "mine"]
    assert not own & {p.name for p in out.iterdir()}
    assert build(ucf_tree, out).num_reused == 15  # and nothing of it is in the way
    assert (out / ".build" / "mine").read_text() == "words"


def test_files_of_the_user_that_come_during_a_build_stay(ucf_tree, tmp_path, monkeypatch):
    out, write = tmp_path / "out", features.write

    def meanwhile(*args, **kwargs):
        (out / "videos-holiday.mp4").write_text("words")
        return write(*args, **kwargs)

    monkeypatch.setattr(features, "write", meanwhile)
    build(ucf_tree, out)
    assert (out / "videos-holiday.mp4").read_text() == "words"
    assert len(pipeline.open_records(out).split("train")) == 10
