"""TempoBench: same files whatever the workers, true tempo in its metadata, no tempo in a frame."""

import dataclasses
import json
import math

import av
import numpy as np
import pytest

from tempo.data.tempobench import motion, scenes, synthetic
from tempo.errors import InputError

SMALL = dict(num_train=14, num_test=14, num_frames=12, height_px=32, width_px=32)
PAIRS = synthetic.Parameters(
    config="pairs",
    level="easy",
    num_train=1400,
    num_test=1400,
    num_frames=64,
    height_px=64,
    width_px=80,
    fps=25,
    seed=3,
    codec="mpeg4",
    spread_shift=0,
)


def decode(path):
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return np.stack([f.reformat(format="rgb24", threads=1).to_ndarray() for f in frames])


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def measured_period(frames, longest):
    """Lag of the first deep minimum of the frames' mean squared difference from themselves."""
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    lags = np.arange(1, longest + 2)
    curve = np.array([np.mean((flat[lag:] - flat[:-lag]) ** 2) for lag in lags])
    for i in range(1, len(curve) - 1):
        left, mid, right = curve[i - 1 : i + 2]
        if mid < left and mid <= right and mid < 0.35 * curve.max():
            return lags[i] + 0.5 * (left - right) / (left - 2 * mid + right)
    raise AssertionError("no period found")


def centroid(frames):
    """Centre of the bright object, float [T,2] (x, y)."""
    bright = np.maximum(frames.max(-1).astype(np.float32) - 100, 0)
    ys, xs = np.mgrid[: frames.shape[1], : frames.shape[2]]
    mass = bright.sum((1, 2))
    return np.stack([(bright * xs).sum((1, 2)), (bright * ys).sum((1, 2))], -1) / mass[:, None]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return synthetic.write_tempobench(tmp_path_factory.mktemp("tb") / "a", num_workers=1, **SMALL)


def test_any_number_of_workers_gives_the_same_bytes(small, tmp_path):
    other = synthetic.write_tempobench(tmp_path / "b", num_workers=3, **SMALL)
    assert contents(small) == contents(other)


def test_another_seed_gives_other_videos(small, tmp_path):
    other = contents(synthetic.write_tempobench(tmp_path / "b", seed=1, **SMALL))
    same = contents(small)
    assert same.keys() == other.keys()
    videos = [path for path in same if path.suffix == ".mp4"]
    assert all(same[path] != other[path] for path in videos)


def test_a_video_does_not_depend_on_how_many_others_there_are(small, tmp_path):
    more = contents(synthetic.write_tempobench(tmp_path / "b", **(SMALL | dict(num_train=28))))
    videos = {path: data for path, data in contents(small).items() if path.suffix == ".mp4"}
    assert len(videos) == 28
    assert videos.items() <= more.items()


def test_layout_is_that_of_ucf101(small):
    lists = small / "ucfTrainTestlist"
    classes = [line.split() for line in (lists / "classInd.txt").read_text().splitlines()]
    names = [name for _, name in classes]
    assert [int(i) for i, _ in classes] == list(range(1, 15))
    assert names == sorted(names)
    train = [line.split() for line in (lists / "trainlist01.txt").read_text().splitlines()]
    test = (lists / "testlist01.txt").read_text().splitlines()
    on_disk = {str(p.relative_to(small / "videos")) for p in (small / "videos").glob("*/*.mp4")}
    assert {path for path, _ in train} | set(test) == on_disk
    assert not {path for path, _ in train} & set(test)
    assert all(names[int(label) - 1] == path.split("/")[0] for path, label in train)
    assert sorted(int(label) for _, label in train) == list(range(1, 15))
    assert sorted(path.split("/")[0] for path in test) == names
    assert "CircleClockwiseFast/v_CircleClockwiseFast_g01_c01.mp4" in on_disk
    groups = {
        split: {v.path.split("_")[2] for v in PAIRS.videos() if v.split == split and v.label == 0}
        for split in synthetic.SPLITS
    }
    assert not groups["train"] & groups["test"]


def test_videos_have_the_size_length_and_rate_asked_for(small, tmp_path):
    out = synthetic.write_tempobench(
        tmp_path / "b", fps=10, codec="h264", **(SMALL | dict(width_px=48))
    )
    for root, width, rate, codec in ((small, 32, 25, "mpeg4"), (out, 48, 10, "h264")):
        with av.open(str(next((root / "videos").glob("*/*.mp4")))) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.average_rate) == (width, 32, rate)
            assert stream.codec_context.name == codec
            frames = list(container.decode(stream))
        assert len(frames) == 12
        assert all(frame.key_frame for frame in frames)


