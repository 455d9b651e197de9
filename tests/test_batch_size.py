"""The largest batch that fits: how it is found, and what a compiled step says that it holds."""

import math
import re
import types
import warnings

import jax
import pytest

from tempo import batch_size, experiment, models, recipe, sharding, task, trainable
from tempo.errors import InputError
from tests import tiny

MIB = 2**20


def largest(fixed, per_clip, limit, **kwargs):
    """(The best, sizes that were measured) of a line with a step that a line does not have."""
    tried = batch_size.largest(lambda n: fixed + per_clip * n + n % 3, limit, **kwargs)
    best = max((t.batch_size for t in tried if t.fits), default=None)
    return best, [t.batch_size for t in tried]


@pytest.mark.parametrize("unit", [1, 4, 6])
@pytest.mark.parametrize("limit", [1300, 5000, 99_999])
def test_the_largest_multiple_is_found_with_few_programs(limit, unit):
    best, tried = largest(1000, 30, limit, unit=unit)
    sizes = range(unit, 5000, unit)
    assert best == max(n for n in sizes if 1000 + 30 * n + n % 3 <= limit)
    assert len(tried) <= 6 and len(set(tried)) == len(tried)
    assert all(n % unit == 0 for n in tried)


def test_the_search_ends_where_nothing_or_everything_fits():
    assert largest(1000, 30, 900) == (None, [1])
    assert largest(1000, 30, 1e9, most=24) == (24, [1, 4, 24])
    assert largest(1000, 30, 1e9, unit=8, most=5) == (8, [8])
    best, tried = largest(10, 0, 1000, max_tries=5)  # no line: each is larger than the one before
    assert best == tried[-1] and tried == sorted(tried) and len(tried) == 5


def test_a_compiler_that_ran_out_of_memory_is_a_size_that_does_not_fit():
    tried = batch_size.largest(lambda n: math.inf if n > 20 else 10 * n, 1000)
    assert max(t.batch_size for t in tried if t.fits) >= 14


def made(model=None, **changed):
    """The experiment of the tiny config, its network one block deep, without its data."""
    scope = {}
    exec(tiny.CONFIG.replace("DATA", "nowhere"), scope)
    tree = scope["get_config"]().to_dict()
    tree["model"]["backbone"] |= {"variant": "slowonly_r50", "depths": (1, 0, 0, 0)}
    tree["model"] |= model or {}
    r = recipe.from_config(tree | changed)
    rows = types.SimpleNamespace(
        num_classes=3, label_kind="single", label_groups={}, split=lambda name: range(24)
    )
    return experiment.Experiment(
        config=tree,
        recipe=r,
        mesh=sharding.make_mesh(),
        records=rows,
        model=models.create(3, **experiment.training_model(r)),
        task=task.create("single", 3, {}),
    )


def test_the_unit_is_what_all_parts_of_a_step_divide():
    num_devices = jax.device_count()
    exp = made({"norm_groups": 3}, loop={"accumulate_steps": 2})
    assert batch_size.batch_unit(exp) == math.lcm(num_devices, 3) * 2


def test_the_table_ends_in_the_flag_to_use(monkeypatch):
    monkeypatch.setattr(experiment, "create", lambda config: made())
    sizes = {n: batch_size.planned_bytes(made(), n) for n in (8, 16)}
    told = []

    def measured(exp, size):
        told.append(exp.model.backbone.remat)
        return sizes[8] + (sizes[16] - sizes[8]) * (size - 8) / 8

    assert sizes[16] > 1.3 * sizes[8]
    monkeypatch.setattr(batch_size, "planned_bytes", measured)
    limit = 1.01 * sizes[16] / batch_size.USABLE / 2**30
    text = batch_size.of_config({}, limit, every_remat=True)
    assert re.search(r"^ +16 .* yes$", text, re.M)
    assert "--config.batch_size=16\n" in text
    assert "--config.batch_size=16 --config.model.remat=blocks" in text
    assert set(told) == {"none", "convs", "narrow", "blocks"}
    with pytest.raises(InputError, match=r"holds 0\.\d+ GiB .*remat=blocks, or .*dtype=bfloat16"):
        batch_size.of_config({}, limit / 1e4)
    with pytest.raises(InputError, match=r"GiB are free; try --config.model.dtype=bfloat16"):
        batch_size.of_config({}, limit / 1e4, every_remat=True)


def test_a_step_takes_over_the_memory_of_all_of_its_state():
    exp = made(loop={"accumulate_steps": 2, "ema_decay": 0.9})
    step = trainable.create(exp, lambda step: 0.1)
    batch = batch_size.batch_like(exp, 2 * batch_size.batch_unit(exp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Some donated buffers were not usable"
        compiled = step.step.lower(step.abstract, batch).compile()
    leaves = jax.tree.leaves(step.abstract)
    header = re.search(r"input_output_alias=\{(.*?)\}, entry", compiled.as_text(), re.S)[1]
    assert len(re.findall(r"-alias\)", header)) == len(leaves)
    own = sum(x.size * x.dtype.itemsize for x in leaves)
    assert compiled.memory_analysis().alias_size_in_bytes >= own


def test_the_memory_of_a_process_is_the_least_that_anything_leaves_it(tmp_path):
    def put(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    total = batch_size.host_memory(tmp_path)
    assert total > MIB
    put("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:   4000 kB\nHugePages_Total: 0\n")
    assert batch_size.host_memory(tmp_path) == 4000 * 1024
    put("sys/fs/cgroup/memory.max", "max\n")
    put("sys/fs/cgroup/memory.current", "1000000\n")
    assert batch_size.host_memory(tmp_path) == 4000 * 1024
    put("sys/fs/cgroup/memory.max", "3000000\n")
    put("sys/fs/cgroup/memory.stat", "anon 5\ninactive_file 250000\n")
    assert batch_size.host_memory(tmp_path) == 2_250_000
    put("proc/self/cgroup", "0::/job/step\n")  # the limits of a job are those of its processes
    put("sys/fs/cgroup/job/memory.max", "2000000\n")
    put("sys/fs/cgroup/job/memory.current", "500000\n")
    assert batch_size.host_memory(tmp_path) == 1_500_000
