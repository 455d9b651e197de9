"""The self-test of convolutions finds wrong ones. That all are right here, `test_doctor` holds."""

import jax
import pytest

from tempo.layers import conv, lowerings, selftest


def test_every_kind_of_kernel_that_has_a_lowering_is_tested():
    assert set(selftest.SPECS) == {kind for row in conv.AUTO.values() for kind in row}


@pytest.mark.parametrize(("kind", "error"), [("value", "output"), ("gradient", "input gradient")])
def test_a_wrong_lowering_is_found(kind, error, monkeypatch):
    spec = selftest.SPECS["pointwise", "dense"]

    def wrong(x, kernel, spec):
        if kind == "value":
            return 1.01 * lowerings.plain(x, kernel, spec)
        return lowerings.plain(x + (x - jax.lax.stop_gradient(x)), kernel, spec)

    broken = lowerings.Lowering(wrong, lambda spec: True)
    monkeypatch.setattr(selftest, "SPECS", {("pointwise", "dense"): spec})
    monkeypatch.setitem(lowerings.LOWERINGS, conv.choose(spec), broken)
    outcome = selftest.check()["pointwise dense"]
    assert outcome.startswith(f"failed: {conv.choose(spec)}: {error} by ")
