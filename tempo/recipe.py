"""A config's sections: what each may hold, and the checks made before any long work.

A config is an `ml_collections.ConfigDict` of numbers, one nesting level per noun. Here it becomes a
`Recipe`, with every unknown key refused; past this point code takes keyword arguments and never
sees a ConfigDict. Defaults live in the signatures that the sections feed:

| section    | feeds                                     |
|------------|-------------------------------------------|
| `data`     | `DataSettings`                            |
| `clip`     | `tempo.types.ClipSpec`                    |
| `flow`     | `tempo.types.FlowSpec`, if it is read     |
| `input`    | `InputSettings`                           |
| `model`    | `tempo.models.create`                     |
| `loss`     | `tempo.task.create`                       |
| `optim`    | `tempo.optim.create`                      |
| `schedule` | `tempo.optim.make_schedule`               |
| `loop`     | `LoopSettings`                            |
| `multigrid`| `tempo.multigrid.Settings`                |
| `mesh`     | `tempo.sharding.make_mesh`                |
| `eval`     | one `EvalSettings` per evaluator, by name |

An evaluator's `kind` (a row of `tempo.evaluators.KINDS`) decides which further keys it has. Stages
make several configs of one: see `tempo.stages`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections

from tempo import models, multigrid, optim, protocols, sharding, task
from tempo.errors import InputError, check_keys, check_whole, lookup, nearest
from tempo.evaluators import KINDS, evaluator
from tempo.types import ClipSpec, FlowSpec, ViewSpec

Op = str | Mapping[str, Any]
"""A row of an op table: its name, or `{"name": ..., **arguments}`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the records are and how they are read.

    Attributes:
      dir: folder written by `python -m tempo.prepare`.
      name: row of `tempo.data.specs.DATASETS` that the records must fit; `folder` takes them as
        they are.
      train_split: trained on.
      num_workers: reading threads or processes; 0 reads in the loop itself.
      worker_kind: `thread` (decoding releases the GIL) or `process`.
      generate: if not empty, TempoBench is made in `dir` with these arguments of
        `tempo.data.tempobench.embedded.make`; what is there is kept, or refused if made with
        others.
    """

    dir: str
    name: str = "folder"
    train_split: str = "train"
    num_workers: int = 2
    worker_kind: str = "thread"
    generate: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSettings:
    """From decoded frames to what the network sees.

    Attributes:
      size_px: side of the square training crop.
      host_ops: rows of `tempo.data.host_ops.OPS` with their arguments, in order: crops and flips of
        uint8 clips.
      device_ops: rows of `tempo.data.device_ops.OPS`, run inside the compiled step; evaluation
        runs those that change no video by chance (`device_ops.without_augmentation`).
      clips_per_video: clips of each video in a training batch (repeated augmentation,
        arXiv 1901.09335): its frames are decoded once for all of them.
    """

    size_px: int = 224
    clips_per_video: int = 1
    host_ops: tuple[Op, ...] = ("random_resized_crop", "flip")
    device_ops: tuple[Op, ...] = ("normalize",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How the training loop runs.

    Attributes:
      accumulate_steps: micro-batches whose gradients make one step. BatchNorm sees one micro-batch
        at a time, and the running statistics take the mean over them: the same as one step of a
        model with `norm_groups=accumulate_steps`.
      ema_decay: of the moving averages of parameters and statistics, which evaluation then uses; 0
        keeps none.
      log_every_steps: interval of `metrics.jsonl` and of the check for a loss that is not finite.
      checkpoint_every_steps: interval of checkpoints; evaluations during training save too.
      keep_checkpoints: how many of the newest to keep, besides the best one.
      compile_cache: folder of compiled programs, for later runs and the rest of this one; ""
        keeps none. `auto` is the folder that JAX_COMPILATION_CACHE_DIR names (none if it is set
        and empty), or else `tempo/xla` in the user's cache folder, see `tempo.program_cache`.
      stop_at: 0 to 1; the run ends, and counts as finished, at the first evaluation during training
        whose metric (that of the best checkpoint) reaches it. 0 goes on to the last epoch.
    """

    accumulate_steps: int = 1
    ema_decay: float = 0.0
    log_every_steps: int = 20
    checkpoint_every_steps: int = 500
    keep_checkpoints: int = 2
    compile_cache: str = "auto"
    stop_at: float = 0.0

    def __post_init__(self):
        intervals = ("log_every_steps", "checkpoint_every_steps")
        for name in ("accumulate_steps", *intervals, "keep_checkpoints"):
            check_whole(f"loop.{name}", getattr(self, name))
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"loop.ema_decay must be in [0, 1); got {self.ema_decay}.")
        if not 0 <= self.stop_at <= 1:
            raise InputError(
                f"loop.stop_at is a share of the videos, 0 (off) to 1; got {self.stop_at}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """One evaluator: what is measured on which videos, with which views, when.

    Attributes:
      kind: what is measured; in the config its name (`multi_view` by default), with its fields
        beside the others.
      view: the views of a video; in the config `views`, a name of `tempo.protocols.VIEW_SETS`,
        and single fields beside the others, which win.
      split: evaluated.
      every_epochs: interval during training; 0 evaluates at the end only.
      batch_size: clips per batch, over all devices; 0 takes the training batch size.
    """

    kind: evaluator.Kind
    view: ViewSpec
    split: str = "test"
    every_epochs: float = 0.0
    batch_size: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A checked config.

    Attributes:
      data: the section.
      clip: the section.
      flow: the section; None if the config has none, see `tempo.streams`.
      input: the section.
      model: keywords of `tempo.models.create`.
      eval: evaluators by name.
      seed: of initial values, data order, augmentation and dropout.
      batch_size: clips of one step, over all devices.
      total_epochs: length of the run; 0 only evaluates the weights that it starts from.
      total_steps: its length in steps, in place of `total_epochs`; 0 is none.
      init_from: weights to start from: a converted checkpoint, a run's workdir or one of its steps;
        or a mapping of such to the parts of a backbone of several; "" for none. See
        `tempo.init_from`.
      init_fresh: regular expression of leaves of the model, such as those of modules that the
        weights' network had not: where the weights lack them, or have them in another shape, they
        start fresh. "" is none.
      init_inflate: row of `tempo.convert.inflate.INFLATIONS`, for weights of a 2-D network.
      init_modality: row of `tempo.convert.inflate.CROSS_MODALITY`, for weights of a network of
        colours in one of flow; "" is none.
      row: name of the published number that the run is to be compared with; changes nothing.
      loss: keywords of `tempo.task.create`.
      optim: keywords of `tempo.optim.create`.
      schedule: keywords of `tempo.optim.make_schedule`.
      loop: the section.
      multigrid: the section.
      mesh: keywords of `tempo.sharding.make_mesh`.
      sharding_rules: of `tempo.sharding.rules_of`, by which a config may also name them.
    """

    data: DataSettings
    clip: ClipSpec
    flow: FlowSpec | None
    input: InputSettings
    model: Mapping[str, Any]
    eval: Mapping[str, EvalSettings]
    seed: int
    batch_size: int
    total_epochs: float
    total_steps: int
    init_from: str | Mapping[str, str]
    init_fresh: str
    init_inflate: str
    init_modality: str
    row: str
    loss: Mapping[str, Any]
    optim: Mapping[str, Any]
    schedule: Mapping[str, Any]
    loop: LoopSettings
    multigrid: multigrid.Settings
    mesh: Mapping[str, Any]
    sharding_rules: sharding.Rules

    @property
    def is_untrained(self) -> bool:
        """Whether the run takes no step."""
        return not self.total_epochs and not self.total_steps


SCALARS = {
    "seed": 0,
    "batch_size": 64,
    "total_epochs": 150.0,
    "total_steps": 0,
    "init_from": "",
    "init_fresh": "",
    "init_inflate": "repeat",
    "init_modality": "",
    "row": "",
    "sharding_rules": (),
}
SECTIONS: dict[str, Callable[..., Any]] = {
    "data": DataSettings,
    "clip": ClipSpec,
    "flow": FlowSpec,
    "input": InputSettings,
    "model": models.create,
    "loss": task.create,
    "optim": optim.create,
    "schedule": optim.make_schedule,
    "loop": LoopSettings,
    "multigrid": multigrid.Settings,
    "mesh": sharding.make_mesh,
    "eval": EvalSettings,
}


def from_config(config: ml_collections.ConfigDict | Mapping[str, Any]) -> Recipe:
    """The recipe of a config.

    Raises:
      InputError: an unknown key anywhere (with the nearest known one), a section that is missing
        and has no defaults, or a value out of range.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    if tree.pop("stages", {}):
        raise InputError(
            "The config has stages, which are several runs: tempo.staged.train runs them, and "
            "tempo.stages.last gives the config of the last."
        )
    check_keys("The config", tree, Recipe, also=("stages",))
    for name in ("data", "clip", "model"):
        if name not in tree:
            raise InputError(f"The config has no section {name!r}; it must say at least that.")
    sections = {name: _section(f"config.{name}", tree.get(name, {})) for name in SECTIONS}
    for name in ("model", "loss", "mesh"):
        check_keys(f"config.{name}", sections[name], SECTIONS[name])
    optim.check(sections["optim"])
    optim.check_schedule(sections["schedule"])
    scalars = {name: tree.get(name, default) for name, default in SCALARS.items()}
    multigrid.check_length(scalars["total_epochs"], scalars["total_steps"])
    scalars["sharding_rules"] = sharding.rules_of(scalars["sharding_rules"])
    evaluators = {n: _eval_settings(n, s) for n, s in sections.pop("eval").items()}
    for name in ("data", "clip", "flow", "input", "loop", "multigrid"):
        if name == "flow" and name not in tree:
            sections[name] = None
            continue
        check_keys(f"config.{name}", sections[name], SECTIONS[name])
        try:
            sections[name] = SECTIONS[name](**sections[name])
        except TypeError as e:
            raise InputError(f"config.{name}: {e}.") from None
    return Recipe(**scalars, **sections, eval=evaluators)


def with_evaluators(
    config: ml_collections.ConfigDict | Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """The config as a plain dict, with these evaluators alone.

    Args:
      config: left as it is.
      names: of evaluators that the config has; or of kinds, which are then measured with their
        defaults on the split of the config's main evaluator and the centre crop of its views, see
        `main_evaluator`.

    Raises:
      InputError: a name that is neither, or none at all; or what `from_config` refuses.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    there = dict(tree.get("eval", {}))
    if not names:
        raise InputError(f"No evaluator is named.{nearest('', [*there, *KINDS])}")
    default = _one_center_crop(from_config(tree))
    chosen = {}
    for name in names:
        if name in there:
            chosen[name] = there[name]
        elif name in KINDS:
            used = {"split", "batch_size", *KINDS[name].view_keys}
            given = {key: value for key, value in default.items() if key in used}
            chosen[name] = {"kind": name, **given}
        else:
            raise InputError(
                f"Unknown evaluator {name!r}: the config has none of that name, and it is no "
                f"kind.{nearest(name, [*there, *KINDS])}"
            )
    return {**tree, "eval": chosen}


def with_embedding(config: ml_collections.ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """The config as a plain dict, its multi-view evaluators storing the pooled features too.

    Args:
      config: left as it is.

    Raises:
      InputError: it has no such evaluator.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    there = dict(tree.get("eval", {}))
    name = KINDS["multi_view"].name
    chosen = [key for key, given in there.items() if given.get("kind", name) == name]
    if not chosen:
        raise InputError(
            "Features are stored by evaluators of kind 'multi_view', but none runs; add one: "
            "--evaluators multi_view."
        )
    return {**tree, "eval": there | {key: {**there[key], "save_embedding": True} for key in chosen}}


def check_stop(made: Recipe) -> None:
    """Raises `InputError` if the run is to stop at a metric that nothing measures meanwhile."""
    kind = KINDS["multi_view"].name
    is_measured = any(e.every_epochs > 0 and e.kind.name == kind for e in made.eval.values())
    if made.loop.stop_at and not is_measured:
        raise InputError(
            f"config.loop.stop_at={made.loop.stop_at} needs an evaluator of kind {kind!r} that "
            "runs during training; set config.eval.NAME.every_epochs above 0, or stop_at to 0."
        )


def main_evaluator(made: Recipe) -> EvalSettings | None:
    """The evaluator whose views count as those of the model: one of kind `multi_view`.

    The one of that name; else the first in the order of names; None without any.
    """
    kind = KINDS["multi_view"].name
    found = {name: own for name, own in sorted(made.eval.items()) if own.kind.name == kind}
    return found.get(kind, next(iter(found.values()), None))


def main_view(made: Recipe) -> ViewSpec:
    """The views of the main evaluator; without one, a centre crop of 7/8 of the short side."""
    main, side = main_evaluator(made), made.input.size_px
    return main.view if main else ViewSpec(size_px=side, short_side_px=round(side * 8 / 7))


def _one_center_crop(made: Recipe) -> dict[str, Any]:
    """Keys of an evaluator of one centre crop of one clip, otherwise like the main one."""
    main, view = main_evaluator(made), main_view(made)
    side = view.short_side_px
    return {
        **({"split": main.split, "batch_size": main.batch_size} if main else {}),
        "short_side_px": side,
        "size_px": side if view.crop == "full" else view.size_px,
        "average": view.average,
    }


def _section(where: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping | ml_collections.ConfigDict):
        raise InputError(f"{where} must hold values by key; got {given!r}. Leave out what is none.")
    return dict(given)


def _eval_settings(name: str, settings: Any) -> EvalSettings:
    where = f"config.eval.{name}"
    given = _section(where, settings)
    kind_name = given.pop("kind", "multi_view")
    kind = lookup(KINDS, kind_name, f"kind of evaluator ({where}.kind)")
    own = {f.name for f in dataclasses.fields(EvalSettings)} - {"kind", "view"}
    keys = {other: {*_fields(row), *row.view_keys} for other, row in KINDS.items()}
    for key in given:
        users = [other for other in KINDS if key in keys[other]]
        if users and kind_name not in users:
            raise InputError(
                f"{where}.{key} is not used by kind {kind_name!r}, but by {', '.join(users)}; "
                f"leave it out, or set {where}.kind."
            )
    check_keys(where, given, kind, also={*own, *kind.view_keys, "kind"})
    view = {k: v for k, v in given.items() if k in kind.view_keys}
    return EvalSettings(
        kind=kind(**{k: v for k, v in given.items() if k in _fields(kind)}),
        view=protocols.view_spec(**view),
        **{k: v for k, v in given.items() if k in own},
    )


def _fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}