@pytest.mark.parametrize("pattern", motion.PATTERNS)
def test_recorded_period_is_the_one_in_the_frames(pattern, tmp_path):
    for row in (c for c in PAIRS.classes if c.pattern == pattern):
        video = PAIRS.video("test", PAIRS.classes.index(row) + 14)
        assert video.tempo_class == row
        frames = scenes.render_video(video.scene, video.cycles_per_frame, 64, 64, 80)
        synthetic.write_video(tmp_path / "v.mp4", frames, 25, "mpeg4")
        record = synthetic.tempo_record(video, 25)
        assert record["period_s"] * record["cycles_per_s"] == pytest.approx(1)
        found = measured_period(decode(tmp_path / "v.mp4"), 45)
        assert found / 25 == pytest.approx(record["period_s"], abs=0.02)


def test_circles_turn_the_way_their_names_say():
    for name, sense in (("circle_clockwise", 1), ("circle_counter_clockwise", -1)):
        scene = scenes.sample_scene(np.random.default_rng(0), name, "easy")
        path = centroid(scenes.render_video(scene, 1 / 16, 16, 64, 80))
        path = path - path.mean(0)
        x, y = path.T
        # y points down, so clockwise to the eye is a positive cross product.
        turn = x * np.roll(y, -1) - y * np.roll(x, -1)
        assert np.all(np.sign(turn) == sense)
        assert np.hypot(x, y).std() < 0.1 * np.hypot(x, y).mean()


def test_undriven_coordinates_stand_still():
    rest = {"x": 0.1, "y": 0.3, "size": 0.7, "angle": 0.2}
    for pattern, driven in motion.PATTERNS.items():
        poses = [motion.pose(pattern, t / 10, rest, 1) for t in range(10)]
        moving = {c for c in motion.COORDINATES if len({p[c] for p in poses}) > 1}
        assert moving == set(driven)
        assert all(abs(p[c]) <= 1 for p in poses for c in p)


@pytest.mark.parametrize("pattern", motion.PATTERNS)
@pytest.mark.parametrize("codec", synthetic.CODECS)
def test_a_decoded_frame_tells_nothing_of_the_tempo(pattern, codec, tmp_path):
    scene = scenes.sample_scene(np.random.default_rng(1), pattern, "easy")
    decoded = []
    for tempo, num_frames in ((1 / 32, 24), (1 / 16, 12)):
        frames = scenes.render_video(scene, tempo, num_frames, 48, 64)
        synthetic.write_video(tmp_path / "v.mp4", frames, 25, codec)
        decoded.append(decode(tmp_path / "v.mp4"))
    slow, fast = decoded
    # A fixed quantiser and key frames only: the very same pixels at the same phase.
    np.testing.assert_array_equal(slow[::2], fast)
    assert np.abs(slow[1].astype(int) - slow[0]).max() > 20


def test_phases_of_slow_and_fast_frames_are_uniform():
    videos = [v for v in PAIRS.videos() if v.tempo_class.pattern == "spin"]
    for tempo in ("slow", "fast"):
        phases = [
            (v.scene.phase + t * v.cycles_per_frame) % 1
            for v in videos
            if v.tempo_class.tempo == tempo
            for t in (0, 20, 63)
        ]
        assert len(phases) == 600
        gap = np.abs(np.sort(phases) - (np.arange(600) + 0.5) / 600).max()
        assert gap < 0.08  # Kolmogorov-Smirnov at 0.1 % for 600 draws


def test_pairs_differ_in_tempo_by_their_recorded_range():
    for row in PAIRS.classes:
        periods = [1 / v.cycles_per_frame for v in PAIRS.videos() if v.tempo_class == row]
        assert len(periods) == 200
        low, high = row.median_period_frames / 1.1, row.median_period_frames * 1.1
        assert low <= min(periods) < 1.03 * low
        assert high / 1.03 < max(periods) <= high


def test_variance_classes_have_their_recorded_spread():
    p = dataclasses.replace(PAIRS, config="variance", num_train=2800)
    assert len(p.classes) == 7
    assert sorted(c.tempo_spread for c in p.classes) == list(motion.VARIANCE_SPREADS)
    assert min(c.log_tempo_std for c in p.classes) == 0
    videos = [p.video("train", i) for i in range(2800)]
    for row in p.classes:
        logs = np.log([v.cycles_per_frame for v in videos if v.tempo_class == row])
        assert (
            np.abs(logs + math.log(row.median_period_frames)).max()
            <= math.log(row.tempo_spread) + 1e-9
        )
        assert logs.std() == pytest.approx(row.log_tempo_std, rel=0.1, abs=1e-9)


