"""A command did its work, says in one line why not, or was interrupted."""

import contextlib
import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import torch
import yaml
from training import make_asr

from espnet2_sv.bin import cli
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(3000)

RANDOM = random.Random(0)


@pytest.fixture(scope="session")
def work(corpus, voxceleb_tree, tmp_path_factory) -> Path:
    """Inputs for every command that writes something."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    names = [
        line.split()[0] for line in (corpus.root / "wav.scp").read_text().splitlines()
    ]
    vectors = {name: rng.normal(size=24).astype(np.float32) for name in names}
    kaldiio.save_ark(str(folder / "x.ark"), vectors, scp=str(folder / "x.scp"))
    cohort = {f"c{i}": rng.normal(size=24).astype(np.float32) for i in range(20)}
    kaldiio.save_ark(str(folder / "c.ark"), cohort, scp=str(folder / "c.scp"))
    trials = [line.split() for line in Path(corpus.trials).read_text().splitlines()]
    scores = "".join(f"{a} {b} {rng.normal():.4f}\n" for a, b, _ in trials)
    (folder / "scores").write_text(scores)
    shutil.copytree(corpus.root, folder / "data")
    make_asr(folder / "asr")
    (folder / "parts").mkdir()
    (folder / "system.json").write_text(
        '{"training_minutes": 1.5, "note": "%s"}' % ("x" * 99)
    )
    sizes = {"dev_speakers": 3, "test_speakers": 4, "seconds": (0.2, 0.6), "trials": 20}
    tree = voxceleb_tree.make_tree(folder / "tree", 12, **sizes)
    (folder / "tree.json").write_text(json.dumps(vars(tree), default=str))
    plan = {
        "parts": [
            {
                "name": "all",
                "trials": corpus.trials,
                "utt2spk": [f"{corpus.root}/utt2spk"],
            }
        ],
        "systems": [
            {"name": n, "description": n, "runs": [{"all": str(folder / "scores")}]}
            for n in ("a", "b")
        ],
        "comparisons": [{"system": "a", "against": "b"}],
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    return folder


@pytest.fixture(scope="session")
def commands(work, corpus, speaker_exp, zoo):
    """Command lines that write to a folder, by name; all but the first are optional."""
    data, scp = work / "data", str(work / "x.scp")
    tree = json.loads((work / "tree.json").read_text())
    listed = {"trials": corpus.trials, "scores": str(work / "scores")}
    sides = ["--enroll_scp", scp, "--test_scp", scp]
    train = [
        ("train_data_path_and_name_and_type", f"{corpus.root}/wav.scp,speech,sound"),
        ("valid_data_path_and_name_and_type", f"{corpus.root}/wav.scp,speech,sound"),
        ("spk2utt", corpus.spk2utt),
        ("valid_trials", corpus.trials),
        ("num_workers", 0),
        ("batch_size", 4),
        ("target_duration", 0.5),
        ("max_epoch", 2),
        ("num_iters_per_epoch", 3),
        ("encoder_conf", "output_size=16"),
        ("encoder_conf", "attention_heads=2"),
        ("encoder_conf", "linear_units=32"),
        ("encoder_conf", "num_blocks=2"),
        ("head_conf", "embed_dim=8"),
        ("use_matplotlib", "false"),
    ]

    def lines(out: Path) -> dict[str, list[str]]:
        given = ["--trials", listed["trials"], "--scores", listed["scores"]]
        return {
            "sv_score": ["--trials", listed["trials"], *sides, "--output", f"{out}/s"],
            "sv_score_norm": [
                *["--scores", listed["scores"], *sides, "--top_n", "5"],
                *["--cohort_scp", str(work / "c.scp"), "--output", f"{out}/n"],
            ],
            "sv_calibrate": [
                *["--train_scores", listed["scores"], "--train_trials"],
                *[listed["trials"], "--scores", listed["scores"]],
                *["--output", f"{out}/llr"],
            ],
            "sv_metrics": [*given, "--output_dir", f"{out}/metrics"],
            "sv_check_data": [str(data), "--utt2dur", f"{out}/utt2dur"],
            "sv_format_wav": [
                *["--data_dir", str(data), "--output_dir", f"{out}/formatted"],
                *["--sample_rate", "8000", "--nj", "1"],
            ],
            "sv_pack_audio": [
                *["--data_dir", str(data), "--output_dir", f"{out}/packed"],
            ],
            "sv_make_trials": [
                *["--utt2spk", f"{data}/utt2spk", "--output", f"{out}/trials"],
            ],
            "sv_compare": [
                *["--plan", str(work / "plan.yaml"), "--output_dir", f"{out}/compared"],
                *["--bootstrap_samples", "0"],
            ],
            "sv_describe": [
                *["--system", str(work / "system.json"), "--output", f"{out}/s.json"],
            ],
            "sv_prep_noises": [
                *["--musan", tree["musan"], "--rirs", tree["rirs"]],
                *["--output_dir", f"{out}/noises", "--allow_incomplete", "true"],
            ],
            "sv_prep_voxceleb": [
                *["--voxceleb1", tree["voxceleb1"], "--voxceleb2", tree["voxceleb2"]],
                *["--trial_lists", tree["trial_lists"], "--test_lists", "o"],
                *["--valid_speakers", "2", "--calib_speakers", "2"],
                *["--output_dir", f"{out}/data", "--allow_incomplete", "true"],
            ],
            "sv_joint": [
                *["--model", str(zoo.adaptor()), "--wav_scp", f"{data}/wav.scp"],
                *["--output_dir", f"{out}/joint"],
            ],
            "sv_layer_probe": [
                *["--asr", str(work / "asr"), "--wav_scp", f"{data}/wav.scp"],
                *["--trials", listed["trials"], "--output_dir", f"{out}/probe"],
            ],
            "sv_teacher_posteriors": [
                *["--asr", str(work / "asr"), "--wav_scp", f"{data}/wav.scp"],
                *["--output_dir", f"{out}/posteriors", "--top_k", "2"],
            ],
            "sv_embed": [
                *["--model", str(speaker_exp), "--wav_scp", f"{data}/wav.scp"],
                *["--output_dir", f"{out}/vectors"],
            ],
            "sv_enroll": [
                *["--model", str(speaker_exp), "--wav_scp", f"{data}/wav.scp"],
                *["--utt2spk", f"{data}/utt2spk", "--speakers", f"{out}/store"],
                *["--min_speech", "0"],
            ],
            "sv_pack": ["--exp", str(speaker_exp), "--output", f"{out}/model.zip"],
            "asr_resolve": ["--asr", str(work / "asr"), "--output_dir", f"{out}/asr"],
            "sv_train": [
                *["--output_dir", f"{out}/exp"],
                *(word for key, value in train for word in (f"--{key}", str(value))),
            ],
        }

    return lines


NAMES = ["sv_score", "sv_score_norm", "sv_calibrate", "sv_metrics", "sv_check_data"]
NAMES += ["sv_format_wav", "sv_pack_audio", "sv_make_trials", "sv_compare"]
NAMES += ["sv_describe", "sv_prep_noises", "sv_prep_voxceleb", "sv_joint"]
NAMES += ["sv_layer_probe", "sv_teacher_posteriors", "sv_embed", "sv_enroll"]
NAMES += ["sv_pack", "asr_resolve", "sv_train"]


def start(name: str, options: list[str], **kwargs) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"espnet2_sv.bin.{name}", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def ends_in_one_line(process: subprocess.Popen, status: int) -> str:
    _, stderr = process.communicate()
    assert "Traceback" not in stderr
    assert process.returncode == status, stderr
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, stderr
    return errors[0]


@contextlib.contextmanager
def full_file_system(folder: Path):
    """A file system of 16 KiB."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a file system cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_all_commands_of_the_table_do_their_work(commands, tmp_path):
    assert list(commands(tmp_path)) == NAMES
    for name, options in commands(tmp_path).items():
        process = start(name, options)
        _, stderr = process.communicate()
        assert process.returncode == 0, f"{name}: {stderr}"


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(name, commands, tmp_path):
    with full_file_system(tmp_path / "full") as full:
        (full / "old").write_bytes(bytes(8000))
        filler = bytes(64 * 1024)
        with contextlib.suppress(OSError), open(full / "filler", "wb", 0) as stream:
            stream.write(filler)
        line = ends_in_one_line(start(name, commands(full)[name]), 1)
        assert "full" in line or "space" in line
        left = [p for p in full.rglob("*") if p.is_file() and p.name != "train.log"]
        assert not [p for p in left if p.name.endswith(".part")]
        assert (full / "old").read_bytes() == bytes(8000)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sv_train"])
