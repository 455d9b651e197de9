"""The VIPriors recipe: every documented argument is a valid recipe of stages that fit together."""

import functools
import re

import jax
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from tempo import init_from, init_plan, models, optim, protocols, recipe, stages, trees
from tempo.data import device_ops
from tempo.errors import InputError
from tempo.init_from import Classes
from tempo.papers import vipriors
from tempo.papers.vipriors_results import ENTRIES, ROWS
from tests import recipes

# What an option needs beside it.
BESIDE = {
    "inner": "conv_b=2plus1d", "pathways": "conv_b=acb3d", "shift": "model=tsm",
    "res_pad": "input=diff", "res_scale": "input=diff", "res_abs": "input=diff",
}  # fmt: skip
ARGUMENTS = [*ROWS["vipriors"]] + [
    f"{name}={choice}" + (f",{BESIDE[name]}" if name in BESIDE else "")
    for name, row in vipriors.OPTIONS.items()
    for choice in row.choices
]


module = functools.partial(recipes.module, "vipriors")
stages_of = functools.partial(recipes.stages_of, "vipriors")


@pytest.mark.parametrize("arg", ARGUMENTS)
def test_every_argument_is_a_valid_recipe(arg):
    for extra in ("", "" if "data=" in arg else ",data=tempobench,tta=on"):
        extra = extra.replace(",tta=on", "") if "tta=" in arg else extra
        if "split=" not in arg or not extra:
            for own in stages_of(arg + extra).values():
                models.create(101, **own.model)


@functools.cache
def shapes_of(arg, letter):
    own = stages_of(f"{arg},data=tempobench,size=small")[letter]
    return trees.named_shapes(init_from.shapes_of(own))


@pytest.mark.parametrize(
    ("arg", "fresh"),
    [
        ("t1.nl", {"stage2_block1_nonlocal", "stage3_block1_nonlocal"}),
        ("t1.2p1d", {"conv2", "conv2_t", "norm2_inner"}),
        ("t1.elu_pool_tam", {"temporal"}),
        ("t1.elu_pool_acb", {"conv2_3x3x3", "norm2_3x3x3", "conv2_3x1x1", "norm2_3x1x1"}),
        ("t2.tsm50.shift", set()),
        ("conv_b=3x3x3", set()),
        ("conv_b=acb2d", {"conv2_1x1x3", "conv2_1x3x1", "norm2_1x1x3", "norm2_1x3x1"}),
        ("model=tsm,tam=on,shift=off", {"temporal"}),
    ],
)
def test_modules_are_all_that_the_base_network_lacks(arg, fresh):
    base = "t1.base" if arg.startswith("t1") else arg
    there, here = shapes_of(base, "a_base"), shapes_of(arg, "b_modules")
    own = stages_of(arg)["b_modules"]
    plan = init_plan.plan(there, here, Classes(2), Classes(2), own.init_fresh)
    missing = {name for name in here if name not in plan.taken}
    found = {part for name in missing for part in name.split("/") if part in fresh}
    assert found == fresh and all(fresh & set(name.split("/")) for name in missing)


