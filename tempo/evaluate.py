"""Evaluation: of a checkpoint alone, and the part of it that training shares."""

import operator
import os
import types
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from tempo import checkpoint, experiment, files, pretrained, sharding
from tempo.data import device_ops
from tempo.errors import InputError
from tempo.evaluators import multi_view
from tempo.experiment import Experiment
from tempo.progress import say

Evaluator = multi_view.MultiView


def evaluate(
    config: ml_collections.ConfigDict | None, workdir: str, checkpoint_path: str
) -> list[dict[str, Any]]:
    """Evaluates a checkpoint with every evaluator of the config.

    Args:
      config: says what to evaluate on; None takes the config stored in the checkpoint.
      workdir: where `results.json` and `scores/` go.
      checkpoint_path: one step's folder, or a run's workdir for its newest.

    Returns:
      The new rows of `results.json`.

    Raises:
      InputError: no checkpoint there, or one of another architecture or other classes.
    """
    path = checkpoint.find(checkpoint_path)
    info = pretrained.load_info(path)
    if config is None:
        if "data" not in info["config"]:
            raise InputError(
                f"Checkpoint {path!r} has weights and no dataset; say with --config what to "
                "evaluate on, for example --config configs/quickstart.py."
            )
        # As it was trained, but on the devices that are here.
        config = {**info["config"], "mesh": {}}
    exp = experiment.create(config)
    _check_classes(exp, path, info)
    pretrained.warn_of_normalization(path, info, exp.recipe.input.device_ops)
    evaluators = create_evaluators(exp, workdir)
    experiment.announce(exp)
    return finish(evaluators, _restore(exp, path), info["step"], workdir)


def create_evaluators(exp: Experiment, workdir: str) -> list[Evaluator]:
    """The evaluators of the config, in the order of their names."""
    r = exp.recipe
    ops = device_ops.without_augmentation(r.input.device_ops)
    preprocess = device_ops.create(ops, exp.records.num_classes)
    predict = multi_view.make_predict(exp.model, preprocess, exp.mesh)
    unit = sharding.batch_unit(exp.mesh)
    like_training = -(-r.batch_size // unit) * unit
    return [
        Evaluator(
            name,
            predict,
            records=exp.records,
            task=exp.task,
            mesh=exp.mesh,
            clip=r.clip,
            view=settings.view,
            extra_frames=exp.extra_frames,
            split=settings.split,
            every_epochs=settings.every_epochs,
            batch_size=settings.batch_size or like_training,
            num_workers=r.data.num_workers,
            worker_kind=r.data.worker_kind,
            save_views=settings.save_views,
            scores_dir=os.path.join(workdir, "scores"),
        )
        for name, settings in sorted(r.eval.items())
    ]


def best_metric(evaluators: list[Evaluator]) -> str:
    """The metric that the best checkpoint is chosen by: the first periodic evaluator's main one."""
    return next((e.main_metric for e in evaluators if e.is_periodic), "")


def finish(
    evaluators: list[Evaluator],
    variables: Mapping[str, Any],
    step: int,
    workdir: str,
    *,
    done: Mapping[str, dict[str, Any]] = types.MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Runs all evaluators and writes `results.json`; its new rows.

    After training these are the results of the final state, not of the best checkpoint.

    Args:
      evaluators: all of them.
      variables: `{"params", "batch_stats"}`.
      step: finished steps of the checkpoint.
      workdir: where `results.json` goes.
      done: rows of the evaluators that have run on these variables already, by name.
    """
    rows = [done.get(e.name) or e.run(variables, step) for e in evaluators]
    write_results(workdir, rows)
    return rows


def write_results(workdir: str, rows: list[dict[str, Any]]) -> None:
    """Puts rows into `results.json`, in place of older ones of the same kind; prints them.

    Of the same kind are rows of one evaluator, protocol, dataset and checkpoint step.
    """
    if not sharding.is_lead_process():
        return
    path = os.path.join(workdir, "results.json")
    old = files.read_json(path) if os.path.exists(path) else []
    identity = operator.itemgetter("name", "protocol", "manifest_sha256", "checkpoint_step")
    new = {identity(row) for row in rows}
    files.write_json(path, [row for row in old if identity(row) not in new] + rows)
    say(f"{table(rows)}\nresults are in {path}")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text, one line each, protocol last."""
    lines = [
        f"{'evaluator':16} {'top-1':>6} {'95 % interval':>15} {'top-5':>6} {'class':>6}  videos"
    ]
    for row in rows:
        if "top1" not in row:
            lines.append(f"{row['name']:16} mAP {row['mean_average_precision']:.4f}")
            continue
        low, high = row["ci95"]
        per_class = f"{row['mean_class']:6.3f}" if "mean_class" in row else f"{'':6}"
        lines.append(
            f"{row['name']:16} {row['top1']:6.3f} {f'{low:.3f} to {high:.3f}':>15} "
            f"{row['top5']:6.3f} {per_class}  {row['num_videos']}: {row['protocol']}"
        )
        groups = [key.removesuffix("_top1") for key in row if key.endswith("_top1")]
        for group in groups:
            top1, top5 = row[f"{group}_top1"], row[f"{group}_top5"]
            lines.append(f"{'  ' + group:16} {top1:6.3f} {'':15} {top5:6.3f}")
    return "\n".join(lines)


def _check_classes(exp: Experiment, path: str, info: Mapping[str, Any]) -> None:
    """Raises `InputError` if the checkpoint and the dataset have other classes.

    Weights that do not know their classes' names need the same number only.
    """
    known, there = info["class_names"], list(exp.records.class_names)
    if known == there or (not known and info["num_classes"] == len(there)):
        return
    said = _some(known) if known else f"{info['num_classes']} (without names)"
    raise InputError(
        f"Checkpoint {path!r} knows the classes {said}, the dataset in "
        f"{exp.recipe.data.dir!r} has {_some(there)}; evaluate on a dataset "
        "with the same classes in the same order."
    )


def _restore(exp: Experiment, path: str) -> dict[str, Any]:
    def init(key):
        return exp.model.init(key, jax.numpy.zeros((1, *exp.clip_shape)), train=False)

    shapes = dict(jax.eval_shape(init, jax.random.key(0)))
    shapes.setdefault("batch_stats", {})
    shardings = sharding.infer_shardings(shapes, exp.mesh, exp.recipe.sharding_rules)
    return checkpoint.load_variables(path, sharding.as_abstract(shapes, shardings))


def _some(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:3])}, ...)"
