"""What a step exchanges and holds on several devices: the figures of the report, and its claims."""

import functools

import jax
import numpy as np
import pytest

from experiments.benchmarks import collectives, scaling
from tempo import sharding, trees

NET = {"variant": "slowonly_r18", "depths": (1, 1, 1, 1), "width": 8}
SETTING = scaling.Setting(net={"backbone": NET}, batch_size=8, num_steps=2)


@functools.cache
def trained(rules):
    """(facts, parameters and metrics by name) after training on the four devices of the tests."""
    training = scaling.Training(SETTING, scaling.Layout(devices=4, rules=rules))
    facts = training.facts()
    params, metrics = training.run()
    return facts, trees.named({"params": params, "metrics": metrics})


def assert_same_end(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], atol=2e-5, rtol=1e-4, err_msg=name)


def test_replicated_a_step_sums_every_gradient_and_statistic_once_and_nothing_else():
    facts, _ = trained("")
    assert set(facts["collectives"]) == {"all-reduce"}
    found, minimum = facts["collectives"]["all-reduce"], facts["minimum_bytes"]
    hits_and_counts = 2 * 4
    assert found["bytes"] == minimum["total"] + hits_and_counts
    # A norm has one sum in each pass, some of them joined; then the gradients, and the hits.
    assert found["count"] <= 2 * facts["norms"] + 2


def test_split_by_name_a_step_gathers_each_kernel_once_and_ends_the_same():
    (facts, end), (whole, reference) = trained("fsdp"), trained("")
    kernels = sum(v.nbytes for name, v in end.items() if name.endswith("kernel"))
    assert set(facts["collectives"]) == {"all-reduce", "all-gather"}
    assert facts["collectives"]["all-gather"]["bytes"] == kernels
    # One number per leaf more, of norms that are taken of parts.
    more = facts["collectives"]["all-reduce"]["bytes"] - whole["collectives"]["all-reduce"]["bytes"]
    assert 0 < more <= 4 * 3 * len(end)
    held, before = facts["device_bytes"], whole["device_bytes"]
    for name in ("params", "opt_state"):
        assert before[name] - held[name] == kernels * 3 // 4
    saved = before["arguments"] - held["arguments"]
    assert saved == pytest.approx(3 * kernels * 3 // 4, rel=0.01)  # and the moving average
    assert_same_end(end, reference)


def test_what_the_optimizer_keeps_is_split_alone():
    state = {
        "params": {"fc": {"kernel": np.zeros((4, 5))}},
        "opt_state": [{"fc": {"kernel": np.zeros((4, 5)), "bias": np.zeros(4)}}],
        "ema_params": {"fc": {"kernel": np.zeros((4, 8))}},
    }
    found = sharding.infer_shardings(state, sharding.make_mesh(), sharding.rules_of("zero1"))
    specs = {name: tuple(x.spec) for name, x in trees.named(found).items()}
    assert specs == {
        "params/fc/kernel": (),
        "opt_state/0/fc/kernel": ("data", None),  # its outputs are five
        "opt_state/0/fc/bias": (),
        "ema_params/fc/kernel": (None, "data"),
    }


def test_gathered_puts_together_what_is_split_over_data_only():
    mesh = sharding.make_mesh(model=2)
    tree = {"kernel": np.arange(8.0).reshape(2, 4), "other": np.ones(2)}
    rules = [("kernel", ("data", "model")), ("other", ("model",))]
    split = jax.device_put(tree, sharding.infer_shardings(tree, mesh, rules))
    whole = sharding.gathered(split)
    assert tuple(whole["kernel"].sharding.spec) == (None, "model")
    assert whole["other"].sharding == split["other"].sharding
    np.testing.assert_array_equal(whole["kernel"], tree["kernel"])
    assert sharding.gathered(whole) is whole


def test_two_processes_end_as_one():
    layout = scaling.Layout(processes=2, devices=2, rules="fsdp")
    facts, end = scaling.run(SETTING, layout)
    assert facts["mesh"] == {"data": 4, "model": 1}
    assert facts["collectives"] == trained("fsdp")[0]["collectives"]
    assert_same_end(end, trained("fsdp")[1])


HLO = """
HloModule jit_step

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %b.1 = f32[] add(%a, %b)
}

%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %inner = (f32[4]{0}, /*index=1*/bf16[2,3]{1,0:T(8,128)}) all-reduce(%x, %y), to_apply=%add, \
metadata={op_name="jit(step)/while/sum"}
  ROOT %t = (s32[], f32[4]) tuple(%i, %inner)
}

ENTRY %main (x: f32[4]) -> f32[8] {
  %w = (s32[], f32[4]) while(%init), condition=%cond, body=%body, \
backend_config={"known_trip_count":{"n":"3"},"known_init_step":{"init":"0","step":"1"}}
  %start = (f32[4]{0}, f32[8]{0}) all-gather-start(%x), dimensions={0}
  ROOT %done = f32[8]{0} all-gather-done(%start)
}
"""


def test_collectives_are_read_from_the_text_and_counted_in_loops():
    inner, gather = collectives.parse(HLO)
    assert inner.arrays == (("f32", (4,)), ("bf16", (2, 3)))
    assert (inner.times, inner.num_bytes, inner.op_name) == (3, 28, "jit(step)/while/sum")
    assert gather.arrays == (("f32", (8,)),)
    assert collectives.summary([inner, gather]) == {
        "all-reduce": {"count": 3, "bytes": 84},
        "all-gather": {"count": 1, "bytes": 32},
    }
    with pytest.raises(ValueError, match="no ENTRY"):
        collectives.parse("HloModule x")


def test_the_table_says_what_the_rows_do():
    facts, _ = trained("fsdp")
    row = {"processes": 1, "devices": 4, "rules": "fsdp", "norm_groups": 1, "accumulate_steps": 2}
    lines = scaling.table([{**row, **facts, "difference": {"params": 3e-7, "metrics": 0.0}}])
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| 1 x 4 | 4 x 1 | `fsdp`, 2 micro-batches | ")
    assert lines[2].endswith("| 3e-07 |")
