"""What a config stands for once devices and data are there; shared by training and evaluation."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import ml_collections

from tempo import checkpoint, cycles, files, models, multigrid, recipe, sharding, stages, streams
from tempo import optim as optimizers
from tempo import task as tasks
from tempo.data import device_ops, flow_sampling, host_ops, pipeline, sampling, specs
from tempo.data.tempobench import embedded
from tempo.errors import InputError, check_whole
from tempo.layers import norm
from tempo.models import size, tracing
from tempo.types import ClipShape, ClipShapes, FlowSpec
from tempo.version import __version__

# What may differ between two runs that share a workdir: it changes what is watched, where and how
# fast, and the numbers by no more than rounding. Sections as a whole, then single keys. Evaluators
# during training do change a run that ends once a metric is reached (`loop.stop_at`).
FREE_SECTIONS = ("eval/", "mesh/")
FREE_KEYS = (
    "data/dir",
    "data/num_workers",
    "data/worker_kind",
    "loop/log_every_steps",
    "loop/checkpoint_every_steps",
    "loop/keep_checkpoints",
    "loop/compile_cache",
    "sharding_rules",
    "model/remat",
)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked config with its mesh, records, model and task.

    Attributes:
      config: the config as a plain dict, as it is stored in checkpoints.
      recipe: the config, checked.
      mesh: over all devices.
      records: the dataset.
      model: built for the dataset's number of classes.
      task: loss and metrics for the dataset's kind of label.
    """

    config: Mapping[str, Any]
    recipe: recipe.Recipe
    mesh: jax.sharding.Mesh
    records: pipeline.Records
    model: nn.Module
    task: tasks.Task

    @property
    def clip_shape(self) -> ClipShapes:
        """Of a training clip, as the network sees it."""
        return streams.clip_shape(self.recipe)

    @property
    def flow(self) -> FlowSpec | None:
        """Which flow goes with a clip; None for a network that reads none."""
        return streams.flow_spec(self.recipe)

    @property
    def extra_frames(self) -> int:
        """Frames read beyond T, which the device ops use up."""
        return device_ops.extra_frames(self.recipe.input.device_ops)

    def checkpoint_info(self) -> dict[str, Any]:
        """What is stored beside the arrays of a checkpoint."""
        mirrored = self.records.mirror_labels
        return {
            "config": self.config,
            "class_names": list(self.records.class_names),
            "num_classes": self.records.num_classes,
            "label_kind": self.records.label_kind,
            "label_groups": dict(self.records.label_groups),
            "mirror_labels": None if mirrored is None else [int(row) for row in mirrored],
            "is_mirror_safe": specs.lookup(self.records.dataset).is_mirror_safe,
            "dataset": self.records.name,
            "short_side_px": self.records.short_side_px,
            "manifest_sha256": self.records.manifest_sha256,
            "flow": None if self.flow is None else dict(self.records.flow),
            "device_ops": list(device_ops.without_augmentation(self.recipe.input.device_ops)),
            "versions": {"tempo": __version__, "jax": jax.__version__},
        }


