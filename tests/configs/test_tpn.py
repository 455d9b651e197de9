"""The TPN recipes: every documented argument is a valid recipe whose model takes its clips."""

import functools
import importlib.util
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

from tempo import models, recipe, trees
from tempo.errors import InputError
from tempo.papers import tpn
from tempo.papers.tpn_results import ROWS
from tests import forked

ROOT = pathlib.Path(__file__).parents[2]
NUM_CLASSES = {"tpn_k400": 400, "tpn_sthv1": 174, "tpn_sthv2": 174, "tpn_epic": 477}
# Every value of every option, where it means something.
SINGLE = [
    (name, f"{option}={choice}{',source=res5' if option == 'single_depth' else ''}")
    for name in NUM_CLASSES
    for option, row in tpn.OPTIONS.items()
    for choice in row.choices
    if not (option == "steps" and name != "tpn_k400")
    if not (option == "starts" and name == "tpn_epic")
    if not (option == "shift" and name not in ("tpn_sthv1", "tpn_sthv2"))
]
OPEN = [
    ("tpn_k400", "frames=16x4"),
    ("tpn_k400", "frames=8"),
    ("tpn_k400", "alphas=rule"),
    ("tpn_k400", "alphas=equal"),
    ("tpn_k400", "alphas=release"),
    ("tpn_k400", "alphas=2+8"),
    ("tpn_k400", "backbone=tsm,frames=8,shift=release"),
    (
        "tpn_k400",
        "depth=101,frames=32x2,flow=cascade,source=res345,backbone=slowonly,alphas=paper",
    ),
    ("tpn_sthv2", "depth=101,frames=16,like=release"),
]
ARGUMENTS = [(name, row) for name, rows in ROWS.items() for row in rows] + SINGLE + OPEN


@functools.cache
def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_of(name, arg=""):
    return load(name).get_config(arg)


@functools.cache
def shapes_of(num_classes, model, clip_shape):
    """Shapes of the parameters (auxiliary heads too) and logits; `model` as JSON, to be a key."""
    module = models.create(num_classes, **json.loads(model))
    video = jax.ShapeDtypeStruct((1, *clip_shape), jnp.float32)
    outputs, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, train=False), video
    )
    return variables["params"], outputs["logits"].shape


def trace(r, num_classes, size_px, **backbone):
    clip_shape = (r.clip.num_frames, size_px, size_px, 3)
    model = {**r.model, "backbone": {**r.model["backbone"], **backbone}}
    return shapes_of(num_classes, json.dumps(model, sort_keys=True), clip_shape)


@pytest.mark.parametrize("name, arg", ARGUMENTS)
def test_every_argument_is_a_valid_recipe(name, arg):
    r = recipe.from_config(config_of(name, arg))
    assert r.row == (arg if arg in ROWS[name] else "")
    models.create(NUM_CLASSES[name], **r.model)
    assert {"single_view", "multi_view"} == set(r.eval)
    assert all(e.split == "val" for e in r.eval.values())
    # One block of each stage says whether the clips fit the neck and the neck fits the backbone.
    # Initial values and numbers of classes have no part in it: models that differ in them are one.
    params, logits = trace(r, 5, 32, depths=(1, 1, 1, 1), zero_init=False)
    assert logits == (1, 5)
    assert ("neck" in params) == bool(r.model["neck"])


@pytest.mark.parametrize(
    "name, arg, expected",
    [
        # mmaction2's metafile; the sum of the modules for Epic, whose two heads have 977,373 each.
        ("tpn_k400", "t6c.cascade", 91_498_336),
        ("tpn_sthv1", "t4.tsm_tpn", 82_445_724),
        ("tpn_epic", "t5.tsn_tpn", 83_687_418),
        ("tpn_k400", "t6a.none", 32_454_096),
        ("tpn_k400", "t6d.r101_8x8", 119_403_360),
    ],
)
def test_published_numbers_of_parameters(name, arg, expected):
    r = recipe.from_config(config_of(name, arg))
    params, _ = trace(r, NUM_CLASSES[name], r.input.size_px)
    assert trees.count_params(params) == expected
    if name == "tpn_epic":
        heads = params["head"]["fc"], params["neck"]["aux_head_0"]["head"]["fc"]
        assert [trees.count_params(head) for head in heads] == [977_373, 977_373]


def test_what_the_paper_and_its_code_do_differently():
    paper, release = (config_of("tpn_k400", f"like={like}") for like in ("paper", "release"))
    assert paper.model.neck.flow == "parallel" and release.model.neck.flow == "cascade"
    assert paper.model.neck.alphas == "rule" and release.model.neck.alphas == "equal"
    assert paper.schedule.boundaries_epochs == (100, 125)
    assert release.schedule.boundaries_epochs == (75, 125)
    assert paper.input.host_ops[0]["name"] == "jitter_short_side"
    assert release.input.host_ops == ("random_resized_crop", "flip")
    assert release.input.device_ops == ("color_jitter", "normalize")
    assert paper.input.device_ops == ("normalize",)
    # Only the release's I3D-101 has alphas T / 2 and T.
    assert config_of("tpn_k400", "like=release,depth=101").model.neck.alphas == "rule"
    shift = config_of("tpn_sthv1", "like=release,depth=101").model.backbone
    assert (shift.shift_shortcut, shift.shift_every) == (True, 1)
    shift = config_of("tpn_sthv1", "depth=101").model.backbone
    assert (shift.shift_shortcut, shift.shift_every) == (False, 2)
    # A single option wins.
    mixed = config_of("tpn_k400", "like=release,flow=parallel,alphas=4+8")
    assert (mixed.model.neck.flow, mixed.model.neck.alphas) == ("parallel", (4, 8))


