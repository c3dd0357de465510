"""Decode media that libsndfile cannot read, with PyAV."""

import io
import os
from typing import BinaryIO

import numpy as np

from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.errors import SVError

# samples decoded before a section: AAC frames have 1024 (2048 with SBR) and overlap
_PREROLL = 4096
# containers with exact time stamps, so that a seek lands on a known sample
_SEEKABLE = ("mov", "mp4", "matroska", "webm")


class AVSource(AudioSource):
    """First audio stream of a media file that libsndfile cannot read (m4a, aac, webm).

    If the container has a time index, only the requested section and a short preroll
    are decoded. After a seek the output can differ by about -60 dB from decoding the
    whole file, since AAC's noise substitution has a state. A stream without an index
    (raw ``.aac``, mp3 without a Xing header) is decoded when it is opened, to count
    ``frames``, and kept; convert such files before training.
    """

    def __init__(self, spec: str, stream: BinaryIO | io.RawIOBase | None = None):
        """Open the file ``spec``, or ``stream``; ``spec`` names it in messages."""
        self.spec = spec
        self._file = stream
        self._decoded: np.ndarray | None = None
        with self._open() as container:
            audio = self._stream(container)
            self.rate = audio.codec_context.sample_rate
            self.channels = audio.codec_context.channels
            self._indexed = any(
                n in _SEEKABLE for n in container.format.name.split(",")
            )
            self._origin = self._sample(audio.start_time or 0, audio.time_base)
            if not self.rate or not self.channels:
                raise SVError(f"{spec}: has no readable audio; replace the file")
            declared = self._declared_frames(container, audio)
        self.exact = declared is None
        self.seekable = not self.exact
        if declared is None:
            self._decoded = self.read(0, 1 << 62)
            declared = len(self._decoded)
        self.frames = declared

    def _read(self, start: int, stop: int) -> np.ndarray:
        if self._decoded is not None:
            return self._decoded[start:stop]
        return self._decode(start, stop)

    def _decode(self, start: int, stop: int) -> np.ndarray:
        import av

        parts = []
        with self._open() as container:
            stream = self._stream(container)
            position = 0  # first sample of the next frame
            seeking = self._indexed and start > _PREROLL
            try:
                if seeking:
                    begin = start - _PREROLL + self._origin
                    container.seek(
                        int(begin / self.rate / stream.time_base), stream=stream
                    )
                for frame in self._frames(container, stream):
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

    def close(self) -> None:
        """Close the stream; a file is open only during reads."""
        if self._file is not None:
            self._file.close()

    def _open(self):
        import av

        try:
            if self._file is None:
                # absolute, since "a:b" would be a protocol; nothing but files is opened
                path = os.path.abspath(self.spec)
                return av.open(path, options={"protocol_whitelist": "file"})
            self._file.seek(0)
            return av.open(self._file)
        except (av.error.FFmpegError, OSError, ValueError) as e:
            raise SVError(
                f"{self.spec}: is not audio in a known format; replace the file or"
                " remove the utterance"
            ) from e

    def _frames(self, container, stream):
        """Decode frames; of mp3, skip what is none, such as tags at the end."""
        import av

        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if container.format.name == "mp3":
                    continue
                raise
            yield from frames

    def _stream(self, container):
        if not container.streams.audio:
            raise SVError(f"{self.spec}: has no audio stream; remove the utterance")
        return container.streams.audio[0]

    def _declared_frames(self, container, stream) -> int | None:
        if not self._indexed:
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
        if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
            raise SVError(
                f"{self.spec}: changes its sampling rate or channels; convert it first"
            )
        samples = frame.to_ndarray()
        if frame.format.is_planar:
            samples = samples.T
        else:
            samples = samples.reshape(-1, self.channels)
        if samples.dtype.kind == "u":  # 8 bits, around 128
            return (samples.astype(np.float32) - 128) / 128
        if samples.dtype.kind == "i":
            full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
            return (samples / full_scale).astype(np.float32)
        return samples.astype(np.float32, copy=False)
