"""Trains or evaluates: `python -m tempo.main --config configs/quickstart.py --workdir runs/x`.

Any number of the config can be changed on the command line: `--config.batch_size=8`. A config with
stages runs them one after the other, and `--explain-schedule` tells of them all; else looking at a
config, or evaluating with one, takes the last.
`--splits 1,2,3` trains on each split of a dataset and prints the mean: see `tempo.splits`.
The same command again goes on where the run was cut. Exit status: 0 done (or stopped by SIGTERM and
saved), 1 the run failed, 2 bad input, 130 stopped from the keyboard, 141 nobody reads the output
any more.
"""

import os
import sys
from typing import Any

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from tempo import command_line
from tempo.errors import InputError

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Recipe, a Python file with get_config(); an argument for it may follow a colon.",
    lock_config=False,
    accept_new_attributes=True,
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything the run writes.")
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "eval"], "Train and evaluate, or evaluate a checkpoint only."
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "With --mode eval: a run's workdir, one step of its checkpoints, or converted weights.",
)
_EVALUATORS = flags.DEFINE_list(
    "evaluators",
    [],
    "With --mode eval: run these only, evaluators of the config by name; a kind that the config "
    "has no evaluator of (multi_view, tempo_robustness, per_frame, use_of_time) runs with its "
    "defaults.",
)
_SAVE_EMBEDDING = flags.DEFINE_boolean(
    "save_embedding",
    False,
    "With --mode eval: multi_view evaluators also store the pooled features of every video.",
)
_SPLITS = flags.DEFINE_list(
    "splits",
    [],
    "Trains on each of these splits in turn, WORKDIR/split1 and so on, with its name in place of "
    "{split} in config.data.dir, and prints the results of each and their mean.",
)
_DESCRIBE = flags.DEFINE_string(
    "describe", None, "Name of a model: prints its size and the shapes of its stages, and exits."
)
_CLIP = flags.DEFINE_string(
    "clip", None, "With --describe: frames x side in pixels, such as 8x224; else the model's own."
)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 400, "With --describe.")
_EXPLAIN = flags.DEFINE_boolean(
    "explain_sampling",
    False,
    "Draws which frames of a video the config's clips and views read, and exits.",
)
flags.DEFINE_alias("explain-sampling", "explain_sampling")
_EXPLAIN_SCHEDULE = flags.DEFINE_boolean(
    "explain_schedule",
    False,
    "Says which steps the config trains for, on clips of which shapes and at which learning rate, "
    "and exits.",
)
flags.DEFINE_alias("explain-schedule", "explain_schedule")
_NUM_VIDEOS = flags.DEFINE_integer(
    "num_videos",
    0,
    "With --explain-schedule: training videos; 0 counts those in the records of the config.",
    lower_bound=0,
)
_PROFILE = flags.DEFINE_boolean(
    "profile_input",
    False,
    "Measures what every stage and op of the config's training input costs, and exits.",
)
flags.DEFINE_alias("profile-input", "profile_input")
_FIND_BATCH = flags.DEFINE_boolean(
    "find_batch_size",
    False,
    "Says which is the largest config.batch_size whose training step fits the memory of a device, "
    "and exits; nothing is trained.",
)
flags.DEFINE_alias("find-batch-size", "find_batch_size")
_MEMORY_GIB = flags.DEFINE_float(
    "memory_gib",
    0.0,
    "With --find-batch-size: memory of one device; 0 asks the device, or what this process can "
    "have.",
    lower_bound=0.0,
)
flags.DEFINE_alias("memory-gib", "memory_gib")
_REMAT_ALL = flags.DEFINE_boolean(
    "remat_all",
    False,
    "With --find-batch-size: for every way to save memory (config.model.remat), one by one.",
)
flags.DEFINE_alias("remat-all", "remat_all")
_SECONDS = flags.DEFINE_float("seconds", 10.0, "With --explain-sampling: length of the video.")
_FPS = flags.DEFINE_float(
    "fps", 0.0, "With --explain-sampling: its frame rate; 0 takes that of the records, or 25."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "host:port of process 0, to run on several hosts. `auto` asks the cluster: TPU, Slurm, Open "
    "MPI, or Kubernetes with jax[k8s].",
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --coordinator.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator; from 0.")
_COORDINATOR_TIMEOUT_S = flags.DEFINE_float(
    "coordinator_timeout_s", 300.0, "With --coordinator: how long to wait for all processes."
)


def main(argv: list[str]) -> int:
    """Runs what the flags ask for; the exit status."""
    if len(argv) > 1:
        raise InputError(f"Unexpected argument {argv[1]!r}; every option starts with --.")
    if _DESCRIBE.value:
        return _describe(_DESCRIBE.value, _CLIP.value, _NUM_CLASSES.value)
    if _EXPLAIN.value:
        return _explain(_config(), _SECONDS.value, _FPS.value)
    if _EXPLAIN_SCHEDULE.value:
        return _explain_schedule(_config(), _NUM_VIDEOS.value)
    if _PROFILE.value:
        return _profile(_config())
    if _FIND_BATCH.value:
        return _find_batch_size(_config(), _MEMORY_GIB.value, _REMAT_ALL.value)
    evaluating = _MODE.value == "eval"
    _check_flags(evaluating)
    config = _config()
    if not evaluating:
        _need(config)
    _join_processes()
    # Imported here so that --help and a wrong flag answer at once.
    from tempo import evaluate, splits, staged

    if config is not None and not _SPLITS.value:
        splits.check_one(config)
    if evaluating:
        evaluate.evaluate(
            _last_stage(config),
            _WORKDIR.value,
            _CHECKPOINT.value,
            _EVALUATORS.value,
            save_embedding=_SAVE_EMBEDDING.value,
        )
    elif _SPLITS.value:
        splits.run(config, _WORKDIR.value, _SPLITS.value)
    else:
        staged.run(config, _WORKDIR.value)
    return 0


def _check_flags(evaluating: bool) -> None:
    """Raises `InputError` for flags of a run that are missing or do not go together."""
    if _MEMORY_GIB.value or _REMAT_ALL.value:
        raise InputError("--memory_gib and --remat_all need --find-batch-size.")
    if not _WORKDIR.value:
        raise InputError("--workdir is missing: the folder for everything the run writes.")
    if evaluating and not _CHECKPOINT.value:
        raise InputError("--mode eval needs --checkpoint: a run's workdir, or one of its steps.")
    if _EVALUATORS.value and not evaluating:
        raise InputError("--evaluators needs --mode eval; in training config.eval says what runs.")
    if _SAVE_EMBEDDING.value and not evaluating:
        raise InputError(
            "--save_embedding needs --mode eval; in training config.eval.NAME.save_embedding says "
            "whether features are stored."
        )
    if _SPLITS.value and evaluating:
        raise InputError("--splits is for training; give --mode eval one config.data.dir.")


def run() -> None:
    """Entry point: turns bad input into one line and an exit status."""
    logging.set_verbosity(logging.WARNING)
    app.run(lambda argv: command_line.run(lambda: main(argv)), flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    """Absl's parser, with ml_collections' errors about keys and files in one line."""
    try:
        return flags.FLAGS(argv)
    except KeyError as e:  # its text is the repr of its message
        sys.exit(command_line.complain(" ".join(str(e.args[0]).split()), 2))
    except (AttributeError, ValueError, TypeError, OSError, flags.Error) as e:
        sys.exit(command_line.complain(" ".join(str(_own(e) or e).split()), 2))
    except SystemExit:  # --help: absl has printed it and calls that a failure
        sys.exit(0)


def _own(error: BaseException) -> InputError | None:
    """What a recipe said of its argument: the errors made of it hide it behind a stack trace."""
    said = None
    while error is not None:
        said = error if isinstance(error, InputError) else said
        error = error.__cause__ or error.__context__
    return said


def _config() -> ml_collections.ConfigDict | None:
    """The config with its overrides; a file that does not load is found only on first use."""
    config = _CONFIG.value
    try:
        return config if config is None else config.copy_and_resolve_references()
    except OSError as e:
        raise InputError(" ".join(str(e).split())) from None


def _last_stage(config: ml_collections.ConfigDict | None) -> Any:
    """The config of the run that is in the workdir itself: what a config with stages ends in."""
    from tempo import stages

    return config if config is None else stages.last(config)


def _need(config: ml_collections.ConfigDict | None) -> None:
    if config is None:
        raise InputError("--config is missing, for example --config configs/quickstart.py.")


def _join_processes() -> None:
    from tempo import processes

    processes.join(
        _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value, _COORDINATOR_TIMEOUT_S.value
    )


def _profile(config: ml_collections.ConfigDict | None) -> int:
    _need(config)
    from tempo import train

    print(train.profile_input(_last_stage(config)))
    return 0


def _find_batch_size(
    config: ml_collections.ConfigDict | None, memory_gib: float, every_remat: bool
) -> int:
    _need(config)
    if _COORDINATOR.value:
        raise InputError(
            "--find-batch-size asks the devices of one process; leave out --coordinator, and "
            "multiply what it says by the number of processes."
        )
    from tempo import batch_size

    print(batch_size.of_config(_last_stage(config), memory_gib, every_remat=every_remat), end="")
    return 0


def _describe(name: str, clip: str | None, num_classes: int) -> int:
    from tempo import models
    from tempo.models import presets, published, size

    frames, side = _parse_clip(clip) if clip is not None else presets.clip_of(name)
    model = models.create(num_classes, name=name)
    shape = presets.clip_shapes(name, model.streams, frames, side)
    print(f"{name}: {size.describe(num_classes, {'name': name}, shape)}")
    several = shape if isinstance(shape, dict) else {}
    batch = {stream: (1, *own) for stream, own in several.items()} or (1, *shape)
    for stage, stage_shape in models.describe(model, batch):
        print(f"  {stage:14} {'x'.join(map(str, stage_shape[1:]))}")
    lines = published.beside_ours(name)
    if lines:
        print("\n".join(["  published for clips of 400 classes:", *lines]))
    return 0


def _explain(config: ml_collections.ConfigDict | None, seconds: float, fps: float) -> int:
    _need(config)
    from tempo import explain, recipe, streams

    made = recipe.from_config(_last_stage(config))
    video = explain.imagine(made, seconds, fps)
    print(explain.explain(made, video, streams.flow_spec(made)), end="")
    return 0


def _explain_schedule(config: ml_collections.ConfigDict | None, num_videos: int) -> int:
    _need(config)
    import jax

    from tempo import explain_schedule

    # A few numbers: devices that may be in use, or waited for, have no part in them.
    jax.config.update("jax_platforms", "cpu")
    print(explain_schedule.of_config(config, num_videos), end="")
    return 0


def _parse_clip(clip: str) -> tuple[int, int]:
    parts = clip.split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) for p in parts):
        raise InputError(f"--clip must be FRAMESxSIDE such as 8x224; got {clip!r}.")
    return int(parts[0]), int(parts[1])


if __name__ == "__main__":
    # Data workers import this file too; they must not start a run.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run()
