"""`python -m tempo.convert`: what it writes and prints, and one line for what it cannot use."""

import errno
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

import tempo
from tempo import checkpoint, models, pretrained, state, trees
from tempo.convert import __main__ as convert
from tempo.convert import mmaction2, rules, tensor_files, tpn_release
from tests.convert import synthetic


@pytest.fixture(scope="module")
def slowonly():
    """A state dict of mmaction2's SlowOnly."""
    return synthetic.state(synthetic.SLOWONLY)


def run(*flags, source="mmaction2", out="out"):
    """The exit status; small clips."""
    args = ["--source", source, "--input", "weights.pth", "--out", out, *synthetic.SIZE]
    return convert.main([*args, *map(str, flags)])


def error_of(capsys, *flags, **kwargs):
    """The one line that the command ends with, having written nothing."""
    assert run(*flags, **kwargs) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def leaves_of(path):
    model, variables, info = tempo.load_model(path)
    return model, trees.named(variables), info


def test_a_checkpoint_with_its_table_and_its_preprocessing(slowonly, capsys):
    stray = {"cls_head.new_cls.weight": np.ones((5, 128, 1, 1, 1), np.float32)}
    synthetic.write({**slowonly, **stray}, meta={"dataset_meta": {"classes": list("abcde")}})
    assert run() == 0
    out = capsys.readouterr().out
    assert "mapped     87 arrays" in out
    assert "backbone/stage1" in out
    assert "backbone.layer1.0.*" in out
    assert "left out   17 (counters" in out
    assert "(a copy of cls_head.fc_cls that tests make): cls_head.new_cls.weight" in out
    _, leaves, info = leaves_of("out")
    expected = synthetic.leaves(synthetic.SLOWONLY)
    assert leaves.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(leaves[name], value, err_msg=name)
    assert info["class_names"] == list("abcde")
    assert info["preprocessing"] == {
        "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "size_px": 32,
        "short_side_px": 32, "num_frames": 8, "stride": 8, "sampling": "dense", "fps": 0.0,
    }  # fmt: skip
    assert info["views"]["multi_view"]["num_clips"] == 10
    assert info["views"]["multi_view"]["crop"] == "three"
    source = info["source"]
    assert source["source"] == "mmaction2"
    assert len(source["sha256"]) == 64
    assert source["command"].startswith("python -m tempo.convert --source mmaction2")
    assert source["initial"] == []


def test_flags_change_what_is_stored(slowonly):
    synthetic.write(slowonly)
    flags = ["--frames", 4, "--stride", 16, "--mean", 1, 2, 3, "--std", 4, 5, 6, "--num-clips", 2]
    assert run(*flags, "--crop", "center") == 0
    preprocessing = tempo.load_model("out")[2]["preprocessing"]
    assert preprocessing["mean"] == [1, 2, 3]
    assert preprocessing["std"] == [4, 5, 6]
    assert (preprocessing["num_frames"], preprocessing["stride"]) == (4, 16)
    assert tempo.load_model("out")[2]["views"]["multi_view"]["num_clips"] == 2


@pytest.mark.parametrize(("suffix", "dump"), [("txt", "\n".join), ("json", json.dumps)])
def test_names_of_classes(slowonly, capsys, suffix, dump):
    synthetic.write(slowonly)
    for count in (5, 4):
        with open(f"{count}.{suffix}", "w") as f:
            f.write(dump([f"class {i}" for i in range(count)]))
    assert run("--classes", f"5.{suffix}") == 0
    assert tempo.load_model("out")[2]["class_names"][4] == "class 4"
    text = error_of(capsys, "--classes", f"4.{suffix}", out="other")
    assert "--classes names 4 classes, but the weights in weights.pth have 5" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), ("", "must be a JSON list"), ('{"a": 1}', "must be a JSON list")],
)
def test_a_list_of_classes_that_is_none(slowonly, capsys, content, message):
    synthetic.write(slowonly)
    if content is not None:
        with open("names.json" if content else "names.txt", "w") as f:
            f.write(content)
    name = "names.json" if content is None or content else "names.txt"
    assert message in error_of(capsys, "--classes", name)


