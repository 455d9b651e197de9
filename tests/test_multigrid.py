"""The plan of a run, step by step; that a run follows it is in test_programs.py."""

import itertools
import pickle

import numpy as np
import pytest

from tempo import multigrid, optim
from tempo.errors import InputError
from tempo.types import ClipShape, ClipSpec

CLIP = ClipSpec(num_frames=16, stride=2)


def plan(cycle="both", settings=(), **changed):
    arguments = {
        "clip": CLIP,
        "size_px": 224,
        "batch_size": 64,
        "num_videos": 24_000,
        "total_epochs": 120.0,
    }
    made = multigrid.Settings(cycle=cycle, **dict(settings))
    return multigrid.plan(made, **(arguments | changed))


SLOWFAST = plan(boundaries_epochs=(40, 80, 100))


def test_the_published_example_of_a_stepwise_schedule():
    ends = [round(SLOWFAST.epochs(phase.end_step)) for phase in SLOWFAST.phases]
    assert ends == [31, 46, 60, 67, 97, 113, 126, 133, 149, 156, 163, 166, 180]
    tuning = SLOWFAST.phases[-1]
    assert tuning.first_clip / 64 / tuning.first_step == pytest.approx(5.75, rel=2e-3)
    assert SLOWFAST.plain_steps / SLOWFAST.num_steps == pytest.approx(3.45, rel=2e-3)
    assert {shape[:1] + shape[2:4] for shape in SLOWFAST.programs()} == {
        (4, 112, 1024), (4, 158, 512), (8, 112, 512), (8, 158, 256), (8, 224, 128),
        (16, 112, 256), (16, 158, 128), (16, 224, 64),
    }  # fmt: skip
    # The shapes of a cycle have as many steps as each other.
    counts = [phase.num_steps for phase in SLOWFAST.phases[:4]]
    assert max(counts) - min(counts) <= 2


