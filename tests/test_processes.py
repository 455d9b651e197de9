"""How processes join: what is refused at once, and what is said when the others do not come."""

import socket

import pytest

from tempo import processes
from tempo.errors import InputError
from tests import forked


@pytest.mark.parametrize(
    "given, message",
    [
        ((None, 2, 0), "need --coordinator"),
        (("host:1234", 2, None), "needs --num_processes and --process_id too"),
        (("host:1234", None, 1), "needs --num_processes and --process_id too"),
        (("host", 2, 0), "--coordinator='host' is neither 'auto' nor the host:port"),
        (("host:0", 2, 0), "neither 'auto'"),
        (("host:1234", 2, 2), "--process_id=2 is none of the --num_processes=2"),
        (("auto", 0, None), "--num_processes must be at least 1; got 0"),
        (("host:1234", 2, 0, 0.0), "_timeout_s must be at least 1 and at most 604800; got 0"),
        (("host:1234", 2, 0, float("inf")), "at most 604800; got inf"),
        (("auto",), "--coordinator=auto: jax finds no cluster here .*give host:port"),
    ],
)
def test_flags_that_do_not_go_together(given, message, monkeypatch):
    monkeypatch.setattr("jax._src.clusters.ClusterEnv._cluster_types", [])
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    with pytest.raises(InputError, match=message):
        processes.join(*given)


def test_no_coordinator_is_one_process():
    processes.join(None)


def test_a_process_whose_others_do_not_come_ends_with_one_line(tmp_path):
    with socket.socket() as s:  # bound and not listening: nobody else answers there
        s.bind(("127.0.0.1", 0))
        process = forked.run(
            "--workdir", tmp_path, "--mode=eval", "--checkpoint=x",
            f"--coordinator=127.0.0.1:{s.getsockname()[1]}", "--num_processes=2",
            "--process_id=1", "--coordinator_timeout_s=1",
        )  # fmt: skip
    assert process.returncode == 2
    [line] = [x for x in process.stderr.splitlines() if x.startswith("error:")]
    assert "The 2 processes of --coordinator 127.0.0.1:" in line
    assert "have not met within 1 s" in line
