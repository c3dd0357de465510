"""Several training processes of one machine end in one line, whatever happens."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.execution_timeout(600)

SCRIPT = Path(__file__).with_name("ranks_on_cpu.py")
RUN_PL = Path(__file__).parents[2] / "egs2/TEMPLATE/sv1/utils/run.pl"
RANKS = ["--ngpu", "2", "--multiprocessing_distributed", "true"]


@pytest.fixture
def command(training_command, small_network, tmp_path):
    """A function that returns the command line of a training."""

    def training(**options) -> list[str]:
        options = training_command(**{"output_dir": tmp_path / "exp"} | options)
        return [sys.executable, str(SCRIPT), *options, *small_network]

    return training


def start(command, fault: object = "", **kwargs) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        env=os.environ | {"RANK_1": str(fault)},
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def error_line(text: str) -> str:
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    return errors[0]


def ends_in_one_line(process: subprocess.Popen, status: int = 1) -> str:
    _, stderr = process.communicate()
    assert process.returncode == status, stderr
    assert stderr.splitlines()[-1] == error_line(stderr), stderr
    return stderr.splitlines()[-1]


def wait_until(condition) -> None:
    while not condition():
        time.sleep(0.02)


def with_a_bad_file(corpus, folder: Path) -> Path:
    """Write a wav.scp whose last file is no audio."""
    (folder / "bad.wav").write_text("no audio")
    *lines, last = (corpus.root / "wav.scp").read_text().splitlines()
    lines.append(f"{last.split()[0]} {folder}/bad.wav")
    (folder / "wav.scp").write_text("".join(f"{line}\n" for line in lines))
    return folder / "wav.scp"


def is_open(path: Path) -> bool:
    """Whether a process has a file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == str(path):
                return True
    return False


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("memory", "error: rank 1 of 2: out of memory"),
        ("kill", "error: rank 1 of 2 was ended by SIGKILL, probably as memory ran out"),
        # loading processes start as in training with one process
        ("start_method", f"error: rank 1 of 2: {multiprocessing.get_start_method()}"),
    ],
)
def test_a_process_that_fails_ends_all_in_one_line(fault, line, command):
    assert ends_in_one_line(start([*command(), *RANKS], fault)).startswith(line)


def test_a_damaged_checkpoint_is_named_in_one_line(command, tmp_path):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "checkpoint.pth").write_bytes(b"PK\3\4 and nothing else")
    line = ends_in_one_line(start([*command(resume="true"), *RANKS]))
    assert line.startswith("error: rank 0 of 2: ")
    assert "checkpoint.pth: is cut off or damaged" in line


def test_bad_audio_in_one_loading_process_is_one_line_in_the_log(
    command, corpus, tmp_path
):
    scp = with_a_bad_file(corpus, tmp_path)
    training = command(
        train_data_path_and_name_and_type=f"{scp},speech,sound", num_workers=1
    )
    log = tmp_path / "train.log"
    launch = [sys.executable, "-m", "espnet2.bin.launch", "--cmd", str(RUN_PL)]
    process = start([*launch, "--log", str(log), "--ngpu", "2", "--", *training])
    process.communicate()
    assert process.returncode == 1
    line = error_line(log.read_text())
    assert line.startswith("error: rank ") and "bad.wav" in line


@pytest.fixture
def stuck(command, tmp_path):
    """A training whose second process is stuck with this file open, and the file."""
    path = tmp_path / "stuck"
    process = start([*command(), *RANKS], path, start_new_session=True)
    wait_until(lambda: path.exists() or process.poll() is not None)
    return process, path


def test_ctrl_c_leaves_no_process(stuck):
    process, path = stuck
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert ends_in_one_line(process, 130) == "error: interrupted"
    wait_until(lambda: not is_open(path))


def test_processes_end_with_the_one_that_started_them(stuck):
    process, path = stuck
    process.kill()
    process.communicate()
    wait_until(lambda: not is_open(path))


def start_each(command, folder: Path, fault: object = "") -> list[subprocess.Popen]:
    """Start two processes as a cluster does, which know nothing of each other."""
    shared = ["--ngpu", "0", "--multiprocessing_distributed", "false"]
    shared += ["--dist_world_size", "2", "--dist_init_method", f"file://{folder}/init"]
    return [
        start([*command, *shared, "--dist_rank", str(rank)], fault) for rank in range(2)
    ]


def test_a_killed_process_ends_those_of_other_machines_in_one_line(command, tmp_path):
    shared = ["--dist_world_size", "2", "--dist_init_method", f"file://{tmp_path}/init"]
    nodes = [
        start([*command(batch_size=8), *RANKS, *shared, "--dist_rank", str(n)], "kill")
        for n in range(2)
    ]
    assert "rank 1 of 4 was ended by SIGKILL" in ends_in_one_line(nodes[0])
    ended = time.monotonic()
    line = ends_in_one_line(nodes[1])
    assert time.monotonic() - ended < 60
    assert line.startswith("error: rank ")
    assert "the connection to another process of the training broke" in line


def test_a_stuck_process_is_not_waited_for_longer_than_the_timeout(command, tmp_path):
    waiting, stuck = start_each(
        command(dist_timeout=0.05), tmp_path, tmp_path / "stuck"
    )
    line = ends_in_one_line(waiting)
    stuck.kill()
    stuck.communicate()
    assert "was not heard of in time" in line and "--dist_timeout" in line


def test_bad_data_of_one_process_is_one_line_in_each(command, corpus, tmp_path):
    scp = with_a_bad_file(corpus, tmp_path)
    data = {"train_data_path_and_name_and_type": f"{scp},speech,sound"}
    lines = [
        ends_in_one_line(process) for process in start_each(command(**data), tmp_path)
    ]
    assert sum("bad.wav" in line for line in lines) == 1
    assert sum("the connection to another process" in line for line in lines) == 1


@pytest.fixture
def record(command, tmp_path, monkeypatch):
    """A function that trains in two processes, and returns what they recorded."""

    def train(name: str, *epochs: int) -> dict[str, dict]:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv("RECORD", str(folder))
        for max_epoch in epochs:
            options = {"output_dir": folder / "exp", "resume": "true"}
            # the second process has nothing to validate
            options |= {"valid_batch_size": 64}
            options |= {"accum_grad": 2, "num_iters_per_epoch": 4}
            line = command(max_epoch=max_epoch, **options)
            for process in start_each(line, folder):
                _, stderr = process.communicate()
                assert process.returncode == 0, stderr
            (folder / "init").unlink(missing_ok=True)
        return {p.name: torch.load(p) for p in folder.glob("?.?")}

    return train


def test_processes_draw_their_own_random_numbers_and_resume_exactly(record):
    whole = record("whole", 2)
    assert sorted(whole) == ["0.1", "0.2", "1.1", "1.2"]  # rank and epoch
    first = [found["masks"][0] for found in whole.values()]
    for one, other in itertools.combinations(first, 2):
        assert (one != other).any()
    for epoch in (1, 2):
        pair = [whole[f"{rank}.{epoch}"] for rank in range(2)]
        assert pair[0]["utterances"] != pair[1]["utterances"]
        torch.testing.assert_close(pair[1]["model"], pair[0]["model"], rtol=0, atol=0)
    resumed = record("resumed", 1, 2)
    for name, found in whole.items():
        assert resumed[name].pop("utterances") == found.pop("utterances")
        torch.testing.assert_close(resumed[name], found, rtol=0, atol=0)