def test_symmetric_classes_are_the_same_mirrored_and_backwards():
    rows = motion.classes("symmetric")
    assert [row for row in motion.classes("pairs") if row in rows] == rows and len(rows) == 10
    cycles = np.arange(96) / 96

    def path(pattern, mirror):
        waves = motion.PATTERNS[pattern].values()
        return np.array([[wave(c, mirror) for c in cycles] for wave in waves])

    def rounds(x, wraps):  # the same movement begun at another phase
        shifts = [np.roll(x, k, axis=1) for k in range(96)]
        return [s - (np.floor(s) if wraps else 0) for s in shifts]

    for pattern in {row.pattern for row in rows}:
        wraps = "angle" in motion.PATTERNS[pattern]
        ways = [y for mirror in (1, -1) for y in rounds(path(pattern, mirror), wraps)]
        backwards = rounds(path(pattern, 1)[:, ::-1], wraps)[0]
        assert any(np.allclose(backwards, y) for y in ways), pattern
        if "x" in motion.PATTERNS[pattern]:
            mirrored = path(pattern, 1) * [
                [-1 if c == "x" else 1] for c in motion.PATTERNS[pattern]
            ]
            assert any(np.allclose(mirrored, y) for y in ways), pattern


def test_spread_shift_hands_each_pattern_another_spread():
    rows = [motion.classes("variance", spread_shift=k) for k in range(8)]
    for i in range(7):
        assert len({shifted[i].tempo_spread for shifted in rows[:7]}) == 7
    assert rows[7] == rows[0]
    with pytest.raises(InputError, match=r"spread_shift=1 .* leave it at 0"):
        motion.classes("pairs", spread_shift=1)


def test_metadata_names_every_video(small):
    records = json.loads((small / "tempo.json").read_text())
    on_disk = {str(p.relative_to(small / "videos")) for p in (small / "videos").glob("*/*.mp4")}
    assert set(records) == on_disk
    for path, record in records.items():
        row = next(c for c in motion.classes("pairs") if c.name == path.split("/")[0])
        assert (record["pattern"], record["tempo"]) == (row.pattern, row.tempo)
        assert record["cycles_per_s"] * row.median_period_frames / 25 == pytest.approx(1, abs=0.11)
        assert 0 <= record["phase"] < 1
        assert record["class_tempo_spread"] == 1.1


def test_hard_level_has_noise_clutter_drift_and_distractors():
    rng = np.random.default_rng(0)
    easy, hard = (scenes.sample_scene(rng, "slide_vertical", lvl) for lvl in ("easy", "hard"))
    still = [scenes.render_frame(easy, 0.0, when, 64, 80) for when in (0.0, 0.5)]
    np.testing.assert_array_equal(*still)
    moving = [scenes.render_frame(hard, 0.0, when, 64, 80).astype(int) for when in (0.0, 0.5)]
    assert np.mean(np.abs(moving[0] - moving[1]) > 20) > 0.3
    assert len(hard.distractors) == 2
    again = scenes.render_frame(hard, 0.0, 0.5, 64, 80)
    np.testing.assert_array_equal(moving[1], again)


def test_a_complete_folder_is_reused_and_another_refused(small):
    before = {p: p.stat().st_mtime_ns for p in small.rglob("*")}
    assert synthetic.write_tempobench(small, **SMALL) == small
    assert {p: p.stat().st_mtime_ns for p in small.rglob("*")} == before
    with pytest.raises(InputError, match=r"with seed=0, not 1; name another folder or remove it"):
        synthetic.write_tempobench(small, seed=1, **SMALL)
    with pytest.raises(InputError, match=r"num_train=14, not 28"):
        synthetic.write_tempobench(small, **(SMALL | dict(num_train=28)))


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"is no TempoBench data set; name another folder"):
        synthetic.write_tempobench(tmp_path, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(synthetic, "write_video", fail)
    with pytest.raises(OSError, match="disk full"):
        synthetic.write_tempobench(tmp_path / "b", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(config="pair"), "Unknown TempoBench config 'pair'. Did you mean 'pairs'"),
        (dict(level="easyy"), "Unknown TempoBench level 'easyy'. Did you mean 'easy'"),
        (dict(codec="h265"), "Unknown codec 'h265'. Did you mean 'h264'"),
        (dict(num_test=13), "num_test=13 leaves classes without a video"),
        (dict(height_px=33), "height_px=33 must be even and at least 32"),
        (dict(height_px=64), "width_px=32 is below height_px=64"),
        (dict(num_frames=1), "num_frames=1 must be at least 2"),
        (dict(fps=0), "fps=0 must be at least 1"),
        (dict(seed=-1), "seed=-1 must be at least 0"),
    ],
)
def test_bad_parameters_are_named(change, message, tmp_path):
    with pytest.raises(InputError) as error:
        synthetic.write_tempobench(tmp_path / "b", **(SMALL | change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
