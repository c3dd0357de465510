"""Open a ``wav.scp`` entry: a file, an offset into an ark, or a command."""

import contextlib
import io
import os
import re
import subprocess
from typing import BinaryIO

import soundfile

from espnet2_sv.data.decoders import AudioSource, AVSource, SoundFileSource, open_pcm
from espnet2_sv.errors import SVError

# "data/wav.1.ark:2048", an offset into an archive; kaldiio's ":2048[0:99]" is refused
ARK_OFFSET = re.compile(r"(?P<path>.+\.ark):(?P<offset>\d+)(?P<slice>\[.*\])?")
_ARK_MAGIC = 14  # bytes: RIFF and its size, or AUDIO, a byte and a size of up to 8
_WAV = (".wav", ".WAV")
# containers that libsndfile cannot read
_AV_SUFFIXES = {".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".wma", ".ac3"}


def open_audio(spec: str | os.PathLike, allow_pipes: bool = False) -> AudioSource:
    """Open a ``wav.scp`` entry for reading; use as a context manager.

    Args:
        spec: A path, ``x.ark:OFFSET`` (wav or kaldiio's AUDIO record), or ``command
            |``.
        allow_pipes: Whether a command may be run. Its whole output is kept in memory.

    Raises:
        SVError: The file is missing, empty or of unknown format; a command is not
            allowed or fails.
    """
    spec = os.fspath(spec)
    if spec.endswith("|"):
        if not allow_pipes:
            raise SVError(
                f"{spec}: is a command, which is not run; use --allow_pipes true if"
                " you trust this wav.scp"
            )
        return _open_stream(spec, io.BytesIO(_run(spec)))
    if match := ARK_OFFSET.fullmatch(spec):
        if match["slice"]:
            raise SVError(
                f"{spec}: slices of ark entries are not supported; cut the audio first"
            )
        return _open_ark(spec, match["path"], int(match["offset"]))
    return _open_path(spec)


def _open_path(spec: str) -> AudioSource:
    if spec.endswith(_WAV) and (source := open_pcm(spec, spec)):
        return source
    if os.path.splitext(spec)[1].lower() not in _AV_SUFFIXES:
        # the reason is looked for only if the file does not open; TypeError: .raw
        with contextlib.suppress(soundfile.SoundFileError, TypeError):
            return SoundFileSource(spec, spec)
    if not os.path.exists(spec):
        raise SVError(
            f"{spec}: no such audio file; correct the path or remove the utterance"
        )
    if os.path.isdir(spec) or os.path.getsize(spec) == 0:
        raise SVError(f"{spec}: is empty; replace the file or remove the utterance")
    return AVSource(spec)


def _open_stream(spec: str, stream: BinaryIO | io.RawIOBase) -> AudioSource:
    try:
        return SoundFileSource(spec, stream)
    except (soundfile.SoundFileError, TypeError) as e:
        try:
            if _is_mp4(stream):
                return AVSource(spec, stream)
        except SVError:
            stream.close()
            raise
        stream.close()
        raise SVError(f"{spec}: is not audio in a known format ({e})") from e


def _is_mp4(stream: BinaryIO | io.RawIOBase) -> bool:
    """Whether a stream is MP4 (m4a): it begins with an ``ftyp`` box."""
    stream.seek(0)
    found = stream.read(8)[4:] == b"ftyp"
    stream.seek(0)
    return found


def _open_ark(spec: str, path: str, offset: int) -> AudioSource:
    try:
        ark = open(path, "rb")  # noqa: SIM115 (closed with the source)
    except OSError as e:
        raise SVError(f"{spec}: cannot be opened ({e.strerror})") from e
    ark.seek(offset)
    magic = ark.read(_ARK_MAGIC)
    if magic.startswith(b"RIFF"):
        start, length = offset, 8 + int.from_bytes(magic[4:8], "little")
    elif magic.startswith(b"AUDIO"):  # kaldiio: AUDIO, size of the size, size, file
        width = magic[5]
        start, length = (
            offset + 6 + width,
            int.from_bytes(magic[6 : 6 + width], "little"),
        )
    else:
        ark.close()
        raise SVError(f"{spec}: is not audio; features and pickles are not read")
    if source := open_pcm(spec, path, start, length):
        ark.close()
        return source
    return _open_stream(spec, _Slice(ark, start, length))


def _run(spec: str) -> bytes:
    done = subprocess.run(spec.rstrip("| "), shell=True, capture_output=True)
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
        self._position = max(origin + offset, 0)
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
