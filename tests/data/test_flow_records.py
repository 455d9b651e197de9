"""Optical flow in a dataset: stored beside the frames, of one making, and read back."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tempo import prepare
from tempo.data import flow, pipeline, records
from tempo.data.builders import examples
from tempo.data.builders import records as builder
from tempo.errors import InputError, RecordError
from tempo.types import ClipSpec, FlowSpec, ViewSpec
from tests.moving import METHODS, SHIFT, write_moving


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two classes, to the right and to the left, of two videos each."""
    root = tmp_path_factory.mktemp("moving") / "videos"
    for name, shift in (("left", (-SHIFT[0], SHIFT[1])), ("right", SHIFT)):
        for i in range(2):
            write_moving(root / name / f"{i}.mp4", 12 + i, shift=shift)
    return root


def build(tree, out, **kwargs):
    return builder.build(tree, out, progress=False, num_workers=2, **kwargs)


@pytest.fixture(scope="module")
def dis_dir(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("dis") / "records"
    build(tree, out, flow="dis")
    return out


def first(data_dir):
    split = pipeline.open_records(data_dir).split("train")
    return split[list(split.ids).index("right/0.mp4")]


@pytest.mark.parametrize("method", METHODS)
def test_a_known_shift_comes_back_from_the_records(tree, tmp_path, method):
    build(tree, tmp_path / "out", flow=method)
    record = first(tmp_path / "out")
    assert record.num_flows == record.num_frames - 1 == 11
    stored = record.decode_flow(np.arange(11))
    assert stored.shape == (11, 96, 128, 2) and stored.dtype == np.uint8
    error = np.abs(flow.dequantize(stored) - SHIFT)[:, 12:-12, 12:-12]
    # Half a step of 8 bits is 0.078 px; the video was compressed and the field too.
    assert error.mean() < 0.08 and np.quantile(error, 0.99) < 0.3


def test_flow_is_that_of_the_stored_size(tree, tmp_path):
    build(tree, tmp_path / "out", flow="dis", short_side_px=48)
    record = first(tmp_path / "out")
    stored = flow.dequantize(record.decode_flow(np.arange(11)))
    assert stored.shape == (11, 48, 64, 2) == (11, *record.decode([0]).shape[1:3], 2)
    np.testing.assert_allclose(
        stored[:, 8:-8, 8:-8].mean(axis=(0, 1, 2)), np.array(SHIFT) / 2, atol=0.05
    )


def test_a_camera_that_moves_can_be_taken_out(tree, tmp_path, capsys):
    command = ["--videos", str(tree), "--out", str(tmp_path / "out"), "--limit", "1"]
    assert prepare.main([*command, "--flow", "dis", "--flow-warped"]) == 0
    dataset = pipeline.open_records(tmp_path / "out")
    assert dataset.flow["camera"] == "removed"
    # Here everything that moves is the camera: 3 pixels to a side and 2 up.
    record = dataset.split("train")[0]
    stored = flow.dequantize(record.decode_flow(np.arange(record.num_flows)))
    assert np.abs(stored).mean() < 0.15
    assert prepare.main([*command, "--flow", "dis"]) == 2
    assert "camera='removed', now it is 'kept'" in capsys.readouterr().err


def test_any_fields_in_any_order(dis_dir):
    record = first(dis_dir)
    everything = record.decode_flow(np.arange(11))
    wanted = np.array([[3, 3, 0], [10, 1, 2]])
    np.testing.assert_array_equal(record.decode_flow(wanted), everything[wanted])
    with pytest.raises(RecordError, match="right/0.mp4: cannot decode flow"):
        record.decode_flow(np.array([11]))


def test_the_header_says_how_it_was_made(dis_dir):
    made = pipeline.open_records(dis_dir).flow
    assert made == flow.create("dis").metadata
    assert made["library_major"] == int(cv2.__version__.split(".")[0])
    assert made["parameters"]["patch_px"] == 8 and made["bound"] == 20.0


def test_the_identity_of_a_dataset_counts_its_flow(tree, dis_dir, tmp_path):
    plain = build(tree, tmp_path / "plain").manifest_sha256
    other = build(tree, tmp_path / "other", flow={"name": "dis", "bound": 16}).manifest_sha256
    assert len({plain, other, pipeline.open_records(dis_dir).manifest_sha256}) == 3


def test_tfds_reads_it(dis_dir):
    source = tfds.builder_from_directory(str(dis_dir)).as_data_source("train")
    found = source[0]
    assert len(found["flow_x"]) == len(found["flow_y"]) == len(found["frames"]) - 1
    assert found["flow_x"][0].shape == (96, 128, 1)
    record = pipeline.open_records(dis_dir).split("train")[0]
    ours = record.decode_flow(np.array([0]))[0]
    assert np.abs(found["flow_y"][0][..., 0].astype(int) - ours[..., 1]).max() <= 1


def test_batches_give_flow_beside_frames(dis_dir):
    split = pipeline.open_records(dis_dir).split("train")
    spec = FlowSpec(num_snippets=2, num_fields=3, train_intervals=(1, 2))
    with pipeline.train_batches(
        split,
        clip=ClipSpec(num_frames=1),
        flow=spec,
        batch_size=2,
        size_px=64,
        host_ops=["random_crop"],
    ) as batches:
        batch = next(batches)
    assert batch["flow"].shape == (2, 2, 64, 64, 6)
    x = flow.dequantize(batch["flow"][..., ::2]).mean(axis=(1, 2, 3, 4))
    y = flow.dequantize(batch["flow"][..., 1::2]).mean(axis=(1, 2, 3, 4))
    signs = np.where(batch["label"] == 1, 1, -1)
    np.testing.assert_allclose(x, SHIFT[0] * signs, atol=0.5)
    np.testing.assert_allclose(y, SHIFT[1], atol=0.5)


def test_workers_change_no_byte(tree, dis_dir, tmp_path):
    builder.build(tree, tmp_path / "out", flow="dis", num_workers=1, progress=False)
    shards = sorted(p.name for p in dis_dir.glob("*.array_record*"))
    assert shards
    for name in shards:
        assert (tmp_path / "out" / name).read_bytes() == (dis_dir / name).read_bytes()


def test_a_finished_dataset_takes_no_other_flow(tree, dis_dir, tmp_path):
    assert build(tree, dis_dir, flow="dis").num_reused == 4
    for other, message in (
        ({"name": "dis", "bound": 16}, "holds flow made with bound=20.0, now it is 16.0"),
        ({"name": "dis", "finest_scale": 2}, "holds flow made with parameters={'finest_scale': 1"),
        (None, "holds a dataset made with optical flow"),
    ):
        with pytest.raises(InputError) as error:
            build(tree, dis_dir, flow=other)
        assert message in str(error.value) and "\n" not in str(error.value)
    build(tree, tmp_path / "plain")
    with pytest.raises(InputError, match="made without optical flow"):
        build(tree, tmp_path / "plain", flow="dis")


def test_another_major_version_is_another_flow(tree, dis_dir, monkeypatch):
    method = flow.METHODS["dis"]
    major, rest = cv2.__version__.split(".", 1)
    minor = dataclasses.replace(method, library=lambda: ("opencv", f"{major}.999.0"))
    monkeypatch.setitem(flow.METHODS, "dis", minor)
    assert build(tree, dis_dir, flow="dis").num_reused == 4
    other = dataclasses.replace(method, library=lambda: ("opencv", f"{int(major) + 1}.{rest}"))
    monkeypatch.setitem(flow.METHODS, "dis", other)
    with pytest.raises(InputError, match=f"library_major={major}, now it is {int(major) + 1}"):
        build(tree, dis_dir, flow="dis")


class KilledError(BaseException):
    """Stands for a signal."""


def test_an_unfinished_build_goes_on_with_the_same_flow_only(tree, dis_dir, tmp_path, monkeypatch):
    out = tmp_path / "out"
    encode, seen = examples.encode_video, []

    def cut_short(*args):
        if len(seen) == 3:
            raise KilledError
        seen.append(args)
        return encode(*args)

    monkeypatch.setattr(examples, "encode_video", cut_short)
    with pytest.raises(KilledError):
        builder.build(tree, out, flow="dis", num_shards=4, num_workers=1, progress=False)
    monkeypatch.undo()
    with pytest.raises(InputError) as error:
        build(tree, out, flow={"name": "dis", "finest_scale": 2}, num_shards=4)
    assert "The unfinished build in" in str(error.value)
    assert "parameters={'finest_scale': 1" in str(error.value)
    assert build(tree, out, flow="dis", num_shards=4).num_reused > 0
    undisturbed = tmp_path / "undisturbed"
    build(tree, undisturbed, flow="dis", num_shards=4)
    for path in undisturbed.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_records_without_flow_say_so(frames_dir):
    dataset = pipeline.open_records(frames_dir)
    record = dataset.split("train")[0]
    assert dataset.flow is None and record.num_flows == 0
    with pytest.raises(RecordError, match="prepared without --flow"):
        record.decode_flow(np.array([0]))
    clip, split = ClipSpec(num_frames=1), dataset.split("train")
    for ask in (
        dataset.check_flow,
        lambda: pipeline.train_batches(split, clip=clip, batch_size=1, size_px=8, flow=FlowSpec()),
        lambda: pipeline.eval_batches(
            split, clip=clip, view=ViewSpec(), batch_size=1, flow=FlowSpec()
        ),
    ):
        with pytest.raises(InputError) as error:
            ask()
        flags = f"--videos DIR --out {frames_dir}_flow --flow tvl1"
        assert f"python -m tempo.prepare {flags} - and set" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_video_too_small_for_the_method_is_refused(tmp_path):
    own = tmp_path / "videos"
    for name in ("left", "right"):
        for i in range(2):
            write_moving(own / name / f"{i}.mp4", 3)
    write_moving(own / "left" / "thin.mp4", 3, height=96, width=12)
    report = build(own, tmp_path / "out", flow="dis")
    assert report.num_accepted == 4
    assert [row["reason"] for row in report.rejected] == ["flow_needs_16px:12x96"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "encoded"}, "--kind encoded stores none; use --kind frames"),
        ({"min_frames": 1}, "--min-frames of at least 2; got 1"),
        ({"flow": {"name": "dis", "warps": 2}}, "Flow method 'dis' has no key 'warps'"),
        (
            {"flow": "farneback"},
            "Unknown flow method 'farneback'. Choose from: dis, tvl1",
        ),
    ],
)
def test_what_cannot_be_is_told_before_any_video_is_read(tree, tmp_path, settings, message):
    with pytest.raises(InputError) as error:
        build(tree, tmp_path / "out", **{"flow": "dis", **settings})
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_command(tree, tmp_path, capsys):
    common = ["--videos", str(tree), "--out", str(tmp_path / "out"), "--num-workers", "2"]
    flags = ["--flow", "dis", "--flow-bound", "16", "--flow-quality", "80"]
    flags += ["--flow-set", "finest_scale=2", "alpha=10.5", "--flow-set", "num_refinements=0"]
    assert prepare.main([*common, *flags]) == 0
    made = json.loads((tmp_path / "out" / records.MANIFEST_FILE).read_text())["flow"]
    expected = flow.create(
        "dis", bound=16, jpeg_quality=80, finest_scale=2, alpha=10.5, num_refinements=0
    )
    assert made == expected.metadata
    capsys.readouterr()
    for bad, message in (
        (["--flow", "dis"], "holds flow made with parameters="),
        (["--flow-bound", "16"], "Settings of optical flow (bound) need --flow METHOD."),
        (["--flow", "dis", "--flow-set", "num_gradient_steps=0"], "must be a whole number from 1"),
    ):
        assert prepare.main([*common, *bad]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    with pytest.raises(SystemExit) as error:
        prepare.main([*common, "--flow", "dis", "--flow-set", "alpha"])
    assert error.value.code == 2 and "'alpha' is not NAME=NUMBER" in capsys.readouterr().err
