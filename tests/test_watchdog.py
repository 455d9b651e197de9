import os
import signal

import jax.numpy as jnp
import pytest

from tempo import watchdog
from tempo.errors import NonFiniteError


def metrics(**changed):
    values = {"loss": 1.0, "grad_norm": 1.0, "state_norm": 1.0, **changed}
    return {name: jnp.float32(value) for name, value in values.items()}


def test_loss_watch_names_the_first_bad_step_and_its_ids():
    watch = watchdog.LossWatch()
    watch.add(1, metrics(), ["a"])
    watch.check()
    watch.add(2, metrics(), ["b"])
    watch.add(3, metrics(loss=jnp.nan), ["c", "d"])
    watch.add(4, metrics(loss=jnp.nan, grad_norm=jnp.nan), ["e"])
    with pytest.raises(NonFiniteError, match=r"Step 3 .*videos of the batch: c, d\.") as error:
        watch.check()
    assert error.value.bad_step == 2  # the state after step 2 gave that loss


@pytest.mark.parametrize("name", ["grad_norm", "state_norm"])
def test_loss_watch_sees_a_bad_update_under_a_good_loss(name):
    watch = watchdog.LossWatch()
    watch.add(7, metrics(**{name: jnp.inf}), ["a"])
    with pytest.raises(NonFiniteError, match="Step 7") as error:
        watch.check()
    assert error.value.bad_step == 7


def test_stop_signal_is_noticed_and_the_handler_restored():
    before = signal.getsignal(signal.SIGTERM)
    with watchdog.StopSignal() as stop:
        assert not stop.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested(2)
    assert signal.getsignal(signal.SIGTERM) == before
