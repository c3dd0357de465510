"""Open a ``wav.scp`` entry: a file, an offset into an ark, or a command."""

import contextlib
import io
import os
import re
import stat
import subprocess
from typing import BinaryIO

import soundfile

from espnet2_sv.data.av_source import AVSource
from espnet2_sv.data.decoders import (
    AudioSource,
    SoundFileSource,
    decoding,
    open_pcm,
)
from espnet2_sv.data.truncation import (
    UNKNOWN_SIZE,
    Order,
    find_truncation,
    mp3_has_length,
    wav_end,
    wav_is_streamed,
)
from espnet2_sv.errors import SVError, printable

# "data/wav.1.ark:2048", an offset into an archive; kaldiio's ":2048[0:99]" is refused
ARK_OFFSET = re.compile(r"(?P<path>.+\.ark):(?P<offset>[+-]?[0-9]+)(?P<slice>\[.*\])?")
_ARK_MAGIC = 14  # bytes: RIFF and its size, or AUDIO, a byte and a size of up to 8
_MOST_DIGITS = 18  # of an offset; no file has 10**18 bytes
_WAV = (".wav", ".WAV")
_RIFF = (b"RIFF", b"RIFX", b"RF64")
# the next record in an ark: "utt RIFF", the size in 4 bytes and "WAVE", or "utt AUDIO"
# and the number of bytes of the size
_NEXT_RECORD = re.compile(rb"[^\s] (?:RI(?:FF|FX)....WAVE|AUDIO[\x01-\x08])", re.DOTALL)
_SEARCH_BLOCK = 1 << 20  # bytes searched for it at a time
_OVERLAP = 16  # bytes by which blocks overlap; the pattern is shorter
# containers that libsndfile cannot read
_AV_SUFFIXES = {".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".wma", ".ac3"}
# first bytes of formats that are known without the name of the file
_MARKS = (*_RIFF, b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b".snd", b"NIST_1A")
_LONGEST = 1000  # characters of an entry with a NUL that are shown
# Hz; speech needs 2 kHz of bandwidth, and no converter is faster
_LOWEST_RATE, _HIGHEST_RATE = 4000, 768000


def open_audio(spec: str | os.PathLike, allow_pipes: bool = False) -> AudioSource:
    """Open a ``wav.scp`` entry for reading; use as a context manager.

    Args:
        spec: A path, ``x.ark:OFFSET`` (wav or kaldiio's AUDIO record), or ``command
            |``.
        allow_pipes: Whether a command may be run. Its whole output is kept in memory.

    Raises:
        SVError: The file is missing, empty, no regular file, truncated or of unknown
            format; its sampling rate is impossible; a command is not allowed or fails.
    """
    spec = os.fspath(spec)
    if "\0" in spec:
        raise SVError(
            f"{printable(spec, _LONGEST)}: has a NUL character; correct the path"
        )
    with decoding(spec):
        source = _open(spec, allow_pipes)
    if not _LOWEST_RATE <= source.rate <= _HIGHEST_RATE:
        source.close()
        raise SVError(
            f"{spec}: declares a sampling rate of {source.rate} Hz, outside"
            f" {_LOWEST_RATE} to {_HIGHEST_RATE} Hz; correct its header"
        )
    return source


def require_known_without_name(path: str, content: bytes) -> None:
    """Refuse a file whose format its name alone tells, such as raw G.722.

    Args:
        path: Its name, for messages.
        content: All of it.

    Raises:
        SVError: Its content does not tell the format, as it must in an ark.
    """
    if content.startswith(_MARKS) or content[4:8] == b"ftyp":
        return
    try:
        with decoding(path):
            _open_stream(path, io.BytesIO(content), 0, len(content)).close()
    except SVError as e:
        with open_audio(path):  # says what is wrong with it under its name, too
            raise SVError(
                f"{path}: its name alone tells its format, and it has none in an ark;"
                " convert it first (sv_format_wav --convert_containers true)"
            ) from e


def _open(spec: str, allow_pipes: bool) -> AudioSource:
    if spec.endswith("|"):
        if not allow_pipes:
            raise SVError(
                f"{spec}: is a command, which is not run; use --allow_pipes true if"
                " you trust this wav.scp"
            )
        output = _run(spec)
        return _open_stream(spec, io.BytesIO(output), 0, len(output))
    if match := ARK_OFFSET.fullmatch(spec):
        if match["slice"]:
            raise SVError(
                f"{spec}: slices of ark entries are not supported; cut the audio first"
            )
        return _open_ark(spec, match["path"], match["offset"])
    if spec.endswith(_WAV) and (pcm := open_pcm(spec, spec)):
        return pcm
    with _open_file(spec, spec) as file:
        _require_whole(spec, file)
        suffix = os.path.splitext(spec)[1].lower()
        source = None if suffix in _AV_SUFFIXES else _by_libsndfile(spec, spec, file)
        return source or AVSource(spec)


def _open_file(spec: str, path: str) -> BinaryIO:
    """Open a regular file that is not empty."""
    try:
        status = os.stat(path)  # first, since opening a named pipe would wait
        if stat.S_ISDIR(status.st_mode):
            raise SVError(f"{spec}: is a folder, not audio; correct the path")
        if not stat.S_ISREG(status.st_mode):
            raise SVError(f"{spec}: is no regular file; name a file with audio")
        file = open(path, "rb")  # noqa: SIM115 (closed by the caller)
    except FileNotFoundError as e:
        raise SVError(
            f"{spec}: no such audio file; correct the path or remove the utterance"
        ) from e
    except OSError as e:
        raise SVError(
            f"{spec}: cannot be opened ({e.strerror}); correct the path or its"
            " permissions"
        ) from e
    if not status.st_size:
        file.close()
        raise SVError(f"{spec}: is empty; replace the file or remove the utterance")
    return file


def _require_whole(spec: str, stream: BinaryIO) -> None:
    if lacking := find_truncation(stream):
        raise SVError(f"{spec}: is truncated, {lacking}; replace the file")


def _by_libsndfile(
    spec: str, file: str | BinaryIO, stream: BinaryIO
) -> SoundFileSource | None:
    """Open a path or stream, unless libsndfile cannot read it or misjudges its length.

    Args:
        spec: Its name in messages.
        file: What libsndfile is to open.
        stream: The same file, to look at its header.
    """
    try:
        source = SoundFileSource(spec, file)
    except (soundfile.SoundFileError, TypeError):  # TypeError: .raw
        return None
    if source.format == "MP3":
        misjudged = not mp3_has_length(stream)
    else:  # a wav that was streamed with length 0 seems to be empty
        misjudged = not source.frames and wav_is_streamed(stream)
    if misjudged:
        source.close_decoder()
        return None
    return source


def _open_stream(spec: str, file: BinaryIO, start: int, length: int) -> AudioSource:
    """Open a section of a file, which is closed with the source."""
    stream = io.BufferedReader(_Slice(file, start, length))
    try:
        _require_whole(spec, stream)
        return _by_libsndfile(spec, stream, stream) or AVSource(spec, stream)
    except BaseException:
        stream.close()
        raise


def _open_ark(spec: str, path: str, digits: str) -> AudioSource:
    with contextlib.ExitStack() as stack:
        ark = stack.enter_context(_open_file(spec, path))
        size = ark.seek(0, os.SEEK_END)
        offset = int(digits) if len(digits.lstrip("+0")) <= _MOST_DIGITS else size
        if not 0 <= offset < size:
            raise SVError(
                f"{spec}: the offset is outside of the file, which has {size} bytes;"
                " correct the entry"
            )
        start, length = _record(spec, ark, offset, size)
        if start + length > size:
            raise SVError(
                f"{spec}: is truncated, {start + length - size} bytes are missing;"
                " replace the ark"
            )
        if source := open_pcm(spec, path, start, length):
            return source
        stack.pop_all()
        return _open_stream(spec, ark, start, length)


def _record(spec: str, ark: BinaryIO, offset: int, size: int) -> tuple[int, int]:
    """Return start and length in bytes of the audio file at ``offset`` in an ark."""
    ark.seek(offset)
    magic = ark.read(_ARK_MAGIC)
    if magic.startswith(b"AUDIO") and len(magic) > 5:
        # kaldiio: AUDIO, size of the size, size, file
        width = magic[5]
        length = int.from_bytes(magic[6 : 6 + width], "little")
        if 0 < width <= 8 and length:
            return offset + 6 + width, length
    if not magic.startswith(_RIFF):
        raise SVError(f"{spec}: is not audio; features and pickles are not read")
    order: Order = "big" if magic[:4] == b"RIFX" else "little"
    length = 8 + int.from_bytes(magic[4:8], order)
    if 8 < length < UNKNOWN_SIZE:
        return offset, length
    end = wav_end(ark, size, offset)
    if end is not None:
        return offset, end - offset
    if _another_record(ark, offset):
        raise SVError(
            f"{spec}: its wav header does not give its length, and another record"
            " follows in the ark; write it as a file of its own, with its length"
        )
    return offset, size - offset


def _another_record(ark: BinaryIO, offset: int) -> bool:
    """Whether a further record begins after ``offset``."""
    ark.seek(offset + 4)
    before = b""
    while block := ark.read(_SEARCH_BLOCK):
        if _NEXT_RECORD.search(before + block):
            return True
        before = block[-_OVERLAP:]
    return False


def _run(spec: str) -> bytes:
    done = subprocess.run(
        spec.rstrip("| "), shell=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode or not done.stdout:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [
            "no output"
        ]
        raise SVError(
            f"{spec}: command failed with status {done.returncode}: {last[0]}"
        )
    return done.stdout


class _Slice(io.RawIOBase):
    """A section of a file, as a file object."""

    def __init__(self, stream: BinaryIO, start: int, length: int):
        self._stream = stream
        self._start = start
        self._length = min(length, max(stream.seek(0, os.SEEK_END) - start, 0))
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self._length,
        }[whence]
        # decoders of damaged files seek anywhere
        self._position = min(max(origin + offset, 0), self._length)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        self._stream.seek(self._start + self._position)
        data = self._stream.read(
            min(len(buffer), max(self._length - self._position, 0))
        )
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
