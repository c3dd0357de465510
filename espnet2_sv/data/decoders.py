"""Decoders of audio: libsndfile, PyAV, and a fast path for plain 16-bit wav."""

import io
import os
import struct
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from espnet2_sv.errors import SVError

_HEADER = 4096  # bytes searched for the header of a wav file
_SCALE = np.float32(1 / 32768)
_PCM = 1  # format tag of integer samples
# samples decoded before a section: AAC frames have 1024 (2048 with SBR) and overlap
_PREROLL = 4096
# containers with exact time stamps, so that a seek lands on a known sample
_SEEKABLE = ("mov", "mp4", "matroska", "webm")


class AudioSource(Protocol):
    """An open recording.

    Attributes:
        spec: The ``wav.scp`` entry, for messages.
        frames: Length in samples at ``rate``; an estimate if ``exact`` is false.
        rate: Sampling rate in Hz.
        channels: Number of channels.
        exact: Whether decoding gives ``frames`` samples (false for m4a, mp3, ...).
    """

    spec: str
    frames: int
    rate: int
    channels: int
    exact: bool

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read samples [start, stop) as float32 (n, channels); fewer at the end."""

    def __enter__(self) -> "AudioSource": ...

    def __exit__(self, *args) -> None: ...


class _OneWay(soundfile.SoundFile):
    """Does not seek back after each read as soundfile does, which in flac decodes."""

    def seekable(self) -> bool:
        return False


class SoundFileSource:
    """Anything that libsndfile reads: wav, flac, mp3, ogg, sph, aiff, ..."""

    def __init__(self, spec: str, stream: BinaryIO | io.RawIOBase | str):
        self.spec = spec
        self._stream = stream
        self._file = _OneWay(stream)
        # an mp3 without its encoder's header does not declare its padding
        self.exact = self._file.format != "MP3"
        self.frames = self._file.frames
        self.rate = self._file.samplerate
        self.channels = self._file.channels

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read samples [start, stop) as float32 (n, channels), scaled to [-1, 1)."""
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

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read samples [start, stop) as float32 (n, channels), scaled to [-1, 1)."""
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
        The source; None if this is not a 16-bit PCM wav with a consistent header, which
        libsndfile then reads or rejects.
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
    except OSError:  # a directory, or a read error
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


class AVSource:
    """First audio stream of a media file that libsndfile cannot read (m4a, aac, webm).

    If the container has a time index, only the requested section and a short preroll
    are decoded. After a seek the output can differ by about -60 dB from decoding the
    whole file, since AAC's noise substitution has a state. A stream without an index
    (raw ``.aac``) is decoded from its beginning, and once more to count ``frames``;
    convert such files before training.
    """

    exact = False

    def __init__(self, spec: str, stream: BinaryIO | io.RawIOBase | None = None):
        """Open the file ``spec``, or ``stream``; ``spec`` names it in messages."""
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
        """Read samples [start, stop) as float32 (n, channels); fewer at the end."""
        import av

        parts = []
        with self._open() as container:
            stream = self._stream(container)
            position = 0  # first sample of the next frame
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
        """Close the stream; a file is open only during reads."""
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
            return None  # the declared duration is a guess from the bit rate
        if stream.duration:
            return self._sample(stream.duration, stream.time_base)
        if container.duration:
            return round(container.duration / 1_000_000 * self.rate)  # microseconds
        return None

    def _sample(self, time: int, time_base) -> int:
        return round(time * time_base * self.rate)

    def _position(self, frame) -> int:
        """Return the first sample of a frame, from the beginning of the stream."""
        if frame.pts is None:
            raise SVError(f"{self.spec}: has no time stamps; convert it first")
        return self._sample(frame.pts, frame.time_base) - self._origin

    def _samples(self, frame) -> np.ndarray:
        """Return a decoded frame as float32 (n, channels)."""
        import av

        if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
            raise SVError(
                f"{self.spec}: changes its sampling rate or channels; convert it first"
            )
        if frame.format.name != "fltp":
            convert = av.AudioResampler(
                format="fltp", layout=frame.layout, rate=self.rate
            )
            return np.concatenate(
                [f.to_ndarray() for f in convert.resample(frame)], 1
            ).T
        return frame.to_ndarray().T
