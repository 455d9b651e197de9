"""The command refuses bad input in one line before any work, and says what can be asked of it."""

import os
import pathlib
import re

import pytest

import tempo
from tests import forked, tiny


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.make_records(tmp_path_factory.mktemp("data"))


@pytest.fixture
def config(tmp_path, records):
    return tiny.write_config(tmp_path / "config.py", records)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--config.batch_size=6"], "batch_size=6 is not divisible by 4 .*nearest.* 4 and 8"),
        (["--config.batch_size=64"], "batch_size=64 is more than the 24 videos"),
        (["--config.optim.momentun=0.5"], "no key 'momentun'. Did you mean 'momentum'"),
        (["--config.optm.momentum=0.5"], '^error: .*Did you mean "optim" instead of "optm"'),
        (["--config.batch_size=many"], "batch_size=many"),
        (["--config.data.dir=nowhere"], "nowhere"),
        (["--config.model.backbone.variant=slowonly_r05"], "Did you mean 'slowonly_r50'"),
        (["--config.model.neck.name=tpn", "--config.model.neck.flow=sideways"], "'sideways'"),
        (
            ["--config.model.neck.name=tpn", "--config.model.neck.source=res9"],
            "Unknown source.*'res9'",
        ),
        (["--config.model.neck.name=tpn", "--config.model.neck.alphas=(3,4)"], "alpha.*3.*4"),
        (["--config.model.norm_groups=3"], "model.norm_groups=3 does not divide the batch of 8"),
        (["--config.loop.keep_checkpoints=0"], "keep_checkpoints must be .* 1 or more; got 0"),
        (["--config.schedule.name=cosin"], "Did you mean 'cosine'"),
        (["--config.init_from=nowhere"], "config.init_from: no folder 'nowhere'"),
        (["--config.input.clips_per_video=3"], "clips_per_video=3 does not divide batch_size=8"),
        (["--config.data.name=charades"], "have single labels, but charades has multi"),
        (["--config.data.name=tempobench_pairs"], "have 7 classes, but tempobench_pairs has 14"),
        (["--config.eval.multi_view.split=tset"], "Did you mean 'test'"),
        (["--config.input.host_ops=('random_corp',)"], "Did you mean 'random_crop'"),
        (
            ["--config.data.name=tempobench_pairs", "--config.input.host_ops=('flip',)"],
            "config.input.host_ops would mirror videos",
        ),
    ],
)
def test_bad_config_is_one_line_before_any_work(config, tmp_path, flags, message):
    line = forked.refused("--config", config, "--workdir", tmp_path / "run", *flags)
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists()


def test_missing_flags_and_files(config, tmp_path):
    assert "--workdir is missing" in forked.refused("--config", config)
    assert "--config is missing" in forked.refused("--workdir", tmp_path)
    assert "need --find-batch-size" in forked.refused("--config", config, "--remat_all")
    assert "needs --checkpoint" in forked.refused("--mode=eval", "--workdir", tmp_path)
    assert "nofile.py" in forked.refused("--config", "nofile.py", "--workdir", tmp_path)
    assert "Did you mean 'tpn_tsm_r50'" in forked.refused("--describe", "tpn_tsm_r5")
    assert "needs --mode eval" in forked.refused(
        "--config", config, "--workdir", tmp_path, "--evaluators=per_frame"
    )
    missing = forked.refused("--mode=eval", "--checkpoint", "nowhere", "--workdir", tmp_path / "e")
    assert "No checkpoint" in missing and "nowhere" in missing


def test_describe_prints_size_and_stages():
    process = forked.run("--describe", "tpn_slowonly_r50")
    assert "91,498,336 parameters" in process.stdout
    assert "res5           8x7x7x2048" in process.stdout


def test_help_does_not_touch_a_device():
    env = {**os.environ, "JAX_PLATFORMS": "no_such_platform"}
    process = tiny.run("--help", env=env)
    assert "--workdir" in process.stdout and process.returncode == 0


def test_readme_has_exactly_two_commands_first():
    readme = (pathlib.Path(tempo.__file__).parent.parent / "README.md").read_text()
    blocks = readme.split("```bash\n")[1:]
    assert [block.split("```")[0].strip() for block in blocks] == [
        "pip install -e . && "
        "python -m tempo.main --config configs/quickstart.py --workdir runs/quickstart",
        "pip install -e '.[test]' && pytest",
    ]
