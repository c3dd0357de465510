"""The python3 of scripts/preloaded_python.py behaves like a real one."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.execution_timeout(600)

PROGRAM = (
    Path(__file__).resolve().parents[1]
    / "egs2/TEMPLATE/sv1/scripts/preloaded_python.py"
)
STATE = """
import json, os, resource, signal, sys, threading
import huggingface_hub.constants
import torch
found = {"argv": sys.argv, "name": __name__, "path": sys.path, "cwd": os.getcwd()}
found |= {"env": dict(os.environ), "umask": os.umask(0), "stdin": sys.stdin.read()}
found["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
found["priority"] = [os.nice(0), sorted(os.sched_getaffinity(0))]
found["encodings"] = [sys.stdin.encoding, sys.stdout.encoding, sys.stderr.encoding]
found["threads"] = [torch.get_num_threads(), threading.active_count()]
found["interrupted"] = signal.getsignal(signal.SIGINT).__name__
found["file"] = globals().get("__file__")
found["main"] = sys.modules["__main__"].__dict__ is globals()
found["cuda"] = torch.cuda._initialized
found["ours"] = any(name.startswith("espnet2_sv") for name in sys.modules)
found["hub"] = huggingface_hub.constants.ENDPOINT
found["bytecode"] = sys.dont_write_bytecode
found["descriptors"] = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]
print(json.dumps(found))
print("done", file=sys.stderr)
"""
SPAWN = """
import concurrent.futures, multiprocessing
def double(x):
    return 2 * x
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, spawn) as pool:
        print(list(pool.map(double, [1, 2, 3])))
"""
CODE = {
    "exit": "import sys; sys.exit(7)",
    "exit without a number": "import sys; sys.exit('what is wrong')",
    "error": "def f():\n    raise ValueError(3)\nf()",
    "signal": "import os; os.kill(os.getpid(), 15)",
    "kill": "import os; os.kill(os.getpid(), 9)",
    "interrupt": "raise KeyboardInterrupt",
    "thread": "import threading as t; t.Timer(0.1, lambda: print('late')).start()",
    "at exit": "import atexit; atexit.register(print, 'last'); print('first')",
    "syntax": "a b",
    "bytes": "import sys; sys.stdout.buffer.write(bytes(range(256)))",
}


@pytest.fixture(scope="session")
def python3():
    """The preloaded python3 of this test run, or else a new one."""
    if "PRELOADED_PYTHON" in os.environ:
        yield f"{os.environ['PRELOADED_PYTHON']}/python3"
        return
    command = ["bash", "-c", 'echo "${PRELOADED_PYTHON}"; read -r']
    with subprocess.Popen(
        [sys.executable, PROGRAM, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        folder = server.stdout.readline().strip()
        subprocess.run(
            [f"{folder}/python3", "-m", "this"], check=True, capture_output=True
        )
        assert Path(folder, "ready").exists()
        yield f"{folder}/python3"
        server.stdin.close()


@pytest.fixture
def both(python3, tmp_path):
    """Run a command line with a real interpreter and with the preloaded one."""

    def run(*args, **options):
        options = {"cwd": tmp_path, "input": b"a\nb", "capture_output": True} | options
        env = options.pop("env", os.environ)
        plain = subprocess.run(
            [python3, *args], env=env | {"PLAIN_PYTHON": "1"}, **options
        )
        preloaded = subprocess.run([python3, *args], env=env, **options)
        return plain, preloaded

    return run


def restrict() -> None:
    """Lower the limits and priority of this process; bind it to one processor."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    os.nice(3)


def state(done: subprocess.CompletedProcess) -> dict:
    assert done.stderr == b"done\n"
    found = json.loads(done.stdout)
    found["env"].pop("PLAIN_PYTHON", None)
    return found


@pytest.mark.parametrize("kind", ["code", "module", "file", "safe"])
def test_a_program_finds_the_same_state(both, tmp_path, kind):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/program.py").write_text(STATE)
    (tmp_path / "program.py").write_text(STATE)
    start = {
        "code": ["-c", STATE],
        "module": ["-u", "-m", "program"],
        "file": ["folder/program.py"],
        "safe": ["-P", "folder/program.py"],
    }[kind]
    env = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": "http://localhost:1",
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": "/nowhere:/else",
    }
    limits = {"umask": 0o27, "preexec_fn": restrict}
    plain, preloaded = both(*start, "--option", "a b", env=env, **limits)
    assert state(preloaded) == state(plain)
    assert state(plain)["files"] == [200, 300]
    assert state(plain)["hub"] == "http://localhost:1"
    assert (
        state(plain)["argv"][-2:] == ["--option", "a b"]
        and state(plain)["stdin"] == "a\nb"
    )


@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_a_program_ends_in_the_same_way(both, code):
    plain, preloaded = both("-c", code)
    assert preloaded.returncode == plain.returncode
    assert preloaded.stdout == plain.stdout
    assert preloaded.stderr == plain.stderr


def test_processes_are_spawned(both, tmp_path):
    (tmp_path / "spawn.py").write_text(SPAWN)
    plain, preloaded = both("spawn.py")
    assert preloaded.stdout == plain.stdout == b"[2, 4, 6]\n"


def test_other_open_files_are_passed_on(python3, tmp_path):
    read, write = os.pipe()
    code = f"import os; os.write({write}, b'through')"
    subprocess.run([python3, "-c", code], pass_fds=[write], check=True)
    assert os.read(read, 99) == b"through"
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_ends_with_its_client(python3, tmp_path, number):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(10000)"
    with subprocess.Popen([python3, "-c", code], stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        assert child != process.pid
        process.send_signal(number)
        assert process.wait() == -number
    while Path(f"/proc/{child}").exists():
        time.sleep(0.02)


def test_a_program_that_ends_as_it_starts_does_not_end_others(python3):
    """A signal that came before the child is passed on right after the fork."""
    code = "import os; print(os.getppid(), flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([python3, "-c", code], **pipes) as other:
        server = int(other.stdout.readline())
        for _ in range(20):
            os.kill(server, signal.SIGSTOP)
            try:
                process = subprocess.Popen([python3, "-c", "input()"], **pipes)
                while not waits_for_server(process.pid):
                    time.sleep(0.01)
                process.terminate()
                time.sleep(0.01)
            finally:
                os.kill(server, signal.SIGCONT)
            process.communicate()
            assert process.returncode == -signal.SIGTERM
        other.communicate(b"\n")
        assert other.returncode == 0


def waits_for_server(client: int) -> bool:
    """Whether the client has its signal handlers, and waits for its child's number."""
    status = Path(f"/proc/{client}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1) and "State:\tS" in status


def test_random_numbers_differ_between_processes(python3):
    code = (
        "import random, numpy, torch\nprint(random.random(), numpy.random.rand(),"
        " torch.rand(1))"
    )
    printed = [
        subprocess.run([python3, "-c", code], capture_output=True).stdout
        for _ in range(2)
    ]
    for one, other in zip(*(line.split() for line in printed), strict=True):
        assert one != other


def test_a_signal_can_be_handled(python3):
    code = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(5))\n"
    code += "print(flush=True)\ntime.sleep(10000)"
    with subprocess.Popen([python3, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait() == 5


def test_without_the_server_there_is_a_real_interpreter(python3, tmp_path):
    other = tmp_path / "python3"
    other.write_bytes(Path(python3).read_bytes())
    other.chmod(0o755)
    (tmp_path / "ready").touch()
    done = subprocess.run([other, "-c", "print(1)"], capture_output=True, check=True)
    assert done.stdout == b"1\n"
