"""How the processes of one run find each other, and what is said when they do not."""

import os
import sys
import threading

import jax

from tempo import command_line
from tempo.errors import InputError

AUTO = "auto"

_LONGEST_S = 7 * 24 * 3600


def join(
    coordinator: str | None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout_s: float = 300.0,
) -> None:
    """Makes this process one of several; nothing without a coordinator. Call before any use of jax.

    Args:
      coordinator: host:port of process 0, the same in all processes; or `auto`: jax asks the
        cluster (Slurm, Open MPI, TPU, Kubernetes with `jax[k8s]`) for all that is not given.
      num_processes: of the run.
      process_id: of this one, from 0.
      timeout_s: to wait for the others. When it is over, this process ends with status 2.

    Raises:
      InputError: flags that do not go together, no cluster that jax knows, or processes that do
        not agree on how many they are.
    """
    if not coordinator:
        if num_processes is not None or process_id is not None:
            raise InputError(
                "--num_processes and --process_id need --coordinator: host:port of process 0."
            )
        return
    if not 1 <= timeout_s <= _LONGEST_S:
        raise InputError(
            f"--coordinator_timeout_s must be at least 1 and at most {_LONGEST_S}; got "
            f"{timeout_s:g}."
        )
    _check_number(num_processes, process_id)
    if coordinator == AUTO:
        where = "The processes of the cluster"
        address = None
    else:
        where = f"The {num_processes} processes of --coordinator {coordinator}"
        address = _address(coordinator)
        if num_processes is None or process_id is None:
            raise InputError("--coordinator host:port needs --num_processes and --process_id too.")
    timer = threading.Timer(timeout_s, _give_up, [where, timeout_s])
    timer.daemon = True
    timer.start()
    try:
        # jax itself would end the process with the stack of its C++, so it has more time.
        jax.distributed.initialize(
            address, num_processes, process_id, initialization_timeout=int(timeout_s) + 60
        )
    except (ValueError, RuntimeError) as e:
        raise InputError(_refusal(coordinator, e)) from None
    finally:
        timer.cancel()
    if num_processes is not None and jax.process_count() != num_processes:
        raise InputError(
            f"--num_processes={num_processes}, but process 0 waited for {jax.process_count()}; "
            "give all processes the same number."
        )


def _check_number(num_processes: int | None, process_id: int | None) -> None:
    if num_processes is not None and num_processes < 1:
        raise InputError(f"--num_processes must be at least 1; got {num_processes}.")
    most = float("inf") if num_processes is None else num_processes - 1
    if process_id is not None and not 0 <= process_id <= most:
        raise InputError(
            f"--process_id={process_id} is none of the --num_processes={num_processes}, which "
            "count from 0."
        )


def _address(coordinator: str) -> str:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(
            f"--coordinator={coordinator!r} is neither 'auto' nor the host:port of process 0, such "
            "as 10.0.0.1:1234."
        )
    return coordinator


def _refusal(coordinator: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if coordinator == AUTO:
        return (
            f"--coordinator=auto: jax finds no cluster here ({said}); give host:port of process 0 "
            "with --num_processes and --process_id."
        )
    return f"--coordinator={coordinator}: {said}"


def _give_up(where: str, timeout_s: float) -> None:
    command_line.complain(
        f"{where} have not met within {timeout_s:g} s; start each --process_id once, and look "
        "whether the others reach host and port of process 0.",
        2,
    )
    sys.stderr.flush()
    os._exit(2)  # the main thread is inside of jax, which nothing interrupts