def test_stages_of_a_slow_fast_and_of_a_tsm():
    made = stages_of("t1.elu_pool_acb")
    assert list(made) == ["a_base", "b_modules", "c_augment", "d_concat"]
    a, b, c, d = made.values()
    assert [r.loop.stop_at for r in made.values()] == [0.5, 0, 0, 0]
    assert [r.clip.train_strides for r in made.values()] == [(), (), (1, 2), (1, 2)]
    assert [r.clip.reverse_prob for r in made.values()] == [0, 0, 0.5, 0]
    assert [r.clip.order for r in made.values()] == ["normal"] * 3 + ["concat"]
    assert all(r.eval["single_view"].view.order == "normal" for r in made.values())
    assert a.model["backbone"]["act"] == "relu" and a.model["backbone"]["conv_b"] == "plain"
    assert b.model == c.model == d.model and d.model["backbone"]["act"] == "elu"
    assert b.model["backbone"]["conv_b"] == {"name": "acb3d", "zero_init": True}
    assert c.input.host_ops[0] == {
        "name": "crop_then_resize", "scale": (0.8, 1.25), "corner_prob": 0.5,
    }  # fmt: skip
    assert c.input.device_ops[:3] == ("lighting", "brightness", "contrast")
    tsm = stages_of("t2.tsm101.shift")
    assert [r.clip.num_frames for r in tsm.values()] == [1, 16, 16, 16]
    assert tsm["a_base"].loop.stop_at == 0.53
    slots = [r.model["backbone"]["temporal"] for r in tsm.values()]
    assert slots == ["none", "tsm", "tsm", "tsm"]
    assert tsm["b_modules"].model["backbone"]["shift_every"] == 2
    # Differences of what the colour ops made, and of no mean.
    diff = stages_of("t2.sf50.diff")["d_concat"].input.device_ops
    assert diff[-1]["name"] == "residual" and diff[-1]["std"] == (57.375,) * 3
    assert list(stages_of("stages=none")) == [""]


def test_the_rate_falls_tenfold_after_20_and_40_epochs_of_37_steps():
    """Check: 4,795 training videos in batches of 128; decay of everything, norms too."""
    made = stages_of("")["d_concat"]
    steps_per_epoch = 4795 // made.batch_size
    assert steps_per_epoch == 37 and made.total_epochs == 60
    total = 60 * steps_per_epoch
    schedule = optim.make_schedule(total, steps_per_epoch, made.batch_size, **made.schedule)
    rates = [float(schedule(epoch * 37 + step)) for epoch, step in
             ((0, 0), (19, 36), (20, 0), (39, 36), (40, 0), (59, 36))]  # fmt: skip
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)
    settings = {"momentum": 0.9, "nesterov": False, "weight_decay": 5e-4}
    assert {key: made.optim[key] for key in settings} == settings
    tx = optim.create(schedule, **made.optim)
    params = {"conv": {"kernel": np.ones(2)}, "norm": {"scale": np.ones(2), "bias": np.ones(2)}}
    updates, _ = tx.update(jax.tree.map(np.zeros_like, params), tx.init(params), params)
    for update in jax.tree.leaves(updates):
        np.testing.assert_allclose(update, -1e-3 * 5e-4, rtol=1e-6)
    assert stages_of("lr_stage_a=1e-2")["a_base"].schedule["base_lr"] == pytest.approx(1e-2)


def test_entries_of_table_3_are_evaluators_of_their_network():
    for number, entry in ENTRIES.items():
        view = protocols.view_spec(f"vipriors_{number}")
        assert (view.num_clips, view.clip_starts, view.average) == (10, "random", "logits")
        assert (view.stride, view.crop, view.is_flipped, view.order) == (
            entry.interval, entry.crop, entry.is_flipped, entry.order,
        )  # fmt: skip
    rows = {"t2.sf50.rgb": 10, "t2.sf50.diff": 7, "t2.tsm50.shift": 5}
    for row, count in rows.items():
        made = stages_of(f"{row},tta=on,data=tempobench,size=small")
        assert not any("tta" in name for name in made["c_augment"].eval)
        found = [s for name, s in made["d_concat"].eval.items() if name.startswith("tta")]
        assert len(found) == count and {s.view.size_px for s in found} == {48}
    again = stages_of("t2.sf50.rgb,tta=repeat")["d_concat"].eval
    assert {name for name in again if "tta01" in name} == {
        "tta01", "tta01_r2", "tta01_r3", "tta01_r4",
    }  # fmt: skip
    seeds = [s.view.seed for name, s in again.items() if "tta" in name]
    assert len(set(seeds)) == len(seeds)
    assert "misprint" in ENTRIES[15].note and ENTRIES[15].published == 71.3


