"""A prediction has the numbers of the evaluator; nothing grows with a video's length."""

import dataclasses
import pathlib
import tracemalloc

import av
import jax
import numpy as np
import pytest

from tempo import checkpoint, evaluate, experiment
from tempo.data.video import browse
from tempo.data.video.video_file import RefusedVideoError
from tempo.errors import InputError
from tempo.prediction import predictor as predictor_lib
from tempo.prediction.predictor import Predictor, Windows
from tests import tiny
from tests.data.conftest import write_video
from tests.prediction import checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(checkpoint, scores by evaluator, path of each scored video) of an evaluation."""
    root = tmp_path_factory.mktemp("run")
    data_dir = tiny.make_records(root, kind="encoded", width_px=52)
    scope = {}
    exec(tiny.CONFIG.replace("DATA", data_dir), scope)
    config = scope["get_config"]()
    del config.eval.single_view
    config.eval.logits = {**config.eval.multi_view, "average": "logits", "clip_starts": "ticks"}
    exp = experiment.create(config)
    path = str(root / "weights")
    variables = checkpoints.variables(exp.records.num_classes)
    checkpoint.save_variables(path, variables, {**exp.checkpoint_info(), "step": 0})
    evaluate.evaluate(config, str(root / "eval"), path)
    scores = {}
    for name in ("multi_view", "logits"):
        with np.load(root / "eval" / "scores" / f"{name}.npz") as f:
            scores[name] = dict(f)
    rows = exp.records.split("test").manifest
    found = {rows[i]["id"]: f"{data_dir}_videos/{rows[i]['path']}" for i in range(len(rows))}
    return path, scores, [_existing(found[str(name)]) for name in scores["multi_view"]["id"]]


def _existing(path):
    return path if browse.os.path.isfile(path) else path.replace("_videos/", "_videos/videos/")


def stubbed(*args, **settings):
    """A predictor without a network, which takes seconds to compile: 7 logits of the pixels."""
    predict = Predictor(*args, **settings)

    def forward(variables, video):
        rows = video.reshape(len(video), -1).astype(np.float32)
        weights = np.sin(np.arange(rows.shape[1])[:, None] * np.arange(1, 8) / 9)
        logits = (rows @ weights.astype(np.float32)) / 1e3
        return {"logits": logits, "probs": np.asarray(predict.task.probs(logits))}

    predict._forward = forward
    return predict


def test_the_numbers_are_those_of_the_evaluator(run):
    path, scores, videos = run
    predict = Predictor(path)
    assert predict.protocol == str(scores["multi_view"]["protocol"])
    for row, video in enumerate(videos):
        found = predict(video)
        assert found.error == "" and found.num_frames == 16
        view_logits = scores["multi_view"]["view_logits"][row]
        np.testing.assert_allclose(found.view_logits, view_logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.probs, scores["multi_view"]["probs"][row], atol=1e-5)
    assert np.ptp(scores["multi_view"]["logits"][:, 0]) > 1e-3  # the videos do differ


def test_averaging_before_the_softmax_is_the_evaluators_too(run):
    path, scores, videos = run
    predict = Predictor(path)
    own = dataclasses.replace(predict.view, average="logits", clip_starts="ticks")
    predict.view = own
    assert predict.protocol == str(scores["logits"]["protocol"])
    np.testing.assert_allclose(predict(videos[3]).probs, scores["logits"]["probs"][3], atol=1e-5)


def test_mirrored_videos_of_this_dataset_have_no_class(run):
    with pytest.raises(InputError, match="mirror images"):
        Predictor(run[0], views="1x10")


def test_windows_are_clips_of_the_model(run):
    """The logits of a window are those of a center clip of the part of the video it shows."""
    path, _, videos = run
    predict = Predictor(path, views="1x1", windows=Windows(), batch_size=3)
    shown = []
    original = predictor_lib.clip_stream.views

    def noted(video, clips, view, draws):
        for row, crops in original(video, clips, view, draws):
            shown.append((clips[row].tolist(), crops))
            yield row, crops

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_lib.clip_stream, "views", noted)
        found = predict(videos[0])
    single, *windows = shown
    np.testing.assert_array_equal([frames[0] for frames, _ in windows], [0, 3, 6, 9])
    line = found.timeline
    np.testing.assert_allclose(line.start_s, [0, 3 / 25, 6 / 25, 9 / 25], atol=1e-6)
    np.testing.assert_allclose(line.end_s, np.array([7, 10, 13, 16]) / 25, atol=1e-6)
    again = predict._forward(predict._variables, np.concatenate([c for _, c in windows[:3]]))
    np.testing.assert_allclose(line.probs[:3], jax.nn.softmax(again["logits"]), atol=1e-5)
    assert line.probs.shape == (4, predict.task.num_classes)
    assert single[0] == [4, 6, 8, 10]


def test_one_shape_is_compiled_for_all_videos_clips_and_windows(run, tiny_videos):
    predict = Predictor(run[0], views="3x3", windows=Windows(hop_s=0.04), batch_size=4)
    for video in [*run[2][:2], *tiny_videos]:
        assert predict(video).error == ""
    assert predict._forward._cache_size() == 1


@pytest.fixture
def tiny_videos(tmp_path):
    return [
        str(write_video(tmp_path / "wide.mp4", 40, width=96, height=40)),
        str(write_video(tmp_path / "tall.mkv", 3, codec="libx264", width=40, height=64)),
        str(write_video(tmp_path / "one.avi", 1)),
    ]


def test_batches_are_few_and_full():
    assert predictor_lib._batch_size(30, 8, False) == 8
    assert predictor_lib._batch_size(10, 8, False) == 5
    assert predictor_lib._batch_size(1, 8, False) == 1
    assert predictor_lib._batch_size(1, 8, True) == 8


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_size_of_batches_changes_no_number(run, batch_size):
    found = stubbed(run[0], views="2x5", batch_size=batch_size)(run[2][0])
    expected = stubbed(run[0], views="2x5", batch_size=100)(run[2][0])
    np.testing.assert_allclose(found.view_logits, expected.view_logits, rtol=1e-5, atol=1e-5)
    assert found.view_logits.shape == (10, 7) and np.ptp(found.view_logits[:, 0]) > 1e-3


def test_mirror_images_count_for_the_class_before_mirroring(tmp_path, tiny_videos):
    swapped = [1, 0, 2, 3, 4, 6, 5]
    paths = [
        checkpoints.write(tmp_path / "keeps", mirror_labels=None),
        checkpoints.write(tmp_path / "swaps", mirror_labels=swapped),
    ]
    plain, found = (stubbed(path, views="2x10")(tiny_videos[0]) for path in paths)
    for v in range(20):
        expected = plain.view_logits[v][swapped] if v % 10 >= 5 else plain.view_logits[v]
        np.testing.assert_array_equal(found.view_logits[v], expected)
    np.testing.assert_allclose(
        found.probs, jax.nn.softmax(found.view_logits).mean(axis=0), rtol=1e-5
    )


def test_random_views_are_drawn_by_the_name_of_the_file(tmp_path, tiny_videos):
    path = checkpoints.write(tmp_path / "weights")
    predict = stubbed(path)
    own = {"num_clips": 4, "clip_starts": "random", "crop": "random", "is_flipped": True}
    predict.view = dataclasses.replace(predict.view, **own, stride=3)
    (tmp_path / "b").mkdir()
    copies = [tmp_path / "b" / "wide.mp4", tmp_path / "other.mp4"]
    for copy in copies:
        copy.write_bytes(pathlib.Path(tiny_videos[0]).read_bytes())
    found = [predict(str(video)).view_logits for video in (tiny_videos[0], *copies)]
    np.testing.assert_array_equal(found[0], found[1])
    assert len(np.unique(found[0][:, 0])) == 4 and not np.isclose(found[0], found[2]).all()
    assert predict(str(copies[0])).view_logits.shape == (4, 7)


def test_several_labels_and_groups_of_labels(tmp_path, tiny_videos):
    multi = stubbed(checkpoints.write(tmp_path / "multi", label_kind="multi"))(tiny_videos[0])
    np.testing.assert_allclose(
        multi.probs, jax.nn.sigmoid(multi.view_logits).mean(axis=0), rtol=1e-5
    )
    groups = {"verb": 3, "noun": 4}
    path = checkpoints.write(tmp_path / "joint", label_kind="joint", label_groups=groups)
    joint = stubbed(path)(tiny_videos[0])
    np.testing.assert_allclose([joint.probs[:3].sum(), joint.probs[3:].sum()], 1, rtol=1e-5)
    expected = jax.nn.softmax(joint.view_logits[:, :3]).mean(axis=0)
    np.testing.assert_allclose(joint.probs[:3], expected, rtol=1e-5)


def test_a_stride_scale_shows_more_of_the_video(tmp_path, tiny_videos):
    path = checkpoints.write(tmp_path / "weights")
    other = {"clip": {**checkpoints.CLIP, "stride": 6}}
    expected = stubbed(checkpoints.write(tmp_path / "stride6", config=other))(tiny_videos[0])
    found = stubbed(path, stride_scale=3.0)
    np.testing.assert_array_equal(found(tiny_videos[0]).view_logits, expected.view_logits)
    assert found.protocol.endswith("stride x 3")
    own = stubbed(path)(tiny_videos[0])
    assert not np.array_equal(own.view_logits, expected.view_logits)


def test_models_of_segments_have_no_stride_to_scale(tmp_path):
    config = {"clip": {"num_frames": 4, "sampling": "segments"}}
    path = checkpoints.write(tmp_path / "weights", config=config)
    with pytest.raises(InputError, match="no stride"):
        Predictor(path, stride_scale=2.0)


def test_frames_beyond_a_clip_are_read_for_residual_frames(tmp_path, tiny_videos):
    config = {"input": {"size_px": 32, "device_ops": ["residual"]}}
    predict = stubbed(checkpoints.write(tmp_path / "weights", config=config))
    shapes = []
    forward = predict._forward

    def noted(variables, video):
        shapes.append(video.shape)
        return forward(variables, video)

    predict._forward = noted
    assert predict(tiny_videos[0]).error == ""
    assert shapes == [(6, 5, 32, 32, 3)]


def test_full_frames(tmp_path, tiny_videos):
    config = {"eval": {"multi_view": {"crop": "full", "short_side_px": 36, "num_clips": 2}}}
    predict = stubbed(checkpoints.write(tmp_path / "weights", config=config), windows=Windows())
    for video in tiny_videos:
        assert predict(video).view_logits.shape == (2, 7)


def test_a_file_that_has_no_prediction_says_why(run, tmp_path):
    predict = Predictor(run[0])
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    found = predict(str(text))
    assert found.probs is None and found.error.startswith("unreadable_container (no video file")
    assert "missing_file" in predict(str(tmp_path / "gone.mp4")).error
    assert "missing_file" in predict(str(tmp_path)).error


def test_packets_that_were_wrong_are_found_out_and_the_file_decoded(run, tiny_videos, monkeypatch):
    predict = stubbed(run[0])
    path = tiny_videos[1]
    expected = predict(path)
    looks = []
    original = browse.look

    def wrong_at_first(path, *, by_packets=True):
        found = original(path, by_packets=by_packets)
        looks.append(found.is_decoded)
        if found.is_decoded:
            return found
        index = dataclasses.replace(found.index, pts=found.index.pts + 1)
        return dataclasses.replace(found, index=index)

    monkeypatch.setattr(browse, "look", wrong_at_first)
    found = predict(path)
    assert looks == [False, True]
    np.testing.assert_array_equal(found.view_logits, expected.view_logits)


def test_damage_is_told_once_the_whole_file_was_tried(run, tiny_videos, monkeypatch):
    def broken(video, wanted):
        raise RefusedVideoError("decode_error@3")
        yield

    monkeypatch.setattr(browse, "frames", broken)
    for path in tiny_videos[:2]:
        assert Predictor(run[0])(path).error == "decode_error@3 (damaged)"


def test_scores_that_are_not_finite_are_no_prediction(tmp_path, tiny_videos):
    predict = stubbed(checkpoints.write(tmp_path / "weights"))
    forward = predict._forward
    predict._forward = lambda *given: {k: v * np.nan for k, v in forward(*given).items()}
    assert "not finite" in predict(tiny_videos[0]).error


BITS, CELL_PX = 12, 8


def numbered_video(path, num_frames, rate):
    """A video whose frames are their number in black and white cells, one bit each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=rate, options={"preset": "ultrafast", "crf": "20", "g": "60"}
        )
        stream.width, stream.height, stream.pix_fmt = BITS * CELL_PX, 64, "yuv420p"
        for number in range(num_frames):
            bits = 235 * ((number >> np.arange(BITS)) & 1).astype(np.uint8)
            picture = np.broadcast_to(
                np.repeat(bits, CELL_PX)[None, :, None], (64, BITS * CELL_PX, 3)
            )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def frame_numbers(frames):
    """Of the frames of such a video, whole, [...,H,W,3]."""
    row = frames[..., 32, CELL_PX // 2 :: CELL_PX, :].mean(axis=-1) > 118
    return (row * (1 << np.arange(BITS))).sum(axis=-1)


def test_an_hour_of_video_takes_no_more_memory_than_a_minute(tmp_path, monkeypatch):
    """At a frame per second; whole frames, so that their numbers can be read."""
    view = {"crop": "full", "short_side_px": 64, "num_clips": 10}
    path = checkpoints.write(tmp_path / "weights", config={"eval": {"multi_view": view}})
    predict = Predictor(path, windows=Windows())
    seen = []

    def forward(variables, video):
        seen.append(frame_numbers(video))
        return {name: np.zeros((len(video), 7), np.float32) for name in ("logits", "probs")}

    monkeypatch.setattr(predict, "_forward", forward)
    peaks = {}
    for name, num_frames in (("minute", 60), ("hour", 3600)):
        video = numbered_video(tmp_path / f"{name}.mp4", num_frames, rate=1)
        seen.clear()
        tracemalloc.start()
        found = predict(video)
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.error == "" and found.num_frames == num_frames
        frames = np.concatenate(seen)
        # The views, then the windows, each filled up to whole batches of 8.
        np.testing.assert_array_equal(
            frames[:10, 0], np.round(np.arange(10) * (num_frames - 7) / 9).astype(int)
        )
        windows = frames[16:][: len(found.timeline.start_s)]
        assert windows[0, 0] == 0 and windows[-1, -1] == num_frames - 1
        np.testing.assert_array_equal(np.diff(windows, axis=1), 2)
        assert set(np.diff(windows[:-1, 0])) == {3}
        np.testing.assert_allclose(found.timeline.start_s, windows[:, 0], atol=1e-3)
    frame_bytes = 64 * BITS * CELL_PX * 3
    # What is known of every frame and window (times, places, scores) is some 400 bytes.
    assert peaks["hour"] - peaks["minute"] < 3600 * 400 < 3600 * frame_bytes / 40
