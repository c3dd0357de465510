"""What NCCL is told, and what is said when other processes are gone."""

import argparse

import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException

from espnet2_sv.tasks.ranks import Report, describe_end, describe_rank_error
from espnet2_sv.train.process_group import (
    describe_lost_contact,
    let_nccl_detect_errors,
    lost_contact,
)

NODE = argparse.Namespace(ngpu=4, dist_rank=2, dist_world_size=16, dist_launcher=None)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {"NCCL_BLOCKING_WAIT": "0"}),
        ({"NCCL_BLOCKING_WAIT": "1"}, {"NCCL_BLOCKING_WAIT": "1"}),
        ({"TORCH_NCCL_BLOCKING_WAIT": "1"}, {"TORCH_NCCL_BLOCKING_WAIT": "1"}),
    ],
)
def test_nccl_detects_errors_unless_the_user_wants_otherwise(given, found):
    let_nccl_detect_errors(given)
    assert given == found


def test_errors_of_backends_are_told_from_those_of_the_model():
    nccl = torch.distributed.DistBackendError(
        "NCCL error in: x.cpp:77, remote process exited or there was a network error"
    )
    late = torch.distributed.DistBackendError("Watchdog caught collective timeout")
    gloo = RuntimeError("[/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
    assert all(map(lost_contact, (nccl, late, gloo)))
    assert not lost_contact(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert "has probably ended" in describe_lost_contact(nccl)
    assert "--dist_timeout" in describe_lost_contact(late)


def test_nccls_own_reason_is_told():
    error = torch.distributed.DistBackendError(
        "NCCL error in: NCCLUtils.cpp:77, invalid usage (run with NCCL_DEBUG=WARN"
        " for details), NCCL version 2.27.3\nncclInvalidUsage: This usually reflects"
        " invalid usage of NCCL library.\nLast error:\nDuplicate GPU detected :"
        " rank 1 and rank 0 both on CUDA device 1000"
    )
    line = str(describe_rank_error(error, NODE))
    assert line.startswith("NCCL failed: Duplicate GPU detected : rank 1 and rank 0")


def test_a_failed_rendezvous_names_the_file_where_there_is_no_port(monkeypatch):
    monkeypatch.delenv("MASTER_PORT", raising=False)
    args = argparse.Namespace(dist_init_method="file:///x/init", dist_master_port=None)
    error = torch.distributed.DistStoreError("wait timeout after 1800000ms\nmore")
    line = str(describe_rank_error(error, args))
    assert "rendezvous failed on file:///x/init: wait timeout after 1800000ms" in line


def end(index: int, code: int, signal_name: str | None = None):
    return ProcessExitedException("", index, 1, code, signal_name)


def test_the_process_that_failed_is_named_not_those_that_lost_it():
    lost = Report(9, "the connection broke", True)
    cause = Report(11, "utt7: cannot be decoded", False)
    aborted = end(1, -6, "SIGABRT")
    said = "rank 11 of 16: utt7: cannot be decoded"
    assert describe_end(aborted, NODE, [lost, cause]) == said
    assert "rank 9 of 16 was ended by SIGABRT" in describe_end(aborted, NODE, [lost])
    assert describe_end(end(1, 1), NODE, [lost]) == "rank 9 of 16: the connection broke"
    assert "rank 8 of 16 ended with status 3" in describe_end(end(0, 3), NODE, [])
    bug = Report(8, None, False)
    assert "rank 8 of 16: an error of the program" in describe_end(
        end(0, 1), NODE, [bug, cause]
    )
