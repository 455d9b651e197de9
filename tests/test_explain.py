"""The drawing of what a config reads: every line is checked against the sampling it stands for."""

import re

import numpy as np
import pytest

from tempo import explain, protocols, recipe
from tempo.data import flow_sampling, sampling, view_draws
from tempo.errors import InputError
from tempo.types import ClipSpec, FlowSpec
from tests import forked, tiny

FLOW = FlowSpec(num_snippets=3)


def make(data_dir="nowhere", **changed):
    """The recipe of the tiny config, with other sections."""
    scope = {}
    exec(tiny.CONFIG.replace("DATA", str(data_dir)), scope)
    config = scope["get_config"]().to_dict()
    return recipe.from_config(config | changed)


def text_of(video=None, flow=None, **changed):
    return explain.explain(make(**changed), video or explain.Video(10, 25), flow)


def numbers_below(text, heading):
    """The lists of frames under one heading, as integers."""
    part = text.split(f"\n{heading}: ")[1].split("\n\n")[0]
    return [[int(n) for n in row.split()] for row in re.findall(r"^ +frames ([\d ]+)$", part, re.M)]


def marks(line):
    """Columns of a time line that are not empty."""
    return [i for i, mark in enumerate(line[10:70]) if mark != "."]


def test_evaluators_are_drawn_as_they_read():
    text = text_of(clip={"num_frames": 8, "stride": 8})
    clip = ClipSpec(num_frames=8, stride=8)
    expected = sampling.eval_indices(250, clip, num_clips=2)
    assert numbers_below(text, "multi_view") == expected.tolist()
    assert numbers_below(text, "single_view") == sampling.eval_indices(250, clip).tolist()
    assert "multi_view: 2 clips (linspace) x 3 crops = 6 views of split 'test', at the end" in text
    assert (
        "single_view: 1 clip (linspace) x 1 crop = 1 view of split 'test', every 2 epochs" in text
    )
    assert "a span of 57, 2.28 s" in text
    assert "16 frames read, 16 different of 250; from 0.00 to 10.00 s, at most 5.48 s" in text


def test_training_draws_are_those_of_the_first_batch():
    text = text_of(seed=7, clip={"num_frames": 4, "stride": 2, "train_strides": (1, 2, 8)})
    clip = ClipSpec(num_frames=4, train_strides=(1, 2, 8))
    expected = [
        sampling.train_indices(250, clip, np.random.default_rng((7, 0, i))).tolist()
        for i in range(4)
    ]
    assert numbers_below(text, "train") == expected
    assert "in training one in 1, 2, 8" in text


def test_a_time_line_marks_the_columns_of_its_frames():
    video = explain.Video(6, 10)  # a column is a frame
    line = explain._time_line(video, np.array([0, 7, 7, 59]))
    assert line == "#......@" + "." * 51 + "#"
    # Fewer frames than columns: a frame is as wide as it lasts; more: it still shows.
    assert explain._time_line(explain.Video(3, 10), np.array([0, 29])) == "##" + "." * 56 + "##"
    assert explain._time_line(explain.Video(60, 30), np.array([1799]))[-1] == "#"


def test_the_axis_stands_over_the_line():
    axis = explain._axis(explain.Video(10, 25))
    assert axis.index("|0") == 10 and axis.index("|4") == 34 and axis.endswith("|10 s")
    assert axis.index("|10 s") == 70


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        ({"num_frames": 5, "sampling": "segments"}, "one in each of 5 equal parts"),
        ({"num_frames": 5, "sampling": "uniform"}, "anywhere among the stored frames"),
        ({"num_frames": 5, "order": "reverse"}, "; backwards"),
        ({"num_frames": 5, "order": "concat"}, "; forwards, then backwards"),
        ({"num_frames": 5, "reverse_prob": 0.5}, "turned round with probability 0.5"),
        (
            {"num_frames": 5, "stride": 2, "fps": 5.0},
            "one in 2 ticks of 5 fps: a span of 9, 1.80 s",
        ),
        ({"num_frames": 5, "stride": 100, "short": "loop"}, "longer than a video start again"),
        ({"num_frames": 1}, "Clip: 1 frame: a span of 1, 0.04 s"),
    ],
)
def test_every_kind_of_clip(clip, said):
    text = text_of(clip=clip)
    assert said in text
    video = explain.Video(10, 25)
    expected = sampling.eval_indices(250, ClipSpec(**clip), 2, timestamps=video.timestamps)
    assert numbers_below(text, "multi_view") == expected.tolist()


def test_a_frame_read_twice_is_marked():
    text = text_of(clip={"num_frames": 4, "order": "concat", "stride": 100})
    assert "@" in text.split("\nall ")[1].split("\n")[0]


def test_the_frame_for_differences_is_counted():
    ops = ({"name": "residual", "pad": "extra"}, "normalize")
    text = text_of(input={"size_px": 32, "device_ops": ops})
    assert "5 frames (1 of them only for differences)" in text
    expected = sampling.eval_indices(250, ClipSpec(num_frames=4, stride=2), 2, extra_frames=1)
    assert numbers_below(text, "multi_view") == expected.tolist() and expected.shape == (2, 5)
    assert "one in 2 stored frames: a span of 9" in text
    drawn = numbers_below(text, "train")
    assert len(drawn) == 4 and all(len(row) == 5 for row in drawn)
    with pytest.raises(InputError, match="sampling='segments' has none"):
        text_of(input={"device_ops": ops}, clip={"num_frames": 4, "sampling": "segments"})


