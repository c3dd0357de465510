"""The processes of a training: how long they wait for each other, and lost ones."""

import os
from collections.abc import MutableMapping
from datetime import timedelta

import torch
from torch.distributed import distributed_c10d

# Of errors that gloo raises as RuntimeError, e.g. "[.../gloo/transport/tcp/pair.cc:561]
# Connection closed by peer [127.0.0.1]:24451." or "... Timed out waiting 5000ms ..."
_GLOO = "gloo/"
_TIMED_OUT = ("Timed out", "timeout", "timed out")
# Of DistBackendError, where not this process but another one has failed, e.g.
# "ncclRemoteError: A call failed possibly due to a network error or a remote process
# exiting prematurely."
_NCCL_LOST = ("ncclRemoteError", "remote process", "aborted")


def let_nccl_detect_errors(environment: MutableMapping[str, str] = os.environ) -> None:
    """Keep the thread that ends a process whose collective failed or takes too long.

    ESPnet sets NCCL_BLOCKING_WAIT=1 where it is not set, with which PyTorch starts no
    such thread: a process whose peer is gone could wait forever. What the user has set
    is left, under either name.

    Args:
        environment: Changed in place, before the process group starts.
    """
    if "TORCH_NCCL_BLOCKING_WAIT" not in environment:
        environment.setdefault("NCCL_BLOCKING_WAIT", "0")


def set_group_timeout(minutes: float) -> None:
    """Set how long a process waits for the others before it gives up."""
    timeout = timedelta(minutes=minutes)
    if hasattr(torch.distributed, "set_timeout"):
        torch.distributed.set_timeout(timeout)
    else:  # before torch 2.14
        distributed_c10d._set_pg_timeout(timeout)


def lost_contact(error: BaseException) -> bool:
    """Whether the error is that other processes are gone, stuck or unreachable."""
    text = str(error)
    if isinstance(error, torch.distributed.DistBackendError):
        return any(part in text for part in (*_NCCL_LOST, *_TIMED_OUT))
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and _GLOO in text


def describe_backend_error(error: torch.distributed.DistBackendError) -> str:
    """Return one line for NCCL's error, such as two processes on one GPU."""
    text = str(error)
    reason = text.partition("Last error:")[2].strip() or text
    return (
        f"NCCL failed: {' '.join(reason.split())[:300]}; NCCL_DEBUG=INFO in the"
        " environment tells more"
    )


def describe_lost_contact(error: BaseException) -> str:
    """Return one line for an error of :func:`lost_contact` during training."""
    text = " ".join(str(error).split())
    if any(part in text for part in _TIMED_OUT):
        return (
            "another process was not heard of in time; see its log, and raise"
            f" --dist_timeout if it was only slow ({text[:200]})"
        )
    return (
        "the connection to another process of the training broke, which has probably"
        " ended; see its error. The same command continues after the last complete"
        f" epoch ({text[:200]})"
    )