def without(arrays, *keys):
    return {k: v for k, v in arrays.items() if not k.startswith(keys)}


def test_unknown_and_missing_entries_are_errors_unless_partial_names_them(slowonly, capsys):
    changed = without(slowonly, "cls_head.") | {"backbone.extra.weight": np.ones((2, 2))}
    synthetic.write(changed)
    text = error_of(capsys)
    assert "1 unknown keys (backbone.extra.weight)" in text
    assert "parts of the model that the file lacks (params/head/fc" in text
    flags = ["--partial", "^backbone.extra", "^params/head/"]
    with open("names.txt", "w") as f:
        f.write("\n".join("abc"))
    assert run(*flags, "--classes", "names.txt") == 0
    _, leaves, info = leaves_of("out")
    assert leaves["params/head/fc/kernel"].shape == (128, 3)
    assert np.abs(leaves["params/head/fc/kernel"]).max() > 0  # as a new model starts
    assert info["source"]["initial"] == ["params/head/fc/bias", "params/head/fc/kernel"]
    assert info["num_classes"] == 3
    assert "names nothing that is missing" in error_of(capsys, *flags, "--partial", "neck")


def test_the_wrong_depth_source_or_model_is_one_line(slowonly, capsys):
    synthetic.write(slowonly)
    text = error_of(capsys, "--model", "slowonly_r50")
    assert "slowonly_r50 is ResNet-50 (3, 4, 6, 3 blocks), but the weights are of" in text
    assert "(1, 1, 1, 1 blocks, width 4)" in text
    assert "holds no network of torchvision" in error_of(capsys, source="torchvision")
    assert "Did you mean 'mmaction2'" in error_of(capsys, source="mmaction")
    assert "is no JSON" in error_of(capsys, "--model", "{")
    assert "the model has no neck" in error_of(capsys, "--flow", "parallel")
    assert "way to inflate" in error_of(capsys, "--inflate", "twice")
    with open("out", "w") as f:
        f.write("something else")
    assert "exists and is no checkpoint" in error_of(capsys)


def test_a_neck_takes_flow_and_alphas(capsys):
    synthetic.write(synthetic.state(synthetic.TPN))
    assert run() == 0
    out = capsys.readouterr().out
    assert "assumed: flow=cascade (--flow)" in out
    assert "assumed: alphas=equal (--alphas)" in out
    assert tempo.load_model("out")[0].neck.flow == "cascade"
    assert run("--flow", "parallel", "--alphas", "4,8") == 0
    assert "assumed" not in capsys.readouterr().out
    neck = tempo.load_model("out")[0].neck
    assert (neck.flow, tuple(neck.alphas)) == ("parallel", (4, 8))
    assert "must be whole numbers that divide the 8 frames" in error_of(capsys, "--alphas", "3,8")


def test_first_weights_of_the_release_keep_the_auxiliary_head_in_a_list():
    state = synthetic.state(synthetic.TPN, rows=tpn_release.ROWS)
    assert "necks.aux_head.convs.conv.weight" in state
    listed = {k.replace("aux_head.convs.", "aux_head.convs.0."): v for k, v in state.items()}
    synthetic.write(listed)
    assert run(source="tpn_release") == 0
    _, leaves, _ = leaves_of("out")
    for name, value in synthetic.leaves(synthetic.TPN).items():
        np.testing.assert_array_equal(leaves[name], value, err_msg=name)


