"""Evaluation: of a checkpoint alone, and the part of it that training shares."""

import os
import types
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import ml_collections

from tempo import checkpoint, experiment, files, pretrained, program_cache, recipe, sharding
from tempo.data import device_ops, flow
from tempo.errors import InputError
from tempo.evaluators import multi_view, streaming
from tempo.evaluators.evaluator import Evaluator
from tempo.experiment import Experiment
from tempo.models import comparing, resnet, tracing
from tempo.progress import say


def evaluate(
    config: ml_collections.ConfigDict | None,
    workdir: str,
    checkpoint_path: str,
    evaluators: Sequence[str] = (),
    *,
    save_embedding: bool = False,
) -> list[dict[str, Any]]:
    """Evaluates a checkpoint with every evaluator of the config, or with those that are named.

    Args:
      config: says what to evaluate on; None takes the config stored in the checkpoint.
      workdir: where `results.json` and `scores/` go.
      checkpoint_path: one step's folder, or a run's workdir for its newest.
      evaluators: names of evaluators of the config, or of kinds that are then measured with their
        defaults; see `tempo.recipe.with_evaluators`. Empty takes all of the config.
      save_embedding: whether the multi-view ones among them store the pooled features too.

    Returns:
      The new rows of `results.json`.

    Raises:
      InputError: no checkpoint there, one of another architecture or other classes, or nothing to
        evaluate.
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
    if evaluators:
        config = recipe.with_evaluators(config, evaluators)
    if save_embedding:
        config = recipe.with_embedding(config)
    exp = experiment.create(config)
    if not exp.recipe.eval:
        raise InputError("The config has no evaluator; name some with --evaluators multi_view,...")
    _check_model(exp.recipe.model, path, info)
    _check_classes(exp, path, info)
    if exp.flow is not None:
        flow.check_trained(info.get("flow"), exp.records.flow, f"Checkpoint {path!r}")
    pretrained.warn_of_normalization(path, info, exp.recipe.input.device_ops)
    made = create_evaluators(exp, workdir, info["config"])
    experiment.announce(exp)
    with program_cache.cached_in(exp.recipe.loop.compile_cache):
        return finish(made, _restore(exp, path), info["step"], workdir)


def create_evaluators(
    exp: Experiment, workdir: str, trained: Mapping[str, Any] | None = None
) -> list[Evaluator]:
    """The evaluators of the config, in the order of their names.

    Args:
      exp: what is evaluated on what.
      workdir: where their scores go.
      trained: the config that the network was trained with; None is this one.
    """
    r = exp.recipe
    row = (exp.config if trained is None else trained).get("row") or ""
    ops = device_ops.without_augmentation(r.input.device_ops)
    preprocess = device_ops.create(ops, exp.records.num_classes)
    predict = streaming.make_predict(exp.model, preprocess, exp.task, exp.mesh)
    unit = sharding.batch_unit(exp.mesh)
    like_training = -(-r.batch_size // unit) * unit
    made = []
    for name, settings in sorted(r.eval.items()):
        scorer = streaming.Scorer(
            name,
            predict,
            records=exp.records,
            split=settings.split,
            task=exp.task,
            mesh=exp.mesh,
            clip=r.clip,
            view=settings.view,
            extra_frames=exp.extra_frames,
            batch_size=settings.batch_size or like_training,
            num_workers=r.data.num_workers,
            worker_kind=r.data.worker_kind,
            flow=exp.flow,
            is_per_frame=is_per_frame(exp.model),
        )
        evaluator = Evaluator(
            name,
            settings.kind,
            scorer,
            every_epochs=settings.every_epochs,
            scores_dir=os.path.join(workdir, "scores"),
            row=row,
        )
        made.append(evaluator)
    return made


def is_per_frame(model: nn.Module) -> bool:
    """Whether a recognizer's scores are a mean over frames that do not see each other.

    So it is with a ResNet without temporal kernels, strides and modules, and without a neck: a clip
    of copies of a frame then has the scores of that frame alone.
    """
    backbone = model.backbone
    return model.neck is None and isinstance(backbone, resnet.ResNet) and backbone.is_per_frame


def best_metric(evaluators: list[Evaluator]) -> str:
    """The metric that the best checkpoint is chosen by: the first periodic multi-view evaluator's.

    Other kinds measure what a checkpoint is like, not how good it is.
    """
    views = multi_view.MultiView.name
    return next((e.main_metric for e in evaluators if e.is_periodic and e.kind.name == views), "")


def finish(
    evaluators: list[Evaluator],
    variables: Mapping[str, Any],
    step: int,
    workdir: str,
    *,
    done: Mapping[str, dict[str, Any]] = types.MappingProxyType({}),
    facts: Mapping[str, Any] = types.MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Runs all evaluators and prints what they found; the new rows of `results.json`.

    Each is written as soon as it is there. After training these are the results of the final
    state, not of the best checkpoint.

    Args:
      evaluators: all of them.
      variables: `{"params", "batch_stats"}`.
      step: finished steps of the checkpoint.
      workdir: where `results.json` goes.
      done: rows of the evaluators that have run on these variables already, by name.
      facts: further keys of every row.
    """
    rows = []
    write_results(workdir, rows)
    for evaluator in evaluators:
        row = done.get(evaluator.name) or evaluator.run(variables, step)
        rows.append({**row, **facts})
        write_results(workdir, rows[-1:])
    if sharding.is_lead_process():
        say(f"{table(rows)}\nresults are in {os.path.join(workdir, 'results.json')}")
    return rows


