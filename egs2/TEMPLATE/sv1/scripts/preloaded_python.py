#!/usr/bin/env python3
"""Runs a command in which python3 starts in a tenth of a second.

    . ./path.sh && python3 scripts/preloaded_python.py COMMAND ARG...

Importing torch and ESPnet takes 5 to 25 s of CPU time, and recipes and tests start
hundreds of Python processes. Here, one process, the server, imports them once. The
`python3` and `python` on PATH are small programs (preloaded_client.py) for which the
server forks a child per command line. The child takes over the client's open files,
working directory, environment, limits, priority and signals, so it behaves like an
interpreter started in place; it is killed if its client ends. Modules of this project
are not preloaded: every child imports their current source. PLAIN_PYTHON=1 in the
environment starts a real interpreter instead, for tests of imports or memory. Works on
one machine, for processes that use no GPU or are the first to use one.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib.util
import io
import marshal
import multiprocessing.process
import multiprocessing.spawn
import os
import resource
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path

MODULES = (
    "av",
    "espnet2.bin.asr_inference",
    "espnet2.bin.asr_train",
    "espnet2.bin.launch",
    "espnet2.bin.pack",
    "espnet2.bin.tokenize_text",
    "espnet2.tasks.spk",
    "omniio.kaldi",
    "matplotlib.pyplot",
    "pyarrow.compute",
    "pyarrow.csv",
    "sentencepiece",
    "sklearn.metrics",
    "soundfile",
    "soxr",
    "torch._dynamo",
    "torch.distributed.run",
    "torch.utils.flop_counter",
    "torch.utils.tensorboard",
    "torchaudio",
    "yaml",
)
# Forking is safe with a single thread only: neither OpenMP nor pyarrow's allocator may
# start another. CUDA must not be initialised before forking, so torch asks NVML whether
# there is a GPU.
SERVER = {
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
LIMITS = [
    getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")
]
# Signals for which the server has handlers of its own, or Python has
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
# Exit handlers of packages belong to the server and are slow; children need these
AT_EXIT = (
    ("logging", "shutdown"),
    ("multiprocessing.util", "_exit_function"),
    ("torch.multiprocessing", "_leak_RT_at_exit"),
    ("torch.utils.data._utils", "_set_python_exit_flag"),
)


def become(command: dict, received: list[int]) -> None:
    """Take over the environment that the client was started in."""
    die_with_parent(signal.SIGKILL)
    os.setsid()  # so that it is killed together with its children
    # Open the client's files under their original numbers; close the server's
    above = max(command["descriptors"], default=2) + 1
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD, above) for number in received]
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in moved:
            with contextlib.suppress(OSError):
                os.close(int(name))
    for number, target in zip(moved, command["descriptors"], strict=True):
        os.dup2(number, target, inheritable=True)
        os.close(number)
    os.chdir(command["cwd"])
    os.umask(command["umask"])
    with contextlib.suppress(
        OSError, ValueError
    ):  # may not exceed the limits of the server
        os.sched_setaffinity(0, os.sched_getaffinity(command["pid"]))
        os.setpriority(
            os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, command["pid"])
        )
        for limit in LIMITS:
            resource.setrlimit(limit, resource.prlimit(command["pid"], limit))
    os.environ.clear()
    os.environ.update(command["env"])
    if threads := os.environ.get("OMP_NUM_THREADS"):
        sys.modules["torch"].set_num_threads(int(threads))
    sys.modules[
        "torch"
    ].default_generator.seed()  # not the random numbers of the server
    sys.modules["numpy"].random.seed()
    atexit._clear()
    for module, name in AT_EXIT:
        if function := getattr(sys.modules[module], name, None):
            atexit.register(function)
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.dont_write_bytecode |= "-B" in command["options"]
    sys.executable = command["program"]
    multiprocessing.spawn.set_executable(sys.executable)
    multiprocessing.process.ORIGINAL_DIR = command["cwd"]

    buffering = 0 if "-u" in command["options"] else -1
    sys.stdin = sys.__stdin__ = text_stream(0, "rb", -1, "surrogateescape")
    sys.stdout = sys.__stdout__ = text_stream(1, "wb", buffering, "surrogateescape")
    sys.stderr = sys.__stderr__ = text_stream(
        2, "wb", buffering, "backslashreplace", True
    )


def text_stream(
    number: int, mode: str, buffering: int, errors: str, by_line: bool = False
):
    """Open one of the three standard streams; None if it is closed."""
    try:
        raw = open(number, mode, buffering, closefd=False)  # noqa: SIM115
    except OSError:
        return None
    return io.TextIOWrapper(
        raw,
        "utf-8",
        errors,
        line_buffering=by_line or raw.isatty(),
        write_through=buffering == 0,
    )


def run_as_main(command: dict) -> None:
    """Run code, a module or a file as the interpreter does."""
    kind, target, safe = command["kind"], command["target"], "-P" in command["options"]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__builtins__ = sys.modules["builtins"]
    first = {
        "c": "",
        "m": os.getcwd(),
        "file": os.path.dirname(os.path.realpath(target)),
    }[kind]
    further = [p for p in os.environ.get("PYTHONPATH", "").split(":") if p]
    sys.path[:0] = further if safe else [first, *further]
    sys.argv = [target if kind == "file" else f"-{kind}", *command["args"]]
    switch = {"c": ["-c", target], "m": ["-m", target], "file": [target]}[kind]
    options = [*command["options"], *switch]
    sys.orig_argv = [sys.executable, *options, *command["args"]]
    importlib.invalidate_caches()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if kind == "m":
        runpy._run_module_as_main(target)
    elif kind == "c":
        exec(compile(target, "<string>", "exec"), main.__dict__)
    else:
        main.__file__ = os.path.abspath(target)
        exec(compile(Path(target).read_bytes(), main.__file__, "exec"), main.__dict__)


def child(command: dict, received: list[int]) -> None:
    """Run the command and end the process as the interpreter does."""
    status = 1
    # What was imported in the server may hold these, e.g. as defaults of arguments
    imported = (sys.stdout, sys.stderr)
    try:
        become(command, received)
        run_as_main(command)
        status = 0
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
        if status and not isinstance(e.code, int):
            print(e.code, file=sys.stderr)
    except BaseException as e:
        inside = e.__traceback__
        while inside and inside.tb_frame.f_code.co_filename == __file__:
            inside = inside.tb_next
        sys.excepthook(type(e), e.with_traceback(inside), inside)
        if isinstance(e, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    with contextlib.suppress(BaseException):
        threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (*imported, sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status & 0xFF)


class Server:
    """Forks a child for every client, and kills it if the client ends first."""

    def __init__(self, listener: socket.socket):
        self.listener = listener
        self.clients: dict[int, socket.socket] = {}  # by the child's process id
        self.wakeup, end = os.pipe()
        os.set_blocking(end, False)
        signal.set_wakeup_fd(end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.stop)
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.listener, selectors.EVENT_READ, self.accept)
        self.ready.register(self.wakeup, selectors.EVENT_READ, self.reap)

    def serve(self) -> None:
        """Serve until the process ends."""
        while True:
            for key, _ in self.ready.select():
                key.data()

    def accept(self) -> None:
        """Fork a child for a new client."""
        client, _ = self.listener.accept()
        size, received, _, _ = socket.recv_fds(client, 8, 253)
        message = b""
        while size and len(message) < int.from_bytes(size, "little"):
            part = client.recv(1 << 20)
            if not part:
                size = b""
            message += part
        # The client's signals wait until the child no longer has the server's handlers
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        process = os.fork() if size else None
        if process == 0:
            signal.set_wakeup_fd(-1)
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            child(marshal.loads(message), received)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        for number in received:
            os.close(number)
        if process is None:
            client.close()
            return
        self.clients[process] = client
        self.ready.register(client, selectors.EVENT_READ, lambda: self.end(process))
        with contextlib.suppress(OSError):
            client.sendall(process.to_bytes(8, "little"))

    def end(self, process: int) -> None:
        """Kill the child of a client that has ended."""
        self.forget(process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        # it may not have a process group of its own yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    def stop(self, *_) -> None:
        """Kill all children and end this process."""
        for process in list(self.clients):
            self.end(process)
        os._exit(0)

    def forget(self, process: int) -> socket.socket | None:
        """Stop listening to the client of a child, and return the client."""
        client = self.clients.pop(process, None)
        if client:
            self.ready.unregister(client)
        return client

    def reap(self) -> None:
        """Send clients the exit status of their children."""
        os.read(self.wakeup, 4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                process, status = found
                if client := self.forget(process):
                    code = os.waitstatus_to_exitcode(status)
                    with contextlib.suppress(OSError):
                        client.sendall(code.to_bytes(8, "little", signed=True))
                    client.close()


def die_with_parent(number: int) -> None:
    """Make the kernel send this process a signal when its parent ends."""
    ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


def serve(listener: socket.socket, ready: Path) -> None:
    """Import MODULES when the first client connects, then serve."""
    die_with_parent(signal.SIGTERM)
    select.select([listener], [], [])
    path = sys.path[1:]  # without this file's folder
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        for name in MODULES:
            # not installed: not needed, or reported by the command that needs it
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    # ESPnet imports it where transformers is installed, and it reads the environment
    # when it is imported, which here would be the server's
    for name in [name for name in sys.modules if is_of(name, "huggingface_hub")]:
        del sys.modules[name]
    sys.path[:] = path  # some packages add to it
    gc.collect()
    gc.freeze()
    server = Server(listener)
    ready.touch()
    server.serve()


def is_of(name: str, package: str) -> bool:
    """Say whether a module is a package or within it."""
    return name == package or name.startswith(f"{package}.")


def install(folder: Path) -> None:
    """Write the programs python3 and python into the folder."""
    client = Path(__file__).with_name("preloaded_client.py").read_text(encoding="utf-8")
    for name in ("python3", "python"):
        (folder / name).write_text(
            f"#!{sys.executable} -IS\n{client}", encoding="utf-8"
        )
        (folder / name).chmod(0o755)
        if not os.access(folder / name, os.X_OK):
            raise PermissionError(f"{folder} is mounted noexec; set TMPDIR")


def main(command: list[str]) -> int:
    """Run the command with the server and return its exit status."""
    if not command:
        print(__doc__)
        return 1
    if importlib.util.find_spec("espnet2") is None:
        print(
            f"preloaded_python.py: {sys.executable} has no espnet2; source path.sh",
            file=sys.stderr,
        )
        return 1
    if Path(os.environ.get("PRELOADED_PYTHON", ""), "socket").is_socket():
        os.execvp(command[0], command)  # within a server already
    # Ctrl-C reaches the command, too; before there is one, it ends this process
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    with tempfile.TemporaryDirectory(prefix="python-") as folder:
        try:
            install(Path(folder))
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{folder}/socket")
        except OSError as e:
            print(f"preloaded_python.py: {e}; not preloading", file=sys.stderr)
            os.execvp(command[0], command)
        listener.listen(64)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | SERVER
        serving = [
            sys.executable,
            __file__,
            "--serve",
            str(listener.fileno()),
            f"{folder}/ready",
        ]
        server = subprocess.Popen(
            serving, env=env, pass_fds=[listener.fileno()], start_new_session=True
        )
        listener.close()
        env = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PRELOADED_PYTHON": folder,
            "PYTHON_EXEC": f"{folder}/python3",  # what torchrun starts
        }
        if interrupts:
            server.kill()
            server.wait()
            return 130
        process = subprocess.Popen(command, env=env)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: process.send_signal(number))
        status = process.wait()
        server.terminate()
        server.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(socket.socket(fileno=int(sys.argv[2])), Path(sys.argv[3]))
    sys.exit(main(sys.argv[1:]))