def test_image_weights_keep_their_classifier_in_an_image_network_only(capsys):
    flat = {"backbone": {**synthetic.SLOWONLY["backbone"], "variant": "c2d_r50"}}
    rows = (*rules.prefixed(tpn_release.torchvision.RESNET, ours="backbone/"),
            ("fc", "head/fc", "linear"))  # fmt: skip
    tensor_files.write("weights.pth", synthetic.state(flat, rows=rows))
    assert run(source="torchvision") == 0
    assert tempo.load_model("out")[2]["num_classes"] == 5
    model = json.dumps(synthetic.TPN)
    capsys.readouterr()
    assert run("--model", model, "--flow", "parallel", source="torchvision") == 0
    out = capsys.readouterr().out
    assert "the classifier of images; the video network has its own" in out
    assert "(an image network has none): " in out
    assert "assumed: 400 classes (--classes)" in out
    made, leaves, info = leaves_of("out")
    assert info["num_classes"] == 400
    assert made.neck.flow == "parallel"
    image = synthetic.leaves(flat)
    name = "params/backbone/stage4_block1/conv1/kernel"
    np.testing.assert_allclose(np.sum(leaves[name], 0, keepdims=True), image[name], rtol=1e-6)
    two = {"backbone": {**synthetic.SLOWONLY["backbone"], "variant": "slowfast_r50",
                        "channel_ratio": 2}}  # fmt: skip
    text = error_of(capsys, "--model", json.dumps(two), source="torchvision", out="other")
    assert "start networks of one pathway" in text
    assert all(n.startswith(("params/neck", "params/head", "batch_stats/neck"))
               for n in info["source"]["initial"])  # fmt: skip


def export(*flags):
    return convert.main(["--to", "mmaction2", "--checkpoint", "out", *flags])


def test_what_mmaction2_has_no_place_for(slowonly, capsys):
    three = {**synthetic.TPN, "neck": {**synthetic.TPN["neck"], "source": "res345"}}
    info = {
        "config": {"model": three, "clip": {"num_frames": 8}, "input": {"size_px": 32}},
        "class_names": [], "num_classes": 5,
    }  # fmt: skip
    leaves = synthetic.leaves(three)
    pretrained.save_model("out", traverse_util.unflatten_dict(leaves, sep="/"), info)
    assert export("--out", "mm.pth") == 2
    text = capsys.readouterr().err
    assert "mmaction2 has no place for 7 parts of out" in text
    assert "aux_head_1" in text
    assert export("--out", "mm.pth", "--partial", "aux_head_1") == 0
    out = capsys.readouterr().out
    assert "neck.flow_type='cascade'" in out
    written = tensor_files.read("mm.pth").tensors
    assert not any("aux_head" in key for key in written)
    assert "neck.spatial_modulation.spatial_modulation.0.1.conv.weight" in written
    assert export("--out", "mm.txt", "--partial", "aux_head_1") == 2
    assert "end the name in .pth" in capsys.readouterr().err


def test_fusing_gives_a_plain_network_with_the_same_scores(capsys):
    small = {"depths": (1, 1, 1, 1), "width": 4, "stem_kernel_t": 3}
    model = {"backbone": {"variant": "slowonly_r50", "conv_b": "acb3d", **small}}
    info = {
        "config": {"model": model, "clip": {"num_frames": 4}, "input": {"size_px": 32}},
        "class_names": list("abcde"), "num_classes": 5,
    }  # fmt: skip
    leaves = traverse_util.unflatten_dict(synthetic.leaves(model, clip=(4, 32, 32, 3)), sep="/")
    pretrained.save_model("out", leaves, info)
    flags = ["--fuse", "--checkpoint", "out", "--out"]
    assert convert.main([*flags, "fused"]) == 0
    assert "wrote      fused: 64,417 of 80,977 parameters" in capsys.readouterr().out
    clip = np.random.default_rng(0).normal(size=(1, 4, 32, 32, 3)).astype(np.float32)
    logits = []
    for path in ("out", "fused"):
        made, variables, info = tempo.load_model(path)
        logits.append(jax.jit(lambda v, m=made: m.apply(v, clip, train=False)["logits"])(variables))
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-5 * np.abs(logits[0]).max())
    assert info["config"]["model"]["backbone"]["conv_b"] == "3x3x3"
    assert info["class_names"] == list("abcde")
    assert convert.main(["--fuse", "--checkpoint", "fused", "--out", "again"]) == 2
    assert "nothing to fuse" in capsys.readouterr().err
    assert convert.main([*flags, "again", "--model", "tsn_r50"]) == 2
    assert "--model has no meaning with --fuse" in capsys.readouterr().err


