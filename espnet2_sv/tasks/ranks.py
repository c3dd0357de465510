"""How the errors of several training processes reach the user: in one line.

ESPnet starts one process per GPU of a machine, or each is started from outside, by
torchrun, ssh or Slurm. In the first case, the processes report to the one that started
them, which stops the others and says what happened; in the second, each says it itself.
"""

import argparse
import contextlib
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch.multiprocessing.spawn import ProcessExitedException

from espnet2.train.distributed_utils import get_node_rank
from espnet2_sv.data.job_split import end_with_parent
from espnet2_sv.errors import SVError, describe_error
from espnet2_sv.train.process_group import (
    describe_backend_error,
    describe_lost_contact,
    lost_contact,
)

# A process that has lost another one leaves it to the starting process to find out
# which one failed, and to stop the rest; seconds
_WAIT_TO_BE_STOPPED = 5.0
_WAIT_FOR_END = 10.0  # seconds from SIGTERM to SIGKILL
_CONTINUE = "the same command continues after the last complete epoch"
_SIGNALS = {
    "SIGKILL": "probably as memory ran out; lower --num_workers or --batch_size",
    "SIGBUS": "probably as /dev/shm is full; lower --num_workers or enlarge it",
    "SIGABRT": "as NCCL does when another process is gone or late; see the log",
}


class Report(NamedTuple):
    """What a process says before it ends."""

    rank: int
    line: str | None  # None after a traceback, for an error of the program
    lost_contact: bool  # to another process, so that it is not the one that failed


def starts_ranks(args: argparse.Namespace) -> bool:
    """Whether ESPnet starts a process per GPU (see ``resolve_distributed_mode``)."""
    return args.multiprocessing_distributed and args.ngpu > 1


@contextlib.contextmanager
def started_ranks(args: argparse.Namespace) -> Iterator[None]:
    """Run ESPnet's ``main`` that starts processes; leave none behind.

    Raises:
        SVError: One of them failed; says which and why.
    """
    before = set(multiprocessing.active_children())
    args.reports = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch_log = logging.getLogger("torch.multiprocessing.spawn")
    level = torch_log.level
    torch_log.setLevel(logging.ERROR)  # it names each process that it stops
    try:
        yield
    except ProcessExitedException as e:
        reports = []
        while not args.reports.empty():
            reports.append(Report(*args.reports.get()))
        raise SVError(describe_end(e, args, reports)) from None
    finally:
        torch_log.setLevel(level)
        _stop(set(multiprocessing.active_children()) - before)
        del args.reports


def describe_end(
    end: ProcessExitedException, args: argparse.Namespace, reports: list[Report]
) -> str:
    """Return one line about the process that ended a training.

    Args:
        end: How the first process ended.
        args: Training arguments, as ESPnet has completed them.
        reports: What the processes have said.
    """
    node = get_node_rank(args.dist_rank, args.dist_launcher) or 0
    rank = args.ngpu * node + end.error_index
    causes = [report for report in reports if not report.lost_contact]
    # The one that ended first, if it has said why; or else any that has
    causes.sort(key=lambda report: report.rank != rank)
    name, of = f"rank {rank}", f"of {args.dist_world_size}"
    if causes:
        name = f"rank {causes[0].rank}"
        line = causes[0].line
        return f"{name} {of}: {line or 'an error of the program, see its traceback'}"
    if end.exit_code < 0:
        advice = _SIGNALS.get(str(end.signal_name), "see the log")
        return f"{name} {of} was ended by {end.signal_name}, {advice}; {_CONTINUE}"
    if reports:
        return f"rank {reports[0].rank} {of}: {reports[0].line}"
    return f"{name} {of} ended with status {end.exit_code}, see the log"


def run_rank(train: Callable[[argparse.Namespace], None], args: argparse.Namespace):
    """Train in a process that :func:`started_ranks` waits for.

    Args:
        train: Trains; its errors are reported, and end the process with status 1.
        args: Training arguments; ``reports`` is removed from them.
    """
    end_with_parent()
    # A spawned process would spawn, too: in each epoch, each process that loads audio
    # would import PyTorch and ESPnet anew and read a copy of the data set
    multiprocessing.set_start_method(
        multiprocessing.get_all_start_methods()[0], force=True
    )
    reports = vars(args).pop("reports")
    try:
        train(args)
    except Exception as e:
        lost = lost_contact(e)
        if lost:
            time.sleep(_WAIT_TO_BE_STOPPED)
        line = describe_error(describe_rank_error(e, args))
        if line is None:
            traceback.print_exc()
        reports.put(tuple(Report(args.dist_rank, line, lost)))
        logging.debug("the error was raised here:", exc_info=True)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _stop(set(multiprocessing.active_children()))  # processes that load audio
        os._exit(1)  # a pending collective may keep the interpreter from ending


def describe_rank_error(error: Exception, args: argparse.Namespace) -> Exception:
    """Return an SVError in place of one about other processes or their connections.

    Args:
        error: Any error of a training process.
        args: Training arguments.
    """
    if not lost_contact(error):
        if isinstance(error, torch.distributed.DistBackendError):
            return SVError(describe_backend_error(error))
        return error
    if torch.distributed.is_initialized():
        return SVError(describe_lost_contact(error))
    where = args.dist_init_method
    if args.dist_master_port is not None or "MASTER_PORT" in os.environ:
        port = args.dist_master_port or os.environ["MASTER_PORT"]
        address = args.dist_master_addr or os.environ.get("MASTER_ADDR")
        where = f"port {port} of {address}"
    reason = str(error).splitlines()[0][:200]
    return SVError(
        f"distributed rendezvous failed on {where}: {reason}; start all processes"
        " within a few minutes, or choose another port"
    )


def _stop(processes: set[multiprocessing.process.BaseProcess]) -> None:
    """End child processes, also those that are stuck."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + _WAIT_FOR_END
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
