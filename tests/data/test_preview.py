"""The contact sheet: it shows what training reads, with the true numbers, labels and flow."""

import cv2
import numpy as np
import pytest

from tempo import prepare
from tempo.data import flow, host_ops, pipeline, preview
from tempo.data.builders import records as builder
from tempo.errors import InputError
from tempo.types import ClipSpec
from tests.moving import write_moving

CLIP = ClipSpec(num_frames=3, stride=2)


@pytest.fixture(scope="module")
def moving_dir(tmp_path_factory):
    """Records with flow of a texture that moves 3 px to the right and 2 up."""
    root = tmp_path_factory.mktemp("moving")
    for name in ("a", "b"):
        for i in range(2):
            write_moving(root / "videos" / name / f"{i}.mp4", 8)
    builder.build(root / "videos", root / "records", flow="dis", progress=False)
    return root / "records"


def take(data_dir, ops=(), size_px=48, row=0, seed=0, clip=CLIP):
    dataset = pipeline.open_records(data_dir)
    made = host_ops.create(ops, size_px)
    rng = np.random.default_rng((seed, 0, row))
    return preview.sample(dataset, dataset.split("train"), row, clip, made, rng)


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_the_frames(frames_dir, tiny, seed):
    s = take(frames_dir, row=seed, seed=seed)
    assert tiny.numbers(s.video).tolist() == s.frames.tolist()
    assert s.flow is None and not s.is_mirrored
    split = pipeline.open_records(frames_dir).split("train")
    assert s.id == split.ids[seed] and s.label == f"Class{split.labels[seed]}"
    assert s.num_frames == split.manifest[seed]["num_frames"]


def test_a_clip_is_that_of_a_training_batch(frames_dir):
    """The first step of a training with this seed, slot by slot."""
    split = pipeline.open_records(frames_dir).split("train")
    with pipeline.train_batches(split, clip=CLIP, batch_size=4, size_px=32, seed=5) as batches:
        batch = next(batches)
    dataset = pipeline.open_records(frames_dir)
    ops = host_ops.create(host_ops.DEFAULT_TRAIN_OPS, 32)
    for slot, row in enumerate(batch["index"]):
        rng = np.random.default_rng((5, 0, slot))
        s = preview.sample(dataset, split, int(row), CLIP, ops, rng)
        np.testing.assert_array_equal(s.video, batch["video"][slot])


def test_flow_is_cropped_and_mirrored_with_its_frame(moving_dir):
    for prob, x in ((0, 3), (1, -3)):
        s = take(moving_dir, ["random_crop", {"name": "flip", "prob": prob}])
        assert s.is_mirrored == bool(prob)
        assert s.flow.shape == (3, 48, 48, 2)
        pixels = flow.dequantize(s.flow)[:, 12:-12, 12:-12].mean(axis=(0, 1, 2))
        np.testing.assert_allclose(pixels, (x, -2), atol=0.2)


def test_the_last_frame_shows_the_flow_that_ends_there(moving_dir):
    s = take(moving_dir, clip=ClipSpec(num_frames=8))
    assert s.frames.tolist() == list(range(8)) and len(s.flow) == 8
    np.testing.assert_array_equal(s.flow[6], s.flow[7])


def test_labels_of_every_kind():
    names = ("push", "pull", "cup")
    assert preview.label_text(np.int32(1), names) == "pull"
    assert preview.label_text(np.array([0, 2], np.int32), names) == "push, cup"
    assert preview.label_text(np.array([0, -1], np.int32), names) == "push, unknown"
    assert preview.label_text(np.array([0, 1, 1], np.uint8), names) == "pull, cup"
    assert preview.label_text(np.zeros(3, np.uint8), names) == "(no class)"


def test_a_mirrored_clip_has_the_mirrored_label(frames_dir):
    dataset = pipeline.open_records(frames_dir)
    split = dataset.split("train")
    split.mirror_labels = np.array([0, 2, 1], np.int32)
    row = split.labels.tolist().index(1)
    for prob, label in ((0, "Class1"), (1, "Class2")):
        ops = host_ops.create([{"name": "flip", "prob": prob}], 48)
        s = preview.sample(dataset, split, row, CLIP, ops, np.random.default_rng(0))
        assert s.label == label


