"""What does not fit together in a config is said before its data are opened or made."""

import pytest

from tempo import checkpoint, experiment, files, recipe
from tempo.errors import InputError
from tests import tiny


def config_of(**changed):
    """The tiny config with other sections; its records do not exist."""
    scope = {}
    exec(tiny.CONFIG.replace("DATA", "nowhere"), scope)
    return scope["get_config"]().to_dict() | changed


def test_a_frame_for_differences_needs_dense_clips():
    clip = {"num_frames": 4, "sampling": "segments"}
    with pytest.raises(InputError, match="`residual` reads .* sampling='segments' has none"):
        experiment.create(config_of(clip=clip, input={"size_px": 32, "device_ops": ("residual",)}))
    padded = ({"name": "residual", "pad": "repeat"},)
    with pytest.raises(InputError, match="holds no prepared dataset"):  # so far it fits
        experiment.create(config_of(clip=clip, input={"size_px": 32, "device_ops": padded}))


def test_views_that_do_not_fit_the_clips_or_the_dataset_are_named():
    views = {"views": "vipriors_17", "short_side_px": 36, "size_px": 32}
    clip = {"num_frames": 4, "sampling": "segments"}
    made = recipe.from_config(config_of(clip=clip, eval={"tta17": views}))
    with pytest.raises(InputError, match="^config.eval.tta17: Views at stride=2 .* leave it out"):
        experiment.check(made)
    with pytest.raises(InputError, match="^config.eval.tta17.is_flipped would mirror videos, but"):
        experiment._check_mirroring(made, (), "tempobench_pairs")


def test_a_workdir_is_claimed_again_by_the_same_config_with_its_defaults_spelt_out(tmp_path):
    workdir = str(tmp_path / "run")
    experiment.claim_workdir(workdir, config_of())
    with checkpoint.Checkpoints(workdir) as checkpoints:
        checkpoints.save(1, {"step": 1}, {})
    experiment.claim_workdir(workdir, config_of(init_from="", sharding_rules=()))
    experiment.claim_workdir(workdir, config_of(multigrid={"cycle": "none"}))
    experiment.claim_workdir(workdir, config_of())
    with pytest.raises(InputError, match="multigrid/cycle: 'none' there, 'short' now"):
        experiment.claim_workdir(workdir, config_of(multigrid={"cycle": "short"}))
    with pytest.raises(InputError, match="init_from: '' there, 'x' now"):
        experiment.claim_workdir(workdir, config_of(init_from="x"))


def test_a_workdir_of_a_stage_is_claimed_by_its_config_with_stages(tmp_path):
    files.write_json(str(tmp_path / "config.json"), config_of(init_from="stages/a"))
    with checkpoint.Checkpoints(str(tmp_path)) as checkpoints:
        checkpoints.save(1, {"step": 1}, {})
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(InputError, match="or the config that it was made with, which has stages"):
        experiment.claim_workdir(str(tmp_path), config_of(init_from=""))
    # Comparing alone writes nothing, whatever may differ between two runs of a workdir.
    free = {"mesh": {"x": 1}, "sharding_rules": "fsdp"}
    free["model"] = config_of()["model"] | {"remat": "blocks"}
    experiment.compare_workdir(str(tmp_path), config_of(init_from="stages/a", **free))
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "batch_size, num_devices, changed, message",
    [
        (12, 4, {}, r"steps of 12 clips of 4 frames x 32 px, .*norm_group_size=8 .*: 8 and 16"),
        (2, 4, {}, "steps of 2 clips .* 4 devices .* x 1 micro-batches do not divide 2 .*: 4"),
        (8, 4, {"loop": {"accumulate_steps": 4}}, ".* x 4 micro-batches do not divide 8 .*: 16"),
    ],
)
def test_a_batch_that_no_shape_may_have_is_named(batch_size, num_devices, changed, message):
    changed = {"batch_size": batch_size, "multigrid": {"cycle": "short"}, **changed}
    made = recipe.from_config(config_of(**changed))
    plan = experiment.plan_of(made, 480)
    with pytest.raises(InputError, match=f"^batch_size={batch_size} makes {message}"):
        experiment.check_batches(made, plan, num_devices)


def test_norm_groups_are_told_once_and_networks_must_take_the_smallest_clips():
    multigrid = {"cycle": "both"}
    model = {"backbone": {"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 4}}
    made = recipe.from_config(config_of(multigrid=multigrid, model=model | {"norm_groups": 2}))
    with pytest.raises(InputError, match="model.norm_groups=2 and multigrid.norm_group_size=8"):
        experiment.training_model(made)
    made = recipe.from_config(config_of(multigrid=multigrid, clip={"num_frames": 2}))
    with pytest.raises(InputError, match="needs at least 4; got clip.num_frames=2"):
        experiment.check(made)


def test_flow_that_the_data_have_not_is_found_before_they_are_made(tmp_path):
    backbone = {"variant": "c2d_r18", "depths": (1, 1, 1, 1), "width": 4}
    own = {"clip": {"num_frames": 1}, "model": {"backbone": backbone, "stream": "flow"}}
    data = {"dir": str(tmp_path / "records"), "generate": tiny.TEMPOBENCH}
    with pytest.raises(InputError, match="data.generate makes none; set .*flow='tvl1_jax'"):
        experiment.create(config_of(**own, data=data))
    assert not list(tmp_path.iterdir())
    videos = {**tiny.TEMPOBENCH, "num_train": 7, "num_test": 7, "num_frames": 2}
    data = {"dir": tiny.make_records(tmp_path, **videos)}
    with pytest.raises(InputError, match=r"records' holds none; set config.data.generate.flow="):
        experiment.create(config_of(**own, data=data))
    turned = {"num_frames": 1, "order": "reverse"}
    with pytest.raises(InputError, match="Flow is stored for videos played forwards"):
        experiment.create(config_of(**own | {"clip": turned}, data=data))


@pytest.mark.parametrize(
    "ops, message",
    [((), "leave its values at 0-255"), (("rand_augment", "normalize"), "would bend frames")],
)
def test_device_ops_that_cannot_go_with_flow_are_found_before_the_data(ops, message):
    backbone = {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}
    own = {"clip": {"num_frames": 1}, "input": {"size_px": 32, "device_ops": ops}}
    frames = recipe.from_config(config_of(**own, model={"backbone": backbone}))
    experiment.check(frames)
    made = config_of(**own, model={"backbone": backbone, "stream": "flow"})
    with pytest.raises(InputError, match=message):
        experiment.check(recipe.from_config(made))


def test_stacked_differences_go_with_runs_of_frames():
    runs = {"num_frames": 4, "sampling": "segments", "frames_per_segment": 6}
    with pytest.raises(InputError, match="frames_per_segment=6 is for the device op"):
        experiment.create(config_of(clip=runs))
    ops = {"size_px": 32, "device_ops": ("stack_differences",)}
    backbone = {"variant": "c2d_r18", "depths": (1, 1, 1, 1), "width": 4}
    made = config_of(clip=runs, input=ops, model={"backbone": backbone})
    with pytest.raises(InputError, match="holds no prepared dataset"):  # so far it fits
        experiment.create(made)
