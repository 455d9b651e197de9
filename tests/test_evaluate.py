"""What training and evaluation share: the best metric, the table, which networks see one frame."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import evaluate, files, models, multigrid
from tempo.errors import InputError
from tempo.evaluators.evaluator import Evaluator
from tempo.evaluators.multi_view import MultiView
from tempo.evaluators.tempo_robustness import TempoRobustness
from tempo.types import ClipSpec

ROW = {"num_videos": 11, "protocol": "as it is"}


def evaluator(name, kind, every_epochs, label_kind="single"):
    scorer = types.SimpleNamespace(
        task=types.SimpleNamespace(kind=label_kind),
        clip=ClipSpec(num_frames=4, stride=3),
        view=types.SimpleNamespace(stride=0),
        flow=None,
    )
    return Evaluator(name, kind, scorer, every_epochs=every_epochs)


def plan_of(settings, total_epochs, **changed):
    clip = ClipSpec(num_frames=4)
    sizes = {"size_px": 32, "batch_size": 3, "num_videos": 9} | changed
    return multigrid.plan(settings, clip=clip, total_epochs=total_epochs, **sizes)


def test_a_checkpoint_of_another_activation_is_refused_by_its_key():
    """All leaves have the same names and shapes."""
    stored = {"config": {"model": {"backbone": {"variant": "c2d_r18", "act": "relu"}}}}
    model = {"name": "tsn_r18", "head": {"dropout_prob": 0.1}, "dtype": "bfloat16"}
    evaluate._check_model(model, "x", stored)
    message = r"'x' is of another model .* \(model.backbone.act: 'relu' there, 'elu' here\)"
    with pytest.raises(InputError, match=message):
        evaluate._check_model({**model, "backbone": {"act": "elu"}}, "x", stored)
    evaluate._check_model(model, "x", {"config": {}})


def test_due_by_epochs_and_at_the_end():
    periodic = evaluator("x", MultiView(), 2.0)
    plan = plan_of(multigrid.Settings(), total_epochs=14 / 3)
    assert [s for s in range(1, 15) if periodic.is_due(s, plan)] == [6, 12, 14]
    assert not evaluator("x", MultiView(), 0.0).is_due(14, plan)


def test_due_by_epochs_where_they_have_ever_fewer_steps():
    plan = plan_of(multigrid.Settings(cycle="short", epoch_factor=1.0), total_epochs=5.0)
    # 9 clips an epoch, 12 + 6 + 3 in three steps.
    shown = [12, 18, 21, 33, 39, 42, 45][: plan.num_steps]
    due = [s for s in range(1, plan.num_steps) if evaluator("x", MultiView(), 2.0).is_due(s, plan)]
    assert due == [s + 1 for s, clips in enumerate(shown) if clips in (18, 39)]


@pytest.mark.parametrize("cycle", ["short", "both"])
@pytest.mark.parametrize("every_epochs, times", [(1.0, 30), (5.0, 6)])
def test_due_by_epochs_shown_not_those_of_the_plain_schedule(cycle, every_epochs, times):
    settings = multigrid.Settings(cycle=cycle, epoch_factor=1.5)
    plan = plan_of(settings, total_epochs=20.0, num_videos=900)
    periodic = evaluator("x", MultiView(), every_epochs)
    due = [step for step in range(1, plan.num_steps + 1) if periodic.is_due(step, plan)]
    assert len(due) == times and due[-1] == plan.num_steps
    # The first step that is through with so many epochs.
    for i, step in enumerate(due[:-1]):
        assert plan.epochs(step - 1) < (i + 1) * every_epochs <= plan.epochs(step)


def test_the_best_checkpoint_is_that_of_a_multi_view_evaluator():
    tempo, late = evaluator("a", TempoRobustness(), 1.0), evaluator("b", MultiView(), 0.0)
    views = evaluator("c", MultiView(), 2.0)
    assert evaluate.best_metric([tempo, late, views]) == "c/top1"
    assert evaluate.best_metric([tempo, late]) == ""
    assert evaluate.best_metric([evaluator("m", MultiView(), 1.0, "multi")]) == (
        "m/mean_average_precision"
    )


def test_rows_are_written_as_they_come(tmp_path, capsys):
    """So that a job that is cut during the last evaluator keeps the others."""
    path = tmp_path / "results.json"
    same = {**ROW, "manifest_sha256": "0", "checkpoint_step": 5, "top1": 0.5}
    evaluate.write_results(
        tmp_path, [{"name": "a", "split": split, **same} for split in ("test", "val")]
    )

    def row(name, top1):
        return {"name": name, "split": "test", **same, "top1": top1}

    def last(variables, step):
        assert [(r["name"], r["split"], r["top1"]) for r in files.read_json(path)] == [
            ("a", "val", 0.5), ("a", "test", 0.25), ("b", "test", 0.75),
        ]  # fmt: skip
        assert capsys.readouterr().out == ""
        raise InterruptedError

    made = [
        types.SimpleNamespace(name="a", run=lambda variables, step: row("a", 0.25)),
        types.SimpleNamespace(name="b"),
        types.SimpleNamespace(name="c", run=last),
    ]
    done = {"b": row("b", 0.75)}
    with pytest.raises(InterruptedError):
        evaluate.finish(made, {}, 5, tmp_path, done=done)
    assert len(files.read_json(path)) == 3
    assert evaluate.finish(made[:2], {}, 5, tmp_path, done=done) == [row("a", 0.25), row("b", 0.75)]
    assert capsys.readouterr().out.count("11: as it is") == 2


def test_the_table_prints_what_each_kind_found():
    top = {"top1": 0.5, "top5": 0.75}
    rows = [
        {"name": "views", **ROW, **top, "mean_class": 0.4, "ci95": [0.4, 0.6]},
        {"name": "tags", **ROW, "mean_average_precision": 0.1234},
        {"name": "pairs", **ROW, **top, "ci95": [0.4, 0.6], "verb_top1": 0.6, "verb_top5": 0.9},
        {
            "name": "tempo", **ROW, **top, "ci95": [0.4, 0.6], "trained_stride": 8,
            "curve": [
                {"stride": 2, "top1": 0.25, "top5": 0.6, "drop": -0.25},
                {"stride": 8, **top, "drop": 0.0},
            ],
            "mean_abs_drop": 0.25,
        },
        {"name": "frames", **ROW, "top1": 0.3, "num_frames": 99},
        {"name": "order", **ROW, **top, "variants": {"normal": 0.5, "reversed": 0.125}},
    ]  # fmt: skip
    lines = [line.split() for line in evaluate.table(rows).splitlines()]
    told = ["11:", "as", "it", "is"]
    assert lines[1:] == [
        ["views", "0.500", "0.400", "to", "0.600", "0.750", "0.400", *told],
        ["tags", "mAP", "0.1234", *told],
        ["pairs", "0.500", "0.400", "to", "0.600", "0.750", *told],
        ["verb", "0.600", "0.900"],
        ["tempo", "0.500", "0.400", "to", "0.600", "0.750", *told],
        ["stride", "2", "0.250", "-0.250", "0.600"],
        ["stride", "8", "0.500", "trained", "0.750"],
        ["mean", "|drop|", "0.250"],
        ["frames", "0.300", *told],
        ["order", "0.500", "0.750", *told],
        ["normal", "0.500"],
        ["reversed", "0.125"],
    ]


SMALL = {"depths": (1, 1, 1, 1), "width": 4}


@pytest.mark.parametrize(
    "expected, model",
    [
        (True, {"backbone": {"variant": "c2d_r18", **SMALL}}),
        (False, {"backbone": {"variant": "c2d_r18", "temporal": "tsm", "shift_div": 4, **SMALL}}),
        (False, {"backbone": {"variant": "slowonly_r18", **SMALL}}),
        (False, {"backbone": {"variant": "c2d_r18", "kernels_t": (1, 1, (1, 3), 1), **SMALL}}),
        (False, {"backbone": {"variant": "c2d_r18", "stem_kernel_t": 3, **SMALL}}),
        (False, {"backbone": {"variant": "c2d_r18", "pool2_stride_t": 2, **SMALL}}),
        (
            False,
            {
                "backbone": {"variant": "c2d_r18", **SMALL},
                "neck": {"name": "tpn", "alphas": "equal", "groups": 2},
            },
        ),
    ],
)
def test_networks_that_score_frames_on_their_own(expected, model):
    net = models.create(3, **model)
    assert evaluate.is_per_frame(net) == expected
    if expected:
        video = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 32, 32, 3)), jnp.float32)
        variables = net.init(jax.random.key(0), video, train=False)
        both = [net.apply(variables, v, train=False)["logits"] for v in (video, video[:, 1:2])]
        copies = net.apply(variables, jnp.repeat(video[:, 1:2], 3, axis=1), train=False)["logits"]
        np.testing.assert_allclose(copies, both[1], atol=1e-5)
        assert np.abs(both[0] - both[1]).max() > 1e-3


def test_presets_that_score_frames_on_their_own():
    alone = [n for n in models.list_models() if evaluate.is_per_frame(models.create(2, name=n))]
    depths = ["r101", "r152", "r152_flow", "r18", "r34", "r50", "r50_flow"]
    assert alone == [f"tsn_{depth}" for depth in depths]