def test_a_number_of_one_stage_can_be_changed_on_the_command_line(monkeypatch):
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", flag_values=values, lock_config=False, accept_new_attributes=True
    )
    given = [
        "main", f"--config={recipes.FOLDER}/vipriors.py:t1.nl", "--config.total_epochs=3",
        "--config.stages.a_base.total_epochs=2.5", "--config.stages.a_base.loop.stop_at=0.25",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", given)  # where ml_collections looks for what is changed
    values(given)
    made = {n: recipe.from_config(c) for n, c in stages.split(values.config).items()}
    assert [r.total_epochs for r in made.values()] == [2.5, 3, 3, 3]
    assert made["a_base"].loop.stop_at == 0.25


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("t1.elu_pol", "no row 't1.elu_pol'. Did you mean 't1.elu_pool'"),
        ("shift=on", "'shift' is for model=tsm; this is model=slowfast"),
        ("res_abs=on", "'res_abs' is for input=diff; this is input=rgb"),
        ("stages=none,threshold=0.5", "'threshold' is of stage a, but stages=none"),
        ("model=tsm,tam=on", "one temporal module: give tam=on with shift=off"),
        ("pathways=slow", "'pathways' says where conv_b goes; give conv_b too"),
        ("lr_stage_a=fast", "'lr_stage_a' must be a rate such as 1e-2; got 'fast'"),
        ("t2.tsm50.shift,split=test,data=tempobench", "'split' is for data=mod_ucf101"),
    ],
)
def test_arguments_that_mean_nothing(arg, message):
    with pytest.raises(InputError, match=re.escape(message)):
        module().get_config(arg)


def test_the_docstring_names_every_option_and_row():
    text = module().__doc__
    table = text.split("first value the default:")[1].split("and at most one row")[0]
    for name, row in vipriors.OPTIONS.items():
        part = next(line for line in table.splitlines() if re.search(rf" {name} +\w", line))
        assert all(choice in part for choice in row.choices), name
        assert row.choices or row.default in part
    assert set(re.findall(r"`(t\d\.[\w.]+)`", text)) == set(ROWS["vipriors"])


def test_a_tiny_slow_fast_learns_16_clips_and_sees_nothing_in_still_ones():
    """Check: the loss falls; where nothing moves, differences give every clip the same scores."""
    net = models.create(
        4,
        name="slowfast_r50_64f_112",
        backbone={"depths": (1, 0, 0, 1), "width": 8, "slow_stride": 4, "fast_stride": 2},
        head={"dropout_prob": 0.0},
    )
    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, (16, 1, 32, 32, 3)).astype(np.float32).repeat(9, axis=1)
    see = device_ops.create(({"name": "residual", "std": (57.375,) * 3},), 4)
    labels = np.arange(16) % 4
    tx = optim.create(lambda _: 5e-2, nesterov=False, weight_decay=5e-4)

    @jax.jit
    def step(variables, opt_state, video):
        def loss_fn(params):
            out, new = net.apply(
                {**variables, "params": params}, video, train=True, mutable=["batch_stats"]
            )
            scores = jax.nn.log_softmax(out["logits"])
            return -scores[np.arange(16), labels].mean(), (new, out["logits"])

        (loss, (new, logits)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            variables["params"]
        )
        updates, opt_state = tx.update(grads, opt_state, variables["params"])
        params = jax.tree.map(lambda p, u: p + u, variables["params"], updates)
        return {"params": params, **new}, opt_state, loss, logits

    moving = np.cumsum(rng.normal(0, 20, still.shape), axis=1) + still
    video = see(jax.random.key(0), {"video": moving})["video"]
    variables = jax.jit(lambda key: net.init(key, video, train=False))(jax.random.key(0))
    opt_state = tx.init(variables["params"])
    losses = []
    for _ in range(26):
        variables, opt_state, loss, _ = step(variables, opt_state, video)
        losses.append(float(loss))
    assert losses[0] > 1 and losses[-1] < 0.1, losses
    nothing = see(jax.random.key(0), {"video": still})["video"]
    assert not nothing.any()
    logits = step(variables, opt_state, nothing)[3]
    np.testing.assert_array_equal(logits, logits[:1].repeat(16, axis=0))
