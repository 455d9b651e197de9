import os
import signal

import jax.numpy as jnp
import pytest

from tempo import watchdog


def test_loss_watch_names_the_first_bad_step_and_its_ids():
    watch = watchdog.LossWatch()
    watch.add(1, jnp.float32(1.0), jnp.float32(1.0), ["a"])
    watch.check()
    watch.add(2, jnp.float32(1.0), jnp.float32(1.0), ["b"])
    watch.add(3, jnp.float32(jnp.nan), jnp.float32(1.0), ["c", "d"])
    watch.add(4, jnp.float32(jnp.nan), jnp.float32(jnp.nan), ["e"])
    with pytest.raises(watchdog.NonFiniteLossError, match=r"Step 3 .*videos: c, d\."):
        watch.check()


def test_loss_watch_sees_a_bad_gradient_under_a_good_loss():
    watch = watchdog.LossWatch()
    watch.add(7, jnp.float32(1.0), jnp.float32(jnp.inf), ["a"])
    with pytest.raises(watchdog.NonFiniteLossError, match="Step 7"):
        watch.check()


def test_stop_signal_is_noticed_and_the_handler_restored():
    before = signal.getsignal(signal.SIGTERM)
    with watchdog.StopSignal() as stop:
        assert not stop.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested(2)
    assert signal.getsignal(signal.SIGTERM) == before