def test_files_that_may_not_grow(name, commands, tmp_path):
    """As with a quota: writing, flushing or closing fails after some bytes."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))

    process = start(name, commands(tmp_path)[name], preexec_fn=limited)
    ends_in_one_line(process, 1)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_at_any_moment(name, commands, tmp_path):
    for attempt in range(2):
        process = start(name, commands(tmp_path / str(attempt))[name])
        time.sleep(RANDOM.uniform(0.05, 2.5))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
        assert process.returncode in (0, 130, -signal.SIGINT), stderr
        assert "Traceback" not in stderr or is_of_python(stderr), stderr
        if process.returncode == 130:
            errors = [x for x in stderr.splitlines() if x.startswith("error: ")]
            assert errors == ["error: interrupted"]
        assert not list(tmp_path.rglob("*.part"))


def is_of_python(stderr: str) -> bool:
    """Whether the interpreter was interrupted before it had found the command."""
    places = re.findall(r'/espnet2_sv/[^"]*', stderr)
    return set(places) <= {"/espnet2_sv/__init__.py", "/espnet2_sv/bin/__init__.py"}


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sv_train"])
def test_two_at_once_on_one_output(name, commands, tmp_path):
    both = [start(name, commands(tmp_path)[name]) for _ in range(2)]
    for process in both:
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
    alone = start(name, commands(tmp_path / "alone")[name])
    alone.communicate()
    assert alone.returncode == 0
    files = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    expected = {p for p in files if p.parts[0] == "alone"}
    assert {Path("alone", p) for p in files - expected} == expected


def test_a_second_training_in_a_folder_is_refused(commands, tmp_path):
    options = commands(tmp_path)["sv_train"]
    first = start("sv_train", [*options, "--max_epoch", "200"])
    try:
        while not (tmp_path / "exp" / "config.yaml").exists():
            assert first.poll() is None
            time.sleep(0.05)
        line = ends_in_one_line(start("sv_train", options), 1)
        assert "exp: is being made by another run" in line
    finally:
        first.kill()
        first.communicate()


def test_workers_end_with_their_parent(commands, corpus, tmp_path):
    options = [*commands(tmp_path)["sv_embed"], "--nj", "2", "--shard_size", "1"]
    process = start("sv_embed", options, start_new_session=True)
    while not list(tmp_path.rglob("*.npz")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()  # the parent alone
    process.communicate()
    for _ in range(3000):
        names = [
            p for p in Path("/proc").glob("[0-9]*/cmdline") if _writes(p, tmp_path)
        ]
        if not names:
            return
        time.sleep(0.01)
    pytest.fail(f"still there: {names}")


def _writes(cmdline: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(
            str(folder).encode() in os.fsencode(os.readlink(fd))
            for fd in cmdline.parent.glob("fd/*")
        )
    return False


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SVError("x: is wrong"), "x: is wrong"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "out"),
            "out: Is a directory",
        ),
        (MemoryError(), "out of memory"),
        (np._core._exceptions._ArrayMemoryError((2**40,), np.dtype(float)), "out of"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
            "out of memory",
        ),
        (
            RuntimeError("[enforce fail at inline_container.cc:668] . unexpected"),
            "disk",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "a process that loads audio died; if memory",
        ),
        (
            RuntimeError("unable to write to file </torch_7>: No space left on device"),
            "or no shared memory",
        ),
    ],
)
def test_errors_that_users_can_do_something_about(error, line, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as e:
        cli.run(main, configure_logging=False)
    assert e.value.code == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and line in printed
    assert printed.count("\n") == 1


def test_errors_of_the_program_have_their_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 // 0, configure_logging=False)


def test_output_that_cannot_be_written(work, corpus):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "espnet2_sv.bin.main", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == 1
    assert process.stderr == "error: No space left on device\n"