def test_flow_snippets():
    text = text_of(flow=FLOW, clip={"num_frames": 1})
    frames, fields = flow_sampling.eval_indices(250, ClipSpec(num_frames=1), FLOW, 1)
    assert numbers_below(text, "single_view") == frames.tolist()
    ends = ", ".join(f"{s.min()}-{s.max()}" for s in fields[0])
    assert f"          fields {ends}\n" in text.split("single_view:")[1]
    assert "3 snippets of 10 fields around the clip's middle frame, tau 5 between centres" in text
    assert "training draws 1 to 10" in text
    assert f"30 fields, {len(np.unique(fields))} different" in text


def test_snippets_that_overlap_are_starred():
    video = explain.Video(6, 10)
    fields = np.array([[0, 1, 2, 3], [2, 3, 4, 5], [8, 9, 10, 11]])
    line = explain._snippet_line(video, fields)
    assert line[:14] == "11**22..3333.."
    rows = list(explain._clip_rows("x", video, np.array([3]), np.array([[0, 0, 1], [4, 5, 6]])))
    assert rows[-1].endswith("fields 0-1 (1 repeated), 4-6")


def test_flow_of_clips_played_backwards_is_refused():
    with pytest.raises(InputError, match="forwards"):
        text_of(flow=FLOW, clip={"num_frames": 4, "order": "reverse"})


def test_long_clips_are_cut_in_the_middle():
    text = text_of(clip={"num_frames": 64})
    assert re.search(r"frames 93 94 95 96 97 98 99 100 \.\.\. 149 150", text)
    assert max(map(len, text.splitlines())) < 160


def test_the_rate_of_the_records_is_found(tmp_path):
    data_dir = tiny.make_records(tmp_path, fps=12)
    video = explain.imagine(make(data_dir))
    assert video.fps == 12 and video.num_frames == 120 and "records" in video.source
    assert explain.imagine(make(data_dir), 4, 30).num_frames == 120


def test_without_records_a_rate_is_assumed(tmp_path):
    video = explain.imagine(make(tmp_path / "none"))
    assert video.num_frames == 250 and "assumed: no records to be read in" in video.source
    assert explain.imagine(make(data={"dir": "none", "name": "ssv2"})).fps == 12


@pytest.mark.parametrize(("seconds", "fps"), [(0, 25), (10, -1), (float("nan"), 25), (10, 1e6)])
def test_a_video_that_cannot_be(seconds, fps):
    with pytest.raises(InputError, match="A video to explain needs"):
        explain.Video(seconds, fps)


def test_the_command(tmp_path):
    config = tiny.write_config(tmp_path / "config.py", tmp_path / "no_data")
    done = forked.run("--config", config, "--explain-sampling", "--seconds", 4, "--fps", 30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("A video of 4 s at 30 fps (given): frames 0 to 119.\n")
    assert done.stdout.count("\ndraw ") == 4 and "multi_view: 2 clips" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "config.py"]
    done = forked.run("--explain-sampling")
    assert done.returncode == 2 and done.stderr.startswith("error: --config is missing")


def test_random_views_of_another_stride_and_order():
    video = explain.Video(4, 25)
    views = {"views": "vipriors_20", "num_clips": 3}
    text = text_of(video, clip={"num_frames": 8, "short": "loop"}, eval={"tta20": views})
    clip = ClipSpec(num_frames=8, stride=2, order="concat", short="loop")
    shares = view_draws.draw(protocols.view_spec(**views), "imagined").starts
    expected = sampling.eval_indices(100, clip, 3, "random", shares=shares)
    assert numbers_below(text, "tta20") == expected.tolist()
    assert "tta20: 3 clips (random) x 1 crop = 3 views of split 'test', at the end" in text
    assert "112 px, of frames resized to 128 px, seed 20\nClip: 8 frames, one in 2 stored" in text
    assert "every video has its own draws" in text
    with pytest.raises(InputError, match="played forwards"):
        text_of(video, FLOW, eval={"tta20": views})


def test_other_kinds_of_evaluators_are_drawn_too():
    view = {"short_side_px": 36, "size_px": 32}
    text = text_of(
        clip={"num_frames": 4, "stride": 8},
        eval={
            "frames": {"kind": "per_frame", "frames_per_s": 0.5, "frame_clip": "single", **view},
            "copies": {"kind": "per_frame", "frames_per_s": 0.1, "frame_clip": "static", **view},
            "auto": {"kind": "per_frame", **view},
            "tempo": {"kind": "tempo_robustness", "strides": (4, 16), "num_clips": 2, **view},
            "time": {"kind": "use_of_time", **view},
        },
    )
    assert "frames: per_frame, frames at 0.5 per second, each on its own, of split 'test'" in text
    assert numbers_below(text, "frames") == [[0, 50, 100, 150, 200]]
    assert "copies: per_frame, frames at 0.1 per second, each as a clip of copies, of" in text
    assert numbers_below(text, "copies") == [[0]]
    assert "each on its own, or as a clip of copies where the network sees several, of" in text
    expected = [
        frames.tolist()
        for stride in (4, 8, 16)
        for frames in sampling.eval_indices(250, ClipSpec(num_frames=4, stride=stride), 2)
    ]
    assert "tempo: tempo_robustness, 2 clips (linspace) x 1 crop = 2 views" in text
    assert numbers_below(text, "tempo") == expected
    part = text.split("tempo: ")[1].split("time: ")[0]
    assert re.findall(r"^stride \d+", part, re.M) == ["stride 4", "stride 8", "stride 16"]
    clip = ClipSpec(num_frames=4, stride=8)
    assert numbers_below(text, "time") == sampling.eval_indices(250, clip).tolist()