def test_a_run_as_weights_alone_keeps_its_sketches_bit_by_bit(capsys):
    stream = {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}
    dims = {"level1_dim": 8, "level2_dim": 8, "level3_dim": 16, "attention_width": 4}
    model = {
        "backbone": {"variant": "two_stream", "spatial": stream, "temporal": stream},
        "neck": {"name": "stpn", **dims},
    }
    clips = {"video": np.ones((1, 1, 16, 16, 3)), "flow": np.ones((1, 3, 16, 16, 20))}
    made = models.create(5, **model)
    own = jax.jit(lambda key: made.init(key, clips, train=False))(jax.random.key(7))
    trained = state.TrainState(
        step=jnp.int32(3),
        params=jax.tree.map(jnp.zeros_like, own["params"]),
        batch_stats=own["batch_stats"],
        opt_state=own["params"],
        ema_params=own["params"],
        ema_batch_stats=own["batch_stats"],
        sketch=own["sketch"],
    )
    config = {"model": model, "clip": {"num_frames": 1}, "input": {"size_px": 16}}
    config |= {"flow": {"num_snippets": 3}}
    info = {"config": config, "class_names": list("abcde"), "num_classes": 5, "step": 3}
    with checkpoint.Checkpoints("run") as checkpoints:
        checkpoints.save(3, trained, info)
        checkpoints.wait()
    flags = ["--to", "tempo", "--checkpoint", "run", "--out", "alone"]
    assert convert.main(flags) == 0
    assert "with the sketches they were trained on" in capsys.readouterr().out
    made, variables, told = tempo.load_model("alone")
    assert set(variables) == {"params", "batch_stats", "sketch"}
    run_model = jax.jit(lambda v: made.apply(v, clips, train=False)["logits"])
    np.testing.assert_array_equal(run_model(variables), run_model(own))
    assert trees.named(variables["sketch"]).keys() == trees.named(own["sketch"]).keys()
    for name, value in trees.named(own["sketch"]).items():
        kept = trees.named(variables["sketch"])[name]
        assert kept.dtype == value.dtype
        np.testing.assert_array_equal(kept, value, err_msg=name)
    assert (told["class_names"], told["source"]["step"]) == (list("abcde"), 3)
    stored = trees.named(checkpoint.variable_shapes(checkpoint.find("alone")))
    assert not any("opt_state" in name for name in stored)
    assert convert.main([*flags, "--partial", "neck"]) == 2
    assert "--partial has no meaning with --to tempo" in capsys.readouterr().err
    assert convert.main(["--to", "mmaction2", "--checkpoint", "alone", "--out", "x.pth"]) == 2
    assert "no network of several streams" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size", "0"], "(--size) is a number of pixels, at least 1; got 0"),
        (["--crop-size", "0"], "(--crop-size) is a number of pixels"),
        (["--short-side", "-1"], "(--short-side) is a number of pixels"),
        (["--std", "1", "0", "1"], "--std is three finite numbers above 0; got 1.0, 0.0, 1.0"),
        (["--std", "1", "1", "inf"], "--std is three finite numbers above 0"),
        (["--mean", "nan", "1", "1"], "--mean is three finite numbers; got nan"),
        (["--frames", "0"], "num_frames"),
        (["--model", '{"backbone": 3}'], "makes no model ("),
        (["--model", '{"name": [1]}'], "makes no model ("),
        (
            ["--model", '{"backbone": {"variant": "c2d_r50", "depths": 3}}'],
            "backbone.depths needs one entry per stage, 4; got 3",
        ),
    ],
)
def test_values_out_of_range_are_one_line(slowonly, flags, message, capsys):
    synthetic.write(slowonly)
    assert message in error_of(capsys, *flags)


