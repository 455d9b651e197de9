"""The MTNet recipe: every size, dataset, option and row is valid, with the paper's numbers."""

import functools
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import experiment, models, optim, recipe, trees
from tempo.errors import InputError
from tempo.papers import mtnet, mtnet_results
from tempo.papers.mtnet_results import ROWS

PATH = pathlib.Path(__file__).parents[2] / "configs" / "mtnet.py"
STRIDES = {"hacs": 2, "k400": 5, "k700": 5, "mit": 3, "ucf101": 4, "tempo_bench": 4}
CLASSES = {"hacs": 200, "k400": 400, "k700": 700, "mit": 339, "ucf101": 101, "tempo_bench": 14}


@functools.cache
def get_config():
    spec = importlib.util.spec_from_file_location("mtnet_recipe", PATH)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.get_config


@functools.cache
def made_of(arg):
    return recipe.from_config(get_config()(arg))


@pytest.mark.parametrize("data", mtnet.DATASETS)
@pytest.mark.parametrize("size", mtnet.SIZES)
def test_every_size_and_dataset(size, data):
    made = made_of(f"{size},{data}")
    models.create(CLASSES[data], **made.model)
    assert made.clip.num_frames == 16 and made.clip.stride == STRIDES[data]
    assert made.multigrid.cycle == ("short" if data == "tempo_bench" else "both")
    assert made.init_from == ("" if data in ("hacs", "tempo_bench") else f"runs/mtnet/t5.{size}")
    view = made.eval["multi_view"].view
    assert view.average == "probs" and view.crop == "three"
    if data == "tempo_bench":
        assert made.data.generate["num_train"] == 560
        return
    assert view.num_views == 30
    assert view.short_side_px == view.size_px == (182 if size == "s" else 256)
    assert made.input.size_px == (182 if size == "s" else 224)
    assert (made.batch_size, made.model["dtype"]) == (64, "bfloat16")


def test_a_row_or_an_option_reaches_its_part_of_the_config():
    for name in ROWS["mtnet"]:
        made = made_of(name)
        models.create(400, **made.model)
        assert made.row == name
    base = get_config()("m,hacs").to_dict()
    of_data = {("init", "scratch"), ("multigrid", "both")}  # what HACS has anyway
    for name, option in mtnet.OPTIONS.items():
        for choice in option.choices:
            made = get_config()(f"{name}={choice}").to_dict()
            is_default = choice in ("", option.default) or (name, choice) in of_data
            assert (made == base) == is_default, (name, choice)
            models.create(14, **recipe.from_config(made).model)
    backbone = made_of("t6c.m_stochastic").model["backbone"]
    assert backbone["mtconv"]["pool"] == "stochastic" and backbone["mtconv"]["frames"] == "pool"
    backbone = made_of("m,hacs,select=highest,square=on,layers=2,norms=shared").model["backbone"]
    assert backbone["stem_frames"]["select"] == "highest" and backbone["mtconv"]["share_norm"]
    assert backbone["mtconv"]["frames"]["square"] is True and backbone["sr_layers"] == 2
    assert made_of("s,hacs,last=relu").model["backbone"]["is_last_activated"] is True
    r1 = made_of("t6a.l_r1").model["backbone"]
    assert (r1["ratio"], r1["sr_layers"]) == (1.0, 0)
    assert made_of("m,k400,init=scratch").init_from == ""
    off = made_of("m,hacs,multigrid=off")
    assert not off.multigrid.is_on and off.model["norm_groups"] == 4  # 16 clips of 64 on 4 devices


def test_the_rate_warms_up_for_8000_steps_and_convolutions_transfer_slower():
    hacs, ucf = made_of("s,hacs"), made_of("s,ucf101")
    rate = optim.make_schedule(100_000, 1000, 64, **hacs.schedule)
    rates = [float(rate(step)) for step in (0, 7999, 8000, 54_000, 100_000)]
    np.testing.assert_allclose(rates, [0.01, 0.1, 0.1, 0.05, 0.0], rtol=1e-3, atol=1e-9)
    rate = optim.make_schedule(1000, 10, 64, **ucf.schedule)
    assert float(rate(0)) == pytest.approx(0.01) and ucf.total_epochs == 150
    model = models.create(14, **made_of("s,tempo_bench").model)
    video = jax.ShapeDtypeStruct((1, 16, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), video)
    params = jax.tree.map(lambda leaf: np.ones((), np.float32), shapes["params"])
    tx = optim.create(lambda step: 1.0, **{**ucf.optim, "momentum": 0.0, "weight_decay": 0.0})
    updates = tx.update(params, tx.init(params), params)[0]
    found = {"slow": set(), "fast": set()}
    for name, update in trees.named(updates).items():
        found["slow" if abs(float(update)) < 0.5 else "fast"].add(name.split("/")[-2])
    assert {"stem_conv", "local_conv", "prolonged_conv", "lateral_conv", "conv_proj"} == (
        found["slow"]
    )
    assert {"fc", "local_norm", "hn", "ir"} <= found["fast"]


def test_tempo_bench_trains_with_the_shapes_of_multigrid():
    made = made_of("s,tempo_bench")
    plan = experiment.plan_of(made, made.data.generate["num_train"])
    assert {(s.num_frames, s.size_px) for s in plan.programs()} == {(16, 16), (16, 23), (16, 32)}
    assert plan.num_steps < plan.plain_steps


@pytest.mark.parametrize(
    ("arg", "told"),
    [
        ("s,tempo_bench,ratio=0", "must be above 0 and at most 1"),
        ("m,hacs,ratio=1.5", "must be above 0 and at most 1"),
        ("m,hacs,cell=grru", "cell.*must be one of gru"),
        ("m,hacks", "Unknown size or dataset .*Did you mean 'hacs'"),
        ("m,hacs,pool=avg,select=highest", "give pool=avg_triplet"),
        ("net=slowonly,ratio=0.5", "is for net=mtnet"),
        ("m,s,hacs", "given twice"),
    ],
)
def test_what_means_nothing_is_told_in_one_line(arg, told):
    with pytest.raises(InputError, match=told) as error:
        get_config()(arg)
    assert "\n" not in str(error.value)


def test_published_numbers_have_rows_and_agree_with_each_other():
    rows = ROWS["mtnet"]
    assert set(mtnet_results.COSTS) | set(mtnet_results.LATENCIES) <= set(rows)
    assert {name.split(".")[0] for name in rows} == set(mtnet_results.TABLES)
    for size in mtnet.SIZES:
        same = [f"t5.{size}"] + [f"t6a.{size}_r0.875"] * (size != "s")
        same += [f"t6b.{size}_gru"] * (size != "l")
        assert len({tuple(rows[name].published.items()) for name in same}) == 1
    # "+13.5 top-1 and +8.2 top-5" of the paper's text.
    gain = {
        k: v - rows["t2.r50_3d"].published[k] for k, v in rows["t2.r50_mtconv"].published.items()
    }
    assert gain == pytest.approx({"top1": 13.5, "top5": 8.2})