def create(config: ml_collections.ConfigDict | Mapping[str, Any]) -> Experiment:
    """Checks the config, opens (or makes) its data and builds its model; computes nothing yet.

    Raises:
      InputError: a config, dataset or number of devices that cannot be used.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    r = recipe.from_config(tree)
    tree.pop("stages", None)  # no run has any
    mesh = sharding.make_mesh(**r.mesh)
    ops = check(r)
    records = embedded.open_or_make(r.data.dir, r.data.generate, r.data.name)
    _check_mirroring(r, ops, records.dataset)
    _check_labels(r.data, records)
    streams.check_flow(r, records)
    return Experiment(
        config=tree,
        recipe=r,
        mesh=mesh,
        records=records,
        model=models.create(records.num_classes, **training_model(r)),
        task=tasks.create(records.label_kind, records.num_classes, records.label_groups, **r.loss),
    )


def check(r: recipe.Recipe) -> Sequence[Any]:
    """What can be known before the data are there: that ops, clips and model fit together.

    Returns:
      The host ops.

    Raises:
      InputError: they do not.
    """
    specs.lookup(r.data.name)
    ops = host_ops.create(r.input.host_ops, r.input.size_px)
    device_ops.create(r.input.device_ops, 2, r.input.clips_per_video)
    sampling.check(r.clip, device_ops.extra_frames(r.input.device_ops))
    device_ops.check_clip(r.input.device_ops, r.clip.frames_per_segment)
    reads_flow = streams.flow_spec(r) is not None
    if reads_flow:
        flow_sampling.check(r.clip)
        device_ops.check_flow(r.input.device_ops)
        if r.data.generate and not r.data.generate.get("flow"):
            raise InputError(
                "The network reads optical flow, but config.data.generate makes none; set "
                "config.data.generate.flow='tvl1_jax'."
            )
    for name, evaluator in r.eval.items():
        try:
            clip = evaluator.view.clip_of(r.clip)
            if reads_flow:
                flow_sampling.check(clip)
        except InputError as e:
            raise InputError(f"config.eval.{name}: {e}") from None
    # Built and traced here too, so that what does not fit is found before the data are made.
    shapes = tracing.variable_shapes(2, r.model, streams.clip_shape(r))
    norm.check_frozen(r.model.get("norm_frozen", ""), shapes["batch_stats"])
    optimizers.check_base(r.optim, shapes["params"])
    streams.check_views(r)
    _check_smallest(r)
    _check_mirroring(r, ops, r.data.name)
    return ops


def training_model(r: recipe.Recipe) -> dict[str, Any]:
    """Arguments of `models.create` for training: with multigrid norms have groups of clips.

    Raises:
      InputError: the config tells groups twice.
    """
    size = r.multigrid.norm_group_size
    if not (r.multigrid.is_on and size):
        return dict(r.model)
    neutral = {"norm_groups": 1, "norm_group_size": 0}
    told = [key for key in neutral if r.model.get(key, 0) > 1]
    if told:
        raise InputError(
            f"model.{told[0]}={r.model[told[0]]} and multigrid.norm_group_size={size} both say "
            f"which clips share statistics; set model.{told[0]}={neutral[told[0]]}, or "
            "the other to 0."
        )
    return {**r.model, "norm_group_size": size}


def _check_smallest(r: recipe.Recipe) -> None:
    """Raises `InputError` if the network does not take the smallest clips of multigrid training."""
    if not r.multigrid.is_on:
        return
    training_model(r)
    if streams.of_model(r) != ("video",):
        raise InputError(
            f"config.multigrid.cycle={r.multigrid.cycle!r} changes the shape of clips of frames, "
            "and the network reads flow; use cycle 'none'."
        )
    rows = cycles.grid(r.multigrid.cycle, r.clip.num_frames, r.input.size_px)
    shapes = [shape for row in rows for shape in row.shapes]
    frames, side = (min(shape[axis] for shape in shapes) for axis in (1, 2))
    what = f"config.multigrid.cycle={r.multigrid.cycle!r}, clips of {frames} x {side} px"
    try:
        small = tracing.variable_shapes(2, r.model, (frames, side, side, 3))
    except InputError as e:
        raise InputError(f"{what}: {e}") from None
    if small != tracing.variable_shapes(2, r.model, streams.clip_shape(r)):
        raise InputError(
            f"{what}: the network's weights depend on the size of its clips, so one network cannot "
            "train on several; use another network, or cycle 'none'."
        )


def _check_labels(data: recipe.DataSettings, records: pipeline.Records) -> None:
    """Raises `InputError` if the records are not of the dataset that the config names."""
    if data.name == "folder":
        return
    spec = specs.lookup(data.name)
    remedy = "set config.data.name to what they are, or to 'folder'"
    if spec.num_classes not in (0, records.num_classes):
        raise InputError(
            f"The records in {data.dir!r} have {records.num_classes} classes, but {data.name} "
            f"has {spec.num_classes}; {remedy}."
        )
    if spec.label_kind != records.label_kind:
        raise InputError(
            f"The records in {data.dir!r} have {records.label_kind} labels, but {data.name} has "
            f"{spec.label_kind} ones; {remedy}."
        )


def _check_mirroring(r: recipe.Recipe, ops: Sequence[Any], dataset: str) -> None:
    """Raises `InputError` if clips would be mirrored where nothing says what class they then are.

    Datasets whose records say it (`Records.mirror_labels`) may be mirrored: labels follow.
    """
    if specs.lookup(dataset).is_mirror_safe:
        return
    places = [
        f"config.eval.{name}.{'is_flipped' if e.view.is_flipped else 'crop'}"
        for name, e in r.eval.items()
        if any(e.view.mirrored)
    ]
    if any(isinstance(op, host_ops.Flip) for op in ops):
        places.append("config.input.host_ops")
    if places:
        raise InputError(
            f"{' and '.join(places)} would mirror videos, but a mirrored video of {dataset} "
            "can belong to another class; leave out `flip`, `is_flipped` and the `ten` crop."
        )


def claim_workdir(workdir: str, config: Mapping[str, Any]) -> None:
    """Writes `config.json` into the workdir, after `compare_workdir`."""
    compare_workdir(workdir, config)
    if sharding.is_lead_process():
        files.write_json(os.path.join(workdir, "config.json"), config)


def compare_workdir(workdir: str, config: Mapping[str, Any]) -> None:
    """Looks whether a run that has begun in the workdir, if any, is one of this config.

    Raises:
      InputError: it is one of another config; the message names what differs.
    """
    path = os.path.join(workdir, "config.json")
    if checkpoint.exists(workdir) and os.path.exists(path):
        # What a config does not say is as its default; JSON has lists where configs have tuples.
        trees = [
            json.loads(json.dumps({**recipe.SCALARS, **tree, "multigrid": _multigrid(tree)}))
            for tree in (files.read_json(path), config)
        ]
        old, new = map(_flatten, trees)
        deciding = tuple(prefix for tree in trees for prefix in stages.deciding(tree))
        changed = sorted(
            key
            for key in old.keys() | new.keys()
            if old.get(key) != new.get(key)
            and (not f"{key}/".startswith(FREE_SECTIONS) or key.startswith(deciding))
            and key not in FREE_KEYS
        )
        if changed:
            what = "; ".join(f"{k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in changed[:3])
            more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
            remedy = "the config that is in its config.json"
            if stages.is_stage(trees[0], workdir):
                remedy = "the config that it was made with, which has stages"
            raise InputError(
                f"Workdir {workdir!r} holds a run of another config ({what}{more}). Use another "
                f"--workdir, or {remedy}."
            )


def _multigrid(tree: Mapping[str, Any]) -> dict[str, Any]:
    return dataclasses.asdict(multigrid.Settings(**tree.get("multigrid", {})))


def plan(experiment: Experiment) -> multigrid.Plan:
    """What every step of the run trains on; a plain epoch drops the videos that fill no batch.

    Raises:
      InputError: a batch that devices, norm groups or the number of videos do not allow.
    """
    r = experiment.recipe
    made = plan_of(r, len(experiment.records.split(r.data.train_split)))
    if not r.multigrid.is_on:
        accumulate = r.loop.accumulate_steps
        sharding.check_batch_size("batch_size", r.batch_size, experiment.mesh, accumulate)
    check_batches(r, made, sharding.batch_unit(experiment.mesh))
    return made


def plan_of(r: recipe.Recipe, num_videos: int) -> multigrid.Plan:
    """The plan of a config's run on so many videos, whatever the devices.

    Raises:
      InputError: as `multigrid.plan`; or a batch that the number of videos does not allow.
    """
    per_video, batch = r.input.clips_per_video, r.batch_size
    check_whole("batch_size", batch)
    if per_video < 1 or batch % per_video:
        raise InputError(f"input.clips_per_video={per_video} does not divide batch_size={batch}.")
    if num_videos < batch // per_video:
        raise InputError(
            f"batch_size={batch} is more than the {num_videos} videos of split "
            f"{r.data.train_split!r}; use at most {num_videos * per_video}."
        )
    is_stepped = r.schedule.get("name") == "steps"
    if r.multigrid.is_on and r.schedule.get("boundaries_steps"):
        raise InputError(
            f"schedule.boundaries_steps={tuple(r.schedule['boundaries_steps'])} counts steps of "
            "one kind, and multigrid.cycle makes several; set boundaries_epochs."
        )
    made = multigrid.plan(
        r.multigrid,
        clip=r.clip,
        size_px=r.input.size_px,
        batch_size=r.batch_size,
        num_videos=num_videos,
        total_epochs=r.total_epochs,
        total_steps=r.total_steps,
        clips_per_video=r.input.clips_per_video,
        boundaries_epochs=r.schedule.get("boundaries_epochs", ()) if is_stepped else (),
    )
    optimizers.check_length(r.optim, made.num_steps)
    return made


def check_batches(r: recipe.Recipe, made: multigrid.Plan, num_devices: int) -> None:
    """Raises `InputError` for a step whose clips devices, micro-batches or norms cannot share."""
    accumulate, model = r.loop.accumulate_steps, training_model(r)
    groups = model.get("norm_groups", 1), model.get("norm_group_size", 0)
    section = "multigrid" if r.multigrid.is_on and groups[1] else "model"

    def problem(batch_size: int) -> str:
        if batch_size % (num_devices * accumulate):
            devices = f"{num_devices} devices along the batch"
            return f"{devices} x {accumulate} micro-batches do not divide {batch_size} clips"
        try:
            norm.num_groups(batch_size // accumulate, *groups)
        except InputError as e:
            return f"in a forward pass {section}.{str(e).split(';')[0]}"
        return ""

    shapes = made.programs()
    multiples = [shape.batch_size // r.batch_size for shape in shapes]
    for shape in shapes:
        found = problem(shape.batch_size)
        if found:
            near = multigrid.nearest_batch_sizes(r.batch_size, multiples, lambda b: not problem(b))
            raise InputError(
                f"batch_size={r.batch_size} makes steps of {_told(shape)}, but {found}; the "
                f"nearest that fits every step: {' and '.join(map(str, near)) or 'none'}."
            )


def _told(shape: ClipShape) -> str:
    return f"{shape.batch_size} clips of {shape.num_frames} frames x {shape.size_px} px"


def announce(experiment: Experiment) -> None:
    """Prints, in the lead process, what is about to run on what."""
    if not sharding.is_lead_process():
        return
    r, records = experiment.recipe, experiment.records
    device = jax.devices()[0]
    videos = ", ".join(f"{len(records.split(name))} in {name}" for name in records.splits)
    print(
        f"devices   {jax.device_count()} x {device.device_kind} ({device.platform}) in "
        f"{jax.process_count()} process(es), mesh {dict(experiment.mesh.shape)}\n"
        f"data      {records.name}: {records.num_classes} classes, videos: {videos}, "
        f"{records.kind} records, manifest {records.manifest_sha256[:12]}\n"
        f"model     {size.describe(records.num_classes, r.model, experiment.clip_shape)}",
        *(f"flow      {line}" for line in streams.check_flow(r, records)),
        sep="\n",
        flush=True,
    )


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, Mapping) and tree:
        flat = {}
        for key, value in tree.items():
            flat |= _flatten(value, f"{prefix}{key}/")
        return flat
    return {prefix.rstrip("/"): tree}
