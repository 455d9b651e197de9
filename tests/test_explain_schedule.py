"""The schedule as text: its numbers are those of the plan."""

import re

import pytest

from tempo import explain_schedule, recipe
from tempo.errors import InputError
from tests import tiny


def make(**changed):
    """The recipe of the tiny config, with other sections; its records do not exist."""
    scope = {}
    exec(tiny.CONFIG.replace("DATA", "nowhere"), scope)
    return recipe.from_config(scope["get_config"]().to_dict() | changed)


def test_phases_shapes_and_saving_are_told():
    made = make(
        multigrid={"cycle": "both"},
        clip={"num_frames": 16, "stride": 2},
        input={"size_px": 224},
        batch_size=64,
        total_epochs=120.0,
        schedule={"name": "steps", "base_lr": 0.1, "boundaries_epochs": (40, 80, 100)},
    )
    lines = explain_schedule.explain(made, 240_000).splitlines()
    assert lines[0].startswith("240000 videos (given), 120 epochs of the plain schedule")
    [row] = [line.split("  ") for line in lines if line.startswith("cycle 2, shape 3")]
    assert [cell.strip() for cell in row if cell] == [
        "cycle 2, shape 3", "512x8x112, 256x8x158, 128x8x224", "10857", "126.4",
        "0.02 to 0.02 (x2)",
    ]  # fmt: skip
    assert "8 distinct shapes, compiled once each:" in lines
    found = [re.search(r"^  (\S+) +stride (.*), (\d+) steps$", line) for line in lines]
    shapes = {m[1]: (m[2], int(m[3])) for m in found if m}
    assert len(shapes) == 8 and shapes["1024x4x112"][0] == "2 to 8"
    assert sum(steps for _, steps in shapes.values()) == int(lines[-3].split()[0])
    assert "A plain run has 450000 steps of 64 clips: x3.45 as many" in lines[-2]
    assert lines[-1] == "Until the fine-tuning that is x5.75."


def test_plain_schedules_and_many_phases_are_short():
    plain = explain_schedule.explain(make(), 24)
    assert "1 distinct shape" in plain and plain.endswith("12 steps show 4.0 epochs.\n")
    steps = explain_schedule.explain(make(total_steps=6), 24)
    assert steps.startswith("24 videos (given), 6 steps, ") and "6 steps show 2.0" in steps
    assert "no steps: the weights" in explain_schedule.explain(make(total_epochs=0), 24)
    with pytest.raises(InputError, match="freeze_base_steps=6 holds the base in all 6 steps"):
        explain_schedule.explain(make(total_steps=6, optim={"freeze_base_steps": 6}), 24)
    many = make(multigrid={"cycle": "per_epoch"}, total_epochs=40.0)
    assert "... 220 more, likewise ..." in explain_schedule.explain(many, 24_000)


def test_the_plain_run_has_the_batch_of_the_config_even_where_no_step_has():
    cut = make(multigrid={"cycle": "short"}, batch_size=8, total_epochs=4 / 3)
    lines = explain_schedule.explain(cut, 24).splitlines()
    assert "2 distinct shapes, compiled once each:" in lines  # 32 and 16 clips, then it ends
    assert lines[-1].startswith("A plain run has 4 steps of 8 clips: x2.00 as many. At equal")
    assert lines[-1].endswith("it would have x3.00.")


def test_segments_have_no_stride():
    clip = {"num_frames": 4, "sampling": "segments"}
    assert "  8x4x32  12 steps\n" in explain_schedule.explain(make(clip=clip), 24)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"batch_size": 8.0}, "batch_size must be a whole number, 1 or more; got 8.0"),
        ({"batch_size": 12}, "batch_size=12 makes steps of 12 clips .*: 8 and 16"),
        ({"batch_size": 32}, "batch_size=32 is more than the 24 videos of split 'train'"),
        ({"input": {"clips_per_video": 0}}, "clips_per_video=0 does not divide batch_size=8"),
    ],
)
def test_what_training_refuses_is_not_explained(changed, message):
    with pytest.raises(InputError, match=message):
        explain_schedule.explain(make(multigrid={"cycle": "short"}, **changed), 24)


def test_videos_are_counted_without_making_any():
    assert explain_schedule.count_videos(make(), 7)[0] == 7
    data = {"dir": "nowhere", "generate": {"num_train": 24}}
    assert explain_schedule.count_videos(make(data=data))[0] == 24
    with pytest.raises(InputError, match="no records in 'nowhere' .* say --num_videos"):
        explain_schedule.count_videos(make())


def test_every_stage_is_told_by_its_name():
    scope = {}
    exec(tiny.CONFIG.replace("DATA", "nowhere"), scope)
    whole = scope["get_config"]().to_dict()
    parts = {"a_first": {"total_steps": 7}, "b_scored": {"total_steps": 0, "total_epochs": 0}}
    first, second = explain_schedule.of_config({**whole, "stages": parts}, 24).split("stage ")[1:]
    assert first.startswith("a_first, 1 of 2\n") and "24 videos (given), 7 steps, " in first
    assert second.startswith("b_scored, 2 of 2\n") and "no steps: the weights" in second
    assert explain_schedule.of_config(whole, 24) == explain_schedule.explain(make(), 24)
    parts["a_first"]["batch_size"] = 32
    with pytest.raises(InputError, match="Stage 'a_first': batch_size=32 is more than the 24"):
        explain_schedule.of_config({**whole, "stages": parts}, 24)