def test_the_sheet_holds_the_frames_in_their_order(frames_dir, tmp_path):
    path = tmp_path / "sheet.png"
    ops = ["fixed_crop"]
    num_clips = preview.write(
        frames_dir, path, num_clips=2, clip=CLIP, size_px=48, host_ops=ops, seed=3
    )
    assert num_clips == 2 and [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
    rows = np.random.default_rng(3).choice(10, 2, replace=False)
    dataset = pipeline.open_records(frames_dir)
    made = host_ops.create(ops, 48)
    sheet = read(path)
    top = 16  # the title
    for slot, row in enumerate(rows):
        rng = np.random.default_rng((3, 0, slot))
        s = preview.sample(dataset, dataset.split("train"), int(row), CLIP, made, rng)
        top += 4 + 16  # a gap and the label
        for i, frame in enumerate(s.video):
            left = 4 + i * 52
            np.testing.assert_array_equal(sheet[top : top + 48, left : left + 48], frame)
            number = sheet[top + 52 : top + 68, left : left + 20]
            assert (number > 100).any(), "no number below the frame"
        top += 48 + 4 + 16
    assert len(sheet) == top


def test_long_clips_go_on_below_and_flow_stands_under_its_frames(moving_dir):
    s = take(moving_dir, ["fixed_crop"], clip=ClipSpec(num_frames=20))
    sheet = preview.draw([s], "title")
    legend = 2 * 24 + 1 + 4
    lines = 16 + legend + 4 + 16 + 2 * (48 + 4 + 48 + 4 + 16)
    assert sheet.shape == (lines, 16 * 52 + 4, 3)
    top = 16 + legend + 4 + 16
    np.testing.assert_array_equal(sheet[top : top + 48, 4:52], s.video[0])
    pixels = flow.dequantize(s.flow[0])
    speeds = np.hypot(*np.moveaxis(flow.dequantize(s.flow), -1, 0))
    colors = preview.flow_colors(pixels, max(1.0, float(np.quantile(speeds, 0.99))))
    np.testing.assert_array_equal(sheet[top + 52 : top + 100, 4:52], colors)
    # The seventeenth frame begins the second line.
    below = top + 48 + 4 + 48 + 4 + 16
    np.testing.assert_array_equal(sheet[below : below + 48, 4:52], s.video[16])


def test_flow_colors():
    directions = np.array([[[0, 0], [5, 0], [0, 5], [-5, 0], [0, -5], [2.5, 0], [50, 0]]], float)
    white, right, down, left, up, slow, fast = preview.flow_colors(directions, 5.0)[0].astype(int)
    assert white.tolist() == [255, 255, 255]
    assert right.tolist() == fast.tolist() == [255, 0, 0]
    assert left.tolist() == [0, 255, 255]
    assert slow.tolist() == [255, 127, 127]
    np.testing.assert_allclose(down, [128, 255, 0], atol=2)
    np.testing.assert_allclose(up, [128, 0, 255], atol=2)


def test_residual_frames_are_grey_where_nothing_moves(frames_dir, tmp_path, tiny):
    root = tmp_path / "videos"
    for name in ("a", "b"):
        for i in range(2):
            path = root / name / f"{i}.mp4"
            tiny.write_video(path, 6, tint=i)
    builder.build(root, tmp_path / "records", progress=False)
    ops = dict(host_ops=["fixed_crop"], size_px=48, num_clips=1)
    clip = ClipSpec(num_frames=4)
    preview.write(
        tmp_path / "records", tmp_path / "x.png", clip=clip, device_ops=["residual"], **ops
    )
    sheet = read(tmp_path / "x.png")
    # Every frame is 5 levels brighter than the last: 255 * (5 / 255 + 1) / 2.
    for i in range(4):
        left = 4 + i * 52
        inside = sheet[36 + 20 : 36 + 44, left + 20 : left + 44]
        assert abs(inside.mean() - 130) < 1.5


def test_colour_ops_are_shown(frames_dir, tmp_path):
    common = dict(num_clips=2, clip=CLIP, host_ops=["fixed_crop"], size_px=48)
    preview.write(frames_dir, tmp_path / "plain.png", **common)
    preview.write(frames_dir, tmp_path / "colour.png", device_ops=["color_jitter"], **common)
    plain, colour = read(tmp_path / "plain.png"), read(tmp_path / "colour.png")
    assert plain.shape == colour.shape
    assert np.abs(plain[36:84, 4:52].astype(int) - colour[36:84, 4:52]).max() > 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"clip": ClipSpec(num_frames=4, sampling="segments"), "device_ops": ["residual"]},
            "sampling='segments' has none",
        ),
        ({"split": "trian"}, "Did you mean 'train'?"),
        ({"out": "sheet.jpg"}, "--out must be a file that ends in .png; got 'sheet.jpg'."),
        ({"num_clips": 0}, "at least 1 clip and 16 pixels; got 0 and 112"),
        ({"size_px": 4000, "clip": ClipSpec(num_frames=64)}, "take fewer clips or smaller crops"),
        ({"host_ops": ["flop"]}, "Did you mean 'flip'?"),
        ({"device_ops": ["normalize"]}, "cannot show the device op 'normalize'; leave it out."),
        ({"device_ops": ["color_jiter"]}, "Did you mean 'color_jitter'?"),
        ({"data_dir": "nowhere"}, "'nowhere' holds no prepared dataset"),
    ],
)
def test_bad_input_is_one_line_and_no_file(frames_dir, tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        preview.write(**{"data_dir": frames_dir, "out": "sheet.png", **settings})
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_clips_of_different_sizes_can_be_shown(tmp_path, tiny):
    for name, width in (("a", 64), ("b", 96)):
        for i in range(2):
            tiny.write_video(tmp_path / "videos" / name / f"{i}.mp4", width=width)
    builder.build(tmp_path / "videos", tmp_path / "records", progress=False)
    out = tmp_path / "sheet.png"
    assert preview.write(tmp_path / "records", out, clip=CLIP, host_ops=()) == 2
    assert read(out).shape[1] == 640
    with pytest.raises(InputError, match="add a crop"):
        preview.write(tmp_path / "records", out, host_ops=(), device_ops=["color_jitter"])


def test_the_command(frames_dir, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    flags = ["--preview", str(frames_dir), "--out", str(out), "--split", "test"]
    flags += ["--num-clips", "99", "--clip", "4x2", "--size", "32", "--seed", "1"]
    flags += ["--host-ops", "random_crop", "flip"]
    assert prepare.main(flags) == 0
    assert capsys.readouterr().out == f"{out}: 5 clips\n"
    assert read(out).shape == (16 + 5 * (4 + 16 + 32 + 4 + 16), 640, 3)
    assert prepare.main(["--preview", str(tmp_path), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tempo.prepare: ") and said.count("\n") == 1
    with pytest.raises(SystemExit) as error:
        prepare.main([*flags, "--clip", "8"])
    assert error.value.code == 2 and "'8' is not FRAMESxSTRIDE" in capsys.readouterr().err


@pytest.mark.parametrize(("dataset", "is_flipped"), [("folder", True), ("tempobench_pairs", False)])
def test_nothing_is_mirrored_where_that_has_no_label(
    ucf_tree, tmp_path, monkeypatch, dataset, is_flipped
):
    builder.build(ucf_tree, tmp_path / "out", dataset=dataset, short_side_px=0, progress=False)
    drawn = []
    draw = preview.draw
    monkeypatch.setattr(preview, "draw", lambda s, *args: drawn.extend(s) or draw(s, *args))
    assert preview.write(tmp_path / "out", tmp_path / "sheet.png", size_px=32) == 10
    assert any(sample.is_mirrored for sample in drawn) == is_flipped
