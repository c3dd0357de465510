"""Decode audio: libsndfile, and a fast path for plain 16-bit wav."""

import io
import os
import stat
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import soundfile

from espnet2_sv.errors import SVError

_HEADER = 4096  # bytes searched for the header of a wav file
_SCALE = np.float32(1 / 32768)
_PCM = 1  # format tag of integer samples
_UNKNOWN_FRAMES = (1 << 63) - 1  # libsndfile's, of flac that was streamed
_BLOCK = 1 << 20  # samples decoded at a time
_OGG_PREROLL = 8192  # samples: libsndfile blends the first ones after a seek in Vorbis
_GSM_FRAME = 33  # bytes, of which the first begins with these bits (ETSI EN 300 961)
_GSM_MARK = 0xD0
HEADERLESS = (
    "has no header that says its sampling rate; convert it to wav or flac, e.g. with"
    " sox -r RATE"
)


@contextmanager
def decoding(spec: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an SVError that names ``spec``."""
    try:
        yield
    except SVError:
        raise
    except MemoryError as e:
        raise SVError(f"{spec}: does not fit into memory; cut it into parts") from e
    except Exception as e:  # decoders raise all kinds of errors, also AttributeError
        text = " ".join(str(e).split()) or type(e).__name__
        raise SVError(f"{spec}: cannot be decoded ({text}); replace the file") from e


class AudioSource(ABC):
    """An open recording.

    Attributes:
        spec: The ``wav.scp`` entry, for messages.
        frames: Length in samples at ``rate``; an estimate if ``exact`` is false.
        rate: Sampling rate in Hz.
        channels: Number of channels.
        exact: Whether decoding gives ``frames`` samples (false for m4a, mp3, ...).
        seekable: Whether a section is read without decoding all that precedes it.
    """

    spec: str
    frames: int
    rate: int
    channels: int
    exact: bool
    seekable: bool = True

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read samples [start, stop).

        Returns:
            float32 (n, channels), scaled to [-1, 1); fewer samples at the end.

        Raises:
            SVError: They cannot be decoded.
        """
        with decoding(self.spec):
            return self._read(start, stop)

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Read samples [start, stop) as :meth:`read` does, where possible in pieces.

        Yields:
            float32 (n, channels).

        Raises:
            SVError: They cannot be decoded.
        """
        with decoding(self.spec):
            yield from self._blocks(start, stop)

    @abstractmethod
    def _read(self, start: int, stop: int) -> np.ndarray:
        """Decode as :meth:`read` says; any exception is reported by it."""

    def _blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Decode as :meth:`blocks` says; any exception is reported by it."""
        yield self._read(start, stop)

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> "AudioSource":
        return self

    def __exit__(self, *args) -> None:
        self.close()


class _OneWay(soundfile.SoundFile):
    """Does not seek back after each read as soundfile does, which in flac decodes."""

    def seekable(self) -> bool:
        return False


class SoundFileSource(AudioSource):
    """Anything that libsndfile reads: wav, flac, mp3, ogg, sph, aiff, ...

    Codecs that cannot seek (GSM 6.10, G.721, DWVW) are decoded from the beginning.
    """

    def __init__(self, spec: str, stream: BinaryIO | io.RawIOBase | str):
        """Open a path, or a stream, for which ``spec`` stands in messages.

        Raises:
            SVError: A flac file is truncated; a file has samples alone, whose rate
                libsndfile takes from its name (``.vox``, ``.au`` without a header).
            soundfile.SoundFileError: libsndfile cannot read this.
        """
        self.spec = spec
        self._stream = stream
        self._open()
        try:
            self.format = self._file.format
            codec = self._file.subtype
            if self.format == "RAW" and not (codec == "GSM610" and self._is_gsm()):
                raise SVError(f"{spec}: {HEADERLESS}")
            # an mp3 without its encoder's header does not declare its padding
            self.exact = not codec.startswith("MPEG_LAYER")
            self.frames = self._file.frames
            self.rate = self._file.samplerate
            self.channels = self._file.channels
            self.seekable = super(_OneWay, self._file).seekable()
            if codec.startswith("DWVW"):  # which seeks to the beginning only
                self.seekable = False
            self._preroll = _OGG_PREROLL if self.format == "OGG" else 0
            if self.frames == _UNKNOWN_FRAMES:
                self.frames = self._skip(_UNKNOWN_FRAMES)
            elif self.format == "FLAC" and self.frames:
                self._require_last_sample()
        except BaseException:
            self._file.close()
            raise

    def _read(self, start: int, stop: int) -> np.ndarray:
        blocks = list(self._blocks(start, stop))
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        self._go_to(start)
        missing = max(min(stop, self.frames) - start, 0)
        # since a damaged header may promise more than fits into memory
        block = self._next(min(missing, _BLOCK))
        yield block
        while (missing := missing - len(block)) and len(block):
            block = self._next(min(missing, _BLOCK))
            yield block

    def close(self) -> None:
        """Close the file or stream."""
        self.close_decoder()
        if not isinstance(self._stream, str):
            self._stream.close()

    def close_decoder(self) -> None:
        """Close what libsndfile holds; a stream stays open."""
        self._file.close()

    def _open(self) -> None:
        if not isinstance(self._stream, str):
            self._stream.seek(0)
        self._file = _OneWay(self._stream)
        self._position = 0

    def _go_to(self, start: int) -> None:
        if self.seekable:
            before = min(start, self._preroll)
            self._file.seek(start - before)
            self._skip(before)
        else:
            if start < self._position:
                self._file.close()
                self._open()
            self._skip(start - self._position)
        self._position = start

    def _next(self, frames: int) -> np.ndarray:
        samples = self._file.read(frames, dtype="float32", always_2d=True)
        self._position += len(samples)
        return samples

    def _skip(self, frames: int) -> int:
        """Decode up to ``frames`` samples; return how many there were."""
        done = 0
        while frames > done and (read := len(self._next(min(frames - done, _BLOCK)))):
            done += read
        return done

    def _is_gsm(self) -> bool:
        """Whether a file without a header has GSM 6.10, by the marks of its frames."""
        assert isinstance(self._stream, str)  # libsndfile asks the name for its format
        with open(self._stream, "rb") as file:
            marks = file.read(100 * _GSM_FRAME)[::_GSM_FRAME]
        return all(mark & 0xF0 == _GSM_MARK for mark in marks)

    def _require_last_sample(self) -> None:
        """Read the last sample of a flac file, whose header gives the length."""
        try:
            self._go_to(self.frames - 1)
            found = len(self._next(1))
        except soundfile.SoundFileError:
            found = 0
        if not found:
            raise SVError(
                f"{self.spec}: is truncated or damaged, its last sample cannot be"
                " decoded; replace the file"
            )


class PCMSource(AudioSource):
    """A 16-bit PCM wav file, or a section of a file (an ark) that contains one.

    Returns the same samples as libsndfile, several times as fast for short sections.
    """

    exact = True

    def __init__(
        self, spec: str, fd: int, offset: int, size: int, rate: int, channels: int
    ):
        """Take an open file whose samples are ``size`` bytes from ``offset`` on."""
        self.spec = spec
        self.rate = rate
        self.channels = channels
        self.frames = size // (2 * channels)
        self._fd = fd
        self._offset = offset

    def _blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for first in range(start, max(min(stop, self.frames), start + 1), _BLOCK):
            yield self._read(first, min(first + _BLOCK, stop))

    def _read(self, start: int, stop: int) -> np.ndarray:
        width = 2 * self.channels
        stop = min(stop, self.frames)
        first, missing = self._offset + start * width, max(stop - start, 0) * width
        data = os.pread(self._fd, missing, first)
        while len(data) < missing and (
            more := os.pread(self._fd, missing - len(data), first + len(data))
        ):
            data += more
        samples = np.frombuffer(data, "<i2", len(data) // width * self.channels)
        return np.multiply(samples, _SCALE, dtype=np.float32).reshape(-1, self.channels)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def open_pcm(
    spec: str, path: str, start: int = 0, length: int | None = None
) -> PCMSource | None:
    """Open a file, or ``length`` bytes of it from ``start`` on, if it is a plain wav.

    Returns:
        The source; None if this is not a 16-bit PCM wav with a consistent header, which
        libsndfile then reads or rejects.
    """
    try:
        # without waiting for the other end of a named pipe
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    found = None
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            end = status.st_size
            if length is not None:
                end = min(end, start + length)
            found = _find_samples(os.pread(fd, _HEADER, start), end - start)
    except OSError:  # a read error
        pass
    if found is None:
        os.close(fd)
        return None
    offset, size, rate, channels = found
    return PCMSource(spec, fd, start + offset, size, rate, channels)


def _find_samples(header: bytes, length: int) -> tuple[int, int, int, int] | None:
    """Return offset and size of the samples in bytes, sampling rate and channels."""
    if header[:4] != b"RIFF" or header[8:12] != b"WAVE":
        return None
    position = 12
    layout: tuple[int, int] | None = None  # rate and channels
    while position + 8 <= len(header):
        name, size = struct.unpack_from("<4sI", header, position)
        position += 8
        if name == b"fmt " and size >= 16 and position + 16 <= len(header):
            tag, channels, rate, _, width, bits = struct.unpack_from(
                "<HHIIHH", header, position
            )
            plain = (
                tag == _PCM
                and bits == 16
                and channels
                and width == 2 * channels
                and rate
            )
            layout = (rate, channels) if plain else None
        elif name == b"data":
            if not layout or not size:
                return None
            rate, channels = layout
            whole = size % (2 * channels) == 0 and position + size <= length
            return (position, size, rate, channels) if whole else None
        position += size + size % 2
    return None