def test_numbers_in_keys_have_four_digits_at_most(slowonly, capsys):
    key = f"backbone.layer{'1' * 150}.0.conv1.conv.weight"
    synthetic.write({**slowonly, key: np.ones((1, 1, 1, 1, 1))})
    assert f"1 unknown keys ({key})" in error_of(capsys)


@pytest.mark.parametrize("out", ["file/x", "file/x/y.pth"])
def test_a_place_that_cannot_be_written_to_is_told_before_any_work(out, capsys):
    with open("file", "w") as f:
        f.write("something")
    assert "is no folder that can be written to" in error_of(capsys, out=out)  # no weights read
    flags = ["--to", "mmaction2", "--checkpoint", "none", "--out"]
    assert convert.main([*flags, out]) == 2
    assert "is no folder that can be written to" in capsys.readouterr().err
    os.mkdir("a.pth")
    assert convert.main([*flags, "a.pth"]) == 2
    assert "which is a folder" in capsys.readouterr().err


def test_an_error_of_the_disk_is_one_line(slowonly, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    synthetic.write(slowonly)
    monkeypatch.setattr(pretrained, "save_model", full)
    assert "Cannot write to 'out': No space left on device; choose another --out" in error_of(
        capsys
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out", "x"], "Say --source NAME"),
        (["--out", "x", "--source", "a", "--to", "b"], "Say --source NAME"),
        (["--out", "x", "--source", "mmaction2"], "--source needs --input too"),
        (["--out", "x", "--to", "mmaction2"], "--to needs --checkpoint too"),
        (
            ["--out", "x", "--to", "mmaction2", "--checkpoint", "c", "--flow", "cascade"],
            "--flow has no meaning with --to",
        ),
        (["--out", "x.pth", "--to", "mmaction", "--checkpoint", "c"], "Did you mean 'mmaction2'"),
        (["--out", "x.pth", "--to", "mmaction2", "--checkpoint", "c"], "No checkpoint at"),
        (["--out", "x", "--source", "mmaction2", "--input", "none.pth"], "No file none.pth"),
    ],
)
def test_flags_that_do_not_go_together(flags, message, capsys):
    assert convert.main(flags) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


def test_the_rows_of_mmaction2_are_all_of_use():
    """Every row names something in one of the networks."""
    small = {"depths": (1, 1, 1, 1), "width": 16}
    slowfast = {"backbone": {"variant": "slowfast_r50", **small}}
    tsm = {"backbone": {"variant": "c2d_r50", "temporal": "tsm", **small}}
    slots = {"temporal": "tam", "nonlocal_blocks": ((0,), (), (), ())}
    tanet = {"backbone": {"variant": "c2d_r50", **slots, **small}}
    used = set()
    for model, rows, shifted in (
        (tanet, mmaction2.ROWS, False),
        (synthetic.TPN, mmaction2.ROWS, False),
        (tsm, mmaction2.ROWS, True),
        (slowfast, mmaction2.SLOWFAST, False),
    ):
        leaves = synthetic.leaves(model)
        for row in rows:
            arrays, _ = rules.to_keys(
                leaves,
                [row],
                may_name=lambda row, _, s=shifted: s or row[2] != "shifted_conv",
                is_flat=lambda _: False,
            )
            used |= {row} if arrays else set()
    paths = [row for row in mmaction2.SLOWFAST if row[2] == "shifted_conv"]  # of TSM's rows
    assert {*mmaction2.ROWS, *mmaction2.SLOWFAST} - used == set(paths)