def test_release_alphas_of_networks_of_single_frames_are_equal_at_every_depth():
    for arg in ("backbone=tsm,frames=8", "backbone=tsn", "frames=8"):
        neck = config_of("tpn_k400", f"like=release,depth=101,{arg}").model.neck
        assert neck.alphas == "equal", arg


def test_head_of_table_6b_is_the_auxiliary_head_without_a_pyramid():
    r = recipe.from_config(config_of("tpn_k400", "t6b.head"))
    params, _ = trace(r, 5, 32, depths=(1, 1, 1, 1), zero_init=False)
    assert set(params["neck"]) == {"aux_head_0"}
    # On res4, whose channels its convolution doubles.
    assert params["neck"]["aux_head_0"]["conv"]["conv"]["kernel"].shape[-2:] == (1024, 2048)
    assert (
        "aux_head_0"
        not in trace(
            recipe.from_config(config_of("tpn_k400", "t6b.no_head")), 5, 32, depths=(1, 1, 1, 1)
        )[0]["neck"]
    )


def test_settings_of_the_datasets():
    sth, epic = config_of("tpn_sthv2"), config_of("tpn_epic")
    assert (sth.optim.weight_decay, sth.optim.clip_norm, sth.total_epochs) == (5e-4, 20.0, 150.0)
    assert (epic.optim.weight_decay, epic.total_epochs) == (1e-4, 55.0)
    assert epic.schedule.boundaries_epochs == (28, 46)
    views = {
        (name, arg): config_of(name, arg).eval.multi_view.views
        for name, arg in (
            ("tpn_k400", ""), ("tpn_k400", "starts=linspace"), ("tpn_k400", "t3.tsn_tpn"),
            ("tpn_sthv1", ""), ("tpn_epic", ""),
        )
    }  # fmt: skip
    assert list(views.values()) == [
        "k400_10x3_ticks", "k400_10x3_linspace", "ten_crop", "full_2clip_ticks", "ten_crop",
    ]  # fmt: skip


def test_norm_groups_of_eight_clips_follow_the_batch():
    for batch, accumulate, expected in ((64, 1, 8), (64, 8, 1), (16, 1, 2), (4, 1, 1), (32, 2, 2)):
        config = config_of("tpn_k400")
        config.batch_size = batch
        config.loop.accumulate_steps = accumulate
        assert config.copy_and_resolve_references().model.norm_groups == expected


def test_rows_start_from_image_net_and_the_plain_recipe_from_scratch():
    plain, row = config_of("tpn_k400"), config_of("tpn_k400", "t2.tpn_r101_32x2")
    assert plain.init_from == "" and plain.model.backbone.zero_init
    assert row.init_from == "weights/r101_imagenet" and not row.model.backbone.zero_init


@pytest.mark.parametrize(
    "name, arg, message",
    [
        ("tpn_k400", "dept=50", "no option 'dept'. Did you mean 'depth'"),
        ("tpn_k400", "t6c.paralel", "no row 't6c.paralel'. Did you mean 't6c.parallel'"),
        ("tpn_k400", "neck=none,flow=cascade", "'flow' is of the neck, but neck=none"),
        ("tpn_k400", "neck=heads,alphas=rule", "'alphas' is of the neck, but neck=heads"),
        ("tpn_k400", "shift=mit", "'shift' is for backbone=tsm; this is slowonly"),
        ("tpn_k400", "single_depth=pool", "'single_depth' is for source=res5"),
        ("tpn_sthv1", "steps=paper", "no option 'steps'"),
        ("tpn_epic", "starts=ticks", "no option 'starts'"),
    ],
)
def test_arguments_that_mean_nothing(name, arg, message):
    with pytest.raises(InputError, match=re.escape(message)):
        config_of(name, arg)


@pytest.mark.parametrize("name", NUM_CLASSES)
def test_the_docstring_names_every_option_of_the_recipe(name):
    text = load(name).__doc__
    if name == "tpn_k400":
        for option, row in tpn.OPTIONS.items():
            line = next(part for part in text.splitlines() if f" {option} " in f"{part} ")
            assert all(choice in line for choice in row.choices), option
    else:
        assert "configs/tpn_k400.py" in text
    for row in re.findall(r"`((?:t\d\w?|zoo|mm|leaderboard)\.\w+)`", text):
        assert row in ROWS[name], row


@pytest.mark.parametrize(
    "folder, path, arg, returncode, said",
    [
        (ROOT, "configs/tpn_k400.py", "t3.tsn_tpn", 0, "10 crops"),
        (
            ROOT / "tests",
            str(ROOT / "configs" / "tpn_k400.py"),
            "t3.tsn_tpm",
            2,
            "error: The recipe has no row 't3.tsn_tpm'. Did you mean 't3.tsn_tpn'?\n",
        ),
    ],
)
def test_the_command_line_takes_a_row_from_any_folder(
    folder, path, arg, returncode, said, monkeypatch
):
    monkeypatch.chdir(folder)
    run = forked.run("--config", f"{path}:{arg}", "--explain-sampling")
    assert run.returncode == returncode, run.stderr
    assert said in run.stdout if returncode == 0 else said == run.stderr