def write_results(workdir: str, rows: list[dict[str, Any]]) -> None:
    """Puts rows into `results.json`, in place of older ones of the same kind.

    Of the same kind are rows of one evaluator, protocol, dataset, split and checkpoint step.
    """
    if not sharding.is_lead_process():
        return
    path = os.path.join(workdir, "results.json")
    old = files.read_json(path) if os.path.exists(path) else []
    new = {_identity(row) for row in rows}
    files.write_json(path, [row for row in old if _identity(row) not in new] + rows)


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    keys = ("name", "protocol", "manifest_sha256", "split", "checkpoint_step")
    return tuple(row.get(key) for key in keys)  # older rows may not say their split


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text: accuracies, number of videos and protocol, then what a kind adds."""
    lines = [
        f"{'evaluator':16} {'top-1':>6} {'95 % interval':>15} {'top-5':>6} {'class':>6}  videos"
    ]
    for row in rows:
        told = f"{row['num_videos']}: {row['protocol']}"
        if "top1" in row:
            low, high = row.get("ci95", (None, None))
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            cells = f"{row['top1']:6.3f} {interval:>15} {_share(row, 'top5')}"
            lines.append(f"{row['name']:16} {cells} {_share(row, 'mean_class')}  {told}")
        else:
            lines.append(f"{row['name']:16} mAP {row['mean_average_precision']:.4f}{'':27}  {told}")
        groups = [key.removesuffix("_top1") for key in row if key.endswith("_top1")]
        for group in groups:
            top1, top5 = row[f"{group}_top1"], row[f"{group}_top5"]
            lines.append(f"{'  ' + group:16} {top1:6.3f} {'':15} {top5:6.3f}")
        lines += _curve_lines(row) + _variant_lines(row)
    return "\n".join(lines)


def _share(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:6.3f}" if key in row else " " * 6


def _curve_lines(row: Mapping[str, Any]) -> list[str]:
    """Of tempo robustness: one line for each stride, with its distance from the trained one."""
    lines = []
    for point in row.get("curve", ()):
        value = point.get("top1", point.get("mean_average_precision"))
        what = "trained" if point["stride"] == row["trained_stride"] else f"{point['drop']:+.3f}"
        name = f"  stride {point['stride']}"
        lines.append(f"{name:16} {value:6.3f} {what:>15} {_share(point, 'top5')}".rstrip())
    if lines:
        lines.append(f"{'  mean |drop|':16} {row['mean_abs_drop']:6.3f}")
    return lines


def _variant_lines(row: Mapping[str, Any]) -> list[str]:
    """Of use of time: one line for each order of the frames."""
    return [f"{'  ' + name:16} {value:6.3f}" for name, value in row.get("variants", {}).items()]


def _check_model(model: Mapping[str, Any], path: str, info: Mapping[str, Any]) -> None:
    """Raises `InputError` if the checkpoint's network scores otherwise than the config's.

    Shapes alone do not tell an activation, the fold of a shift, or the frames of a pathway.
    """
    stored = info["config"].get("model")
    if not isinstance(stored, Mapping):
        return
    try:
        found = comparing.differences(stored, model)
    except InputError:
        return  # of a network that can be made no more; what there is of it, the shapes say
    if found:
        what = [f"model.{key}: {a!r} there, {b!r} here" for key, (a, b) in found.items()]
        more = f"; and {len(what) - 3} more" if len(what) > 3 else ""
        own = "leave out --config to evaluate with its own, or " if "data" in info["config"] else ""
        raise InputError(
            f"Checkpoint {path!r} is of another model than the config's ({'; '.join(what[:3])}"
            f"{more}); {own}give the config's model these values of the checkpoint."
        )


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
    shapes = tracing.module_shapes(exp.model, exp.clip_shape)
    shardings = sharding.infer_shardings(shapes, exp.mesh, exp.recipe.sharding_rules)
    shardings = sharding.whole_over_data(shardings)
    return pretrained.load_variables(path, shapes, sharding.as_abstract(shapes, shardings))


def _some(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:3])}, ...)"
