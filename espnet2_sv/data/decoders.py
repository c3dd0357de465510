"""Decoders of audio: libsndfile, PyAV, and a fast path for plain 16-bit wav."""

import io
import os
import struct
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from espnet2_sv.errors import SVError

_HEADER = 4096  # bytes that the header is looked for in
_SCALE = np.float32(1 / 32768)
_PCM = 1  # the format tag of integer samples
# AAC frames hold 1024 samples (2048 with SBR) and overlap; decoding starts this much
# earlier
_PREROLL = 4096
# containers whose packets carry exact time stamps, so that a seek lands on a known
# sample
_SEEKABLE = ("mov", "mp4", "matroska", "webm")


class AudioSource(Protocol):
    """An open recording.

    Attributes:
        spec: What was opened, for messages.
        frames: Length in samples at ``rate``; an estimate where ``exact`` is false.
        rate: Sampling rate in Hz.
        channels: Number of channels.
        exact: Whether ``frames`` is what decoding gives (false for m4a and the like).
    """

    spec: str
    frames: int
    rate: int
    channels: int
    exact: bool

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start <= n < stop`` as float32 (n, channels); fewer only at the end."""

    def __enter__(self) -> "AudioSource": ...

    def __exit__(self, *args) -> None: ...


class _OneWay(soundfile.SoundFile):
    """Lets us seek, but does not by itself seek again after each read, which in flac decodes."""

    def seekable(self) -> bool:
        return False


class SoundFileSource:
    """Anything that libsndfile reads: wav, flac, mp3, ogg, sph, aiff, ..."""

    def __init__(self, spec: str, stream: BinaryIO | io.RawIOBase | str):
        self.spec = spec
        self._stream = stream
        self._file = _OneWay(stream)
        # An mp3 without a header of its encoder's does not say how much of it is
        # padding.
        self.exact = self._file.format != "MP3"
        self.frames = self._file.frames
        self.rate = self._file.samplerate
        self.channels = self._file.channels

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start <= n < stop`` as float32 (n, channels); integers scaled to [-1, 1)."""
        try:
            self._file.seek(start)
            frames = max(min(stop, self.frames) - start, 0)
            return self._file.read(frames, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as e:
            raise SVError(
                f"{self.spec}: cannot be decoded ({e}); replace the file"
            ) from e

    def __enter__(self) -> "SoundFileSource":
        return self

    def __exit__(self, *args) -> None:
        self._file.close()
        if not isinstance(self._stream, str):
            self._stream.close()


class PCMSource:
    """A 16-bit PCM wav file, or a part of a file that is one.

    Gives exactly what libsndfile does, several times as fast for a short section.
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

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start <= n < stop`` as float32 (n, channels), scaled to [-1, 1)."""
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

    def __enter__(self) -> "PCMSource":
        return self

    def __exit__(self, *args) -> None:
        os.close(self._fd)


def open_pcm(
    spec: str, path: str, start: int = 0, length: int | None = None
) -> PCMSource | None:
    """Open a file, or ``length`` bytes of it from ``start`` on, if it is a plain wav.

    Returns:
        The source; None where this is not a 16-bit PCM wav whose header and length are
        as they should be, for a library to read or to refuse.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    found = None
    try:
        end = os.fstat(fd).st_size
        if length is not None:
            end = min(end, start + length)
        found = _find_samples(os.pread(fd, _HEADER, start), end - start)
    except OSError:  # a directory, or a disk that fails
        pass
    if found is None:
        os.close(fd)
        return None
    offset, size, rate, channels = found
    return PCMSource(spec, fd, start + offset, size, rate, channels)


def _find_samples(header: bytes, length: int) -> tuple[int, int, int, int] | None:
    """Return offset and bytes of the samples, their rate and channels."""
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


class AVSource:
    """One audio stream of a media file, read in float32.

    Where the container has a time index, only the wanted part (and a short run-up) is
    decoded; after a seek a lossy decoder's output can differ by about -60 dB from
    decoding it all, because AAC's noise substitution has a state. A stream without
    index (raw ``.aac``) is decoded from its beginning, and once more to count its
    ``frames``: better converted before training.
    """

    exact = False

    def __init__(self, spec: str, stream: BinaryIO | io.RawIOBase | None = None):
        """Open the file ``spec``, or ``stream``, which ``spec`` names in messages."""
        self.spec = spec
        self._file = stream
        with self._open() as container:
            audio = self._stream(container)
            self.rate = audio.codec_context.sample_rate
            self.channels = audio.codec_context.channels
            self._seekable = any(
                n in _SEEKABLE for n in container.format.name.split(",")
            )
            self._origin = self._sample(audio.start_time or 0, audio.time_base)
            if not self.rate or not self.channels:
                raise SVError(f"{spec}: has no readable audio; replace the file")
            declared = self._declared_frames(container, audio)
        self.frames = len(self.read(0, 1 << 62)) if declared is None else declared

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start <= n < stop`` as float32 (n, channels); fewer at the end."""
        import av

        parts = []
        with self._open() as container:
            stream = self._stream(container)
            position = 0  # of the next frame, in samples
            seeking = self._seekable and start > _PREROLL
            try:
                if seeking:
                    begin = start - _PREROLL + self._origin
                    container.seek(
                        int(begin / self.rate / stream.time_base), stream=stream
                    )
                for frame in container.decode(stream):
                    if seeking:
                        position = self._position(frame)
                        seeking = False
                    samples = self._samples(frame)
                    parts.append(
                        samples[max(start - position, 0) : max(stop - position, 0)]
                    )
                    position += len(samples)
                    if position >= stop:
                        break
            except av.error.FFmpegError as e:
                raise SVError(
                    f"{self.spec}: cannot be decoded ({e}); replace the file"
                ) from e
        return (
            np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)
        )

    def __enter__(self) -> "AVSource":
        return self

    def __exit__(self, *args) -> None:
        """Close the stream; a file does not stay open between reads."""
        if self._file is not None:
            self._file.close()

    def _open(self):
        import av

        try:
            if self._file is None:
                return av.open(self.spec)
            self._file.seek(0)
            return av.open(self._file)
        except (av.error.FFmpegError, OSError, ValueError) as e:
            raise SVError(
                f"{self.spec}: is not audio in a known format; replace the file or"
                " remove the utterance"
            ) from e

    def _stream(self, container):
        if not container.streams.audio:
            raise SVError(f"{self.spec}: has no audio stream; remove the utterance")
        return container.streams.audio[0]

    def _declared_frames(self, container, stream) -> int | None:
        if not self._seekable:
            return None  # what is declared is a guess from the bit rate
        if stream.duration:
            return self._sample(stream.duration, stream.time_base)
        if container.duration:
            return round(
                container.duration / 1_000_000 * self.rate
            )  # given in microseconds
        return None

    def _sample(self, time: int, time_base) -> int:
        return round(time * time_base * self.rate)

    def _position(self, frame) -> int:
        """Where a frame begins, in samples from the beginning."""
        if frame.pts is None:
            raise SVError(f"{self.spec}: has no time stamps; convert it first")
        return self._sample(frame.pts, frame.time_base) - self._origin

    def _samples(self, frame) -> np.ndarray:
        """A decoded frame as float32 (n, channels)."""
        import av

        if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
            raise SVError(
                f"{self.spec}: changes its rate or channels midway; convert it first"
            )
        if frame.format.name != "fltp":
            convert = av.AudioResampler(
                format="fltp", layout=frame.layout, rate=self.rate
            )
            return np.concatenate(
                [f.to_ndarray() for f in convert.resample(frame)], 1
            ).T
        return frame.to_ndarray().T
