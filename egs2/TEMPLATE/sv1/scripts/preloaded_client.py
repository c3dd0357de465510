"""The python3 that preloaded_python.py puts on PATH: runs commands in the server.

Runs without site-packages, as `python3 -IS`, to start in milliseconds. The real
interpreter takes over for options other than OPTIONS, for environment variables that
act when an interpreter or its libraries start (AT_START), and with PLAIN_PYTHON=1.
"""

import marshal
import os
import signal
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end without a traceback

INTERPRETER = sys.executable
OPTIONS = ("-B", "-P", "-u")
AT_START = (
    "PLAIN_PYTHON",
    "PYTHONHASHSEED",
    "PYTHONWARNINGS",
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
)
AT_START += ("PYTHONSAFEPATH", "LD_PRELOAD", "MALLOC_")
# Quick to start anyway: do not wait for them while the server is still importing
LIGHT = (
    "espnet2.bin.tokenize_text",
    "espnet2_sv.bin.asr_resolve",
    "espnet2_sv.bin.sv_check_data",
)
LIGHT += ("espnet2_sv.bin.sv_format_wav", "espnet2_sv.bin.sv_resolve")
LIGHT += ("scripts/read_config.py",)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of this program


def parse(args: list[str]) -> dict | None:
    """Split Python's command line: options, kind (c, m, file), target, arguments."""
    options = []
    while args and args[0] in OPTIONS:
        options.append(args.pop(0))
    if not args:
        return None
    if args[0] in ("-c", "-m") and len(args) > 1:
        kind, target, *rest = args
        return {"options": options, "kind": kind[1], "target": target, "args": rest}
    if args[0].startswith("-") or not os.path.isfile(args[0]):
        return None
    return {"options": options, "kind": "file", "target": args[0], "args": args[1:]}


def open_descriptors() -> list[int]:
    """Inherited file descriptors, without those that Python opened."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # the one of listdir itself
            pass
    return found


def receive(server: socket, size: int) -> int | None:
    """Receive an integer of ``size`` bytes; None if the server has ended."""
    data = b""
    while len(data) < size:
        try:
            part = server.recv(size - len(data))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return int.from_bytes(data, "little", signed=True)


def main() -> None:
    """Run the command line, and exit with its status or signal."""
    words = sys.argv[1:]
    command = parse(list(words))
    if command is None or any(name.startswith(AT_START) for name in os.environ):
        os.execv(INTERPRETER, [INTERPRETER, *words])
    folder = os.path.dirname(os.path.realpath(__file__))
    light = command["kind"] == "c" or command["target"] in LIGHT
    if light and not os.path.exists(os.path.join(folder, "ready")):
        os.execv(INTERPRETER, [INTERPRETER, *words])
    try:
        here = os.getcwd()
    except OSError:  # it has been deleted
        os.execv(INTERPRETER, [INTERPRETER, *words])
    descriptors = open_descriptors()
    umask = os.umask(0)
    os.umask(umask)
    command |= {
        "env": dict(os.environ),
        "cwd": here,
        "umask": umask,
        "pid": os.getpid(),
    }
    command |= {"program": os.path.abspath(sys.argv[0]), "descriptors": descriptors}
    message = marshal.dumps(command)

    server = socket(AF_UNIX, SOCK_STREAM)
    try:
        server.connect(os.path.join(folder, "socket"))
    except OSError:  # the server has ended, or runs on another machine
        os.execv(INTERPRETER, [INTERPRETER, *words])
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    server.sendmsg(
        [len(message).to_bytes(8, "little")], [(SOL_SOCKET, SCM_RIGHTS, rights)]
    )
    early: list[int] = []  # signals that came before there was a child
    for number in FORWARDED:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, frame: early.append(number))
    server.sendall(message)
    child = receive(server, 8)

    def forward(number, frame=None):
        try:  # noqa: SIM105  # contextlib takes a while to import
            os.kill(child, number)
        except ProcessLookupError:  # it has just ended
            pass

    if child:
        for number in FORWARDED:
            signal.signal(number, forward)
        for number in early:
            forward(number)
    status = receive(server, 8) if child else None
    if status is None:
        os.write(2, b"preloaded_python.py: the server has ended\n")
        os._exit(1)
    if status < 0:  # killed by a signal
        if -status != signal.SIGKILL:  # which has no handlers
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