def test_the_rate_follows_the_long_cycle_and_falls_where_a_cycle_ends():
    schedule = optim.make_schedule(
        SLOWFAST.num_steps, SLOWFAST.steps_in, 64, name="steps", base_lr=0.1,
        boundaries_epochs=(40, 80, 100),
    )  # fmt: skip
    rate = optim.multiplied(schedule, SLOWFAST.lr_factors)
    *cyclic, tuning = SLOWFAST.phases
    for i, phase in enumerate(cyclic):
        expected = 0.1 * 0.1 ** (i // 4) * (8, 4, 2, 1)[i % 4]
        for step in (phase.first_step, phase.first_step + 1, phase.end_step - 1):
            assert float(rate(step)) == pytest.approx(expected, rel=1e-5)
    # As in SlowFast's code the last fall is in the middle of the fine-tuning.
    middle = tuning.first_step + tuning.num_steps // 2
    assert float(rate(middle - 1)) == pytest.approx(1e-3, rel=1e-4)
    assert float(rate(middle)) == pytest.approx(1e-4, rel=1e-4)


def test_a_cosine_has_three_cycles_and_the_warmup_holds_for_the_product():
    made = plan()
    assert len(made.phases) == 13 and made.phases[-1].name == "fine-tuning"
    schedule = optim.make_schedule(
        made.num_steps, made.steps_in, 64, base_lr=0.1, warmup_steps=500, warmup_factor=0.1
    )
    rate = optim.multiplied(schedule, made.lr_factors)
    steps = [0, 250, 499, 500, made.num_steps]
    np.testing.assert_allclose(
        [float(rate(step)) for step in steps],
        [0.08, 0.8 * 0.55, 0.8, 0.8, 0.0], rtol=5e-3, atol=1e-7,
    )  # fmt: skip


@pytest.mark.parametrize("cycle", ["short", "long", "both", "per_epoch"])
def test_steps_follow_each_other_without_gap_and_show_what_they_should(cycle):
    made = plan(cycle, num_videos=1000, total_epochs=10.0, batch_size=2, clips_per_video=2)
    steps = range(made.num_steps)
    shapes = [made.at(step) for step in steps]
    ends = itertools.accumulate((shape.batch_size for shape in shapes), initial=0)
    assert [shape.first_clip for shape in shapes] == list(ends)[:-1]
    assert made.epochs(made.num_steps) == pytest.approx(15, abs=64 / 2000)
    assert set(made.programs()) == {shape._replace(first_clip=-1) for shape in shapes}
    assert made.programs(made.num_steps - 1) == (shapes[-1]._replace(first_clip=-1),)
    assert made.steps_in(0) == 0 and made.steps_in(10) == made.num_steps
    assert pickle.loads(pickle.dumps(made.at))(7) == shapes[7]


def test_short_clips_may_span_as_much_of_the_video():
    strides = {shape.num_frames: shape.strides for shape in SLOWFAST.programs()}
    assert strides == {4: tuple(range(2, 9)), 8: (2, 3, 4), 16: (2,)}
    drawn = plan(clip=ClipSpec(num_frames=16, stride=2, train_strides=(1, 4)))
    strides = {shape.num_frames: shape.strides for shape in drawn.programs()}
    assert strides == {4: tuple(range(1, 17)), 8: tuple(range(1, 9)), 16: (1, 4)}


def test_a_plain_plan_is_that_of_runs_before():
    made = plan("none", num_videos=25, batch_size=8, total_epochs=4.5)
    assert made.is_plain and made.num_steps == 14 and made.plain_steps == 14
    assert made.at(13) == ClipShape(16, (2,), 224, 8)
    assert made.epochs(7) == 7 / 3 and made.steps_in(2.5) == round(2.5 * 3)
    assert made.lr_factors == ((0, 1.0),)


def test_a_run_may_be_counted_in_steps_or_have_none():
    made = plan("none", num_videos=25, batch_size=8, total_steps=7)
    assert (made.num_steps, made.plain_steps, made.epochs(6)) == (7, 7, 2)
    assert [step for step in range(1, 8) if made.passes(step, 1.0)] == [3, 6]
    with pytest.raises(InputError, match="'both' plans epochs, but total_steps=7"):
        plan(total_steps=7)
    for cycle in ("none", "both"):
        none = plan(cycle, total_epochs=0)
        assert none.num_steps == 0 and none.programs() == () and "no steps" in none.summary()
    with pytest.raises(InputError, match="total_epochs=0 trains nothing, but total_steps=7"):
        multigrid.check_length(0, 7)


def test_a_run_too_short_for_its_cycle():
    with pytest.raises(InputError, match="cycle 1, shape 1 has .* clips, no step of 1024"):
        plan(num_videos=24, total_epochs=10.0)
    with pytest.raises(InputError, match="boundaries_epochs=.* must rise"):
        plan(boundaries_epochs=(80, 40))


@pytest.mark.parametrize("cycle, factor", [("none", ""), ("both", " or multigrid.epoch_factor")])
def test_a_run_too_long_to_count_its_steps(cycle, factor):
    with pytest.raises(InputError, match=f"than the 2147483647 .*; lower total_epochs{factor}.$"):
        plan(cycle, total_epochs=1e9)


def test_epochs_of_the_released_code_that_are_cut():
    def per_epoch(factor, **changed):
        return plan("per_epoch", {"epoch_factor": factor}.items(), total_epochs=100.0, **changed)

    # 100 * 1.1 is a little more than 110.
    assert per_epoch(1.1).phases[-1].name == "epoch 110, quarter 4"
    # Each quarter of a twentieth of an epoch has 300 clips, and the first took 512 of them.
    cut = per_epoch(1.0005)
    last = [(phase.name, phase.num_steps) for phase in cut.phases if phase.first_clip >= 2_400_000]
    assert last == [(f"epoch 101, quarter {i}", n) for i, n in ((1, 1), (3, 2), (4, 2))]
    assert cut.epochs(cut.num_steps) == pytest.approx(100.05, abs=256 / 24_000)
    starts = [phase.first_step for phase in cut.phases]
    assert starts == [step for _, step in cut.knots[:-1]] and cut.knots[-1] == (100, cut.num_steps)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epoch_factor": 0}, "epoch_factor must be a positive number; got 0"),
        ({"epoch_factor": float("nan")}, "epoch_factor must be a positive number; got nan"),
        ({"epoch_factor": "inf"}, "epoch_factor must be a positive number; got 'inf'"),
        ({"num_cycles": 2.5}, "num_cycles must be a positive whole number; got 2.5"),
        ({"finetune_share": 1.0}, r"finetune_share must be a number in \[0, 1\)"),
        ({"norm_group_size": -1}, r"norm_group_size must be a whole number, 0 \(the batch\)"),
        ({"norm_group_size": 2.5}, "norm_group_size must be a whole number"),
        ({"cycle": "lnog"}, "Did you mean 'long'"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        multigrid.Settings(**settings)


def test_the_nearest_batch_fits_every_step():
    def fits(clips):
        return clips % 4 == 0 and (clips <= 8 or clips % 8 == 0)

    assert multigrid.nearest_batch_sizes(12, (1, 2, 4), fits) == [8, 16]
    assert multigrid.nearest_batch_sizes(3, (1, 2), fits) == [4]
