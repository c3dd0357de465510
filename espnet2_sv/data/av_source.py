"""Decode media that libsndfile cannot read, with PyAV."""

import io
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from espnet2_sv.data.decoders import HEADERLESS, AudioSource
from espnet2_sv.errors import SVError

# samples decoded before a section, beside a frame of AAC (1024, or 2048 with SBR) that
# the next one overlaps; Opus needs 80 ms at 48 kHz to settle, and twice that for noise
_PREROLL = 4096
_OPUS_PREROLL = 8192
# containers with exact time stamps, so that a seek lands on a known sample
_SEEKABLE = ("mov", "mp4", "matroska", "webm")
# formats of samples alone, for which FFmpeg assumes 44.1 kHz or what an option says
_HEADERLESS = re.compile(
    r"[suf](8|16|24|32|64)([bl]e)?|alaw|mulaw|vidc|dfpwm|aptx(_hd)?|g726(le)?|codec2raw"
)
# AMR marks a pause by frames that FFmpeg does not decode: of these types from here on
# (comfort noise, lost, no data; 3GPP TS 26.101 and 26.201, table 1a), all of 20 ms
_AMR_PAUSES = {"amrnb": 8, "amrwb": 9}
_AMR_FRAME_SECONDS = 0.02


class AVSource(AudioSource):
    """First audio stream of a media file that libsndfile cannot read (m4a, aac, webm).

    If the container has a time index, its first frames are decoded when it is opened,
    and then only the requested section and a short preroll. After a seek the output
    can differ by about -60 dB from decoding the whole file, since AAC's noise
    substitution has a state. Vorbis in Matroska, whose time stamps are milliseconds and
    whose frames have several lengths, can lie a millisecond beside its place.

    A stream without an index (raw ``.aac``, mp3 without a Xing header) is decoded when
    it is opened, to count ``frames``, and kept; convert such files before training.

    The pauses of AMR become silence.
    """

    def __init__(self, spec: str, stream: BinaryIO | io.RawIOBase | None = None):
        """Open the file ``spec``, or ``stream``; ``spec`` names it in messages."""
        self.spec = spec
        self._file = stream
        self._decoded: np.ndarray | None = None
        self._preroll = _PREROLL  # samples
        # open, with the first frames and those after them, until something is read
        self._unread = self._open()
        try:
            container, audio, frames = self._unread
            if audio.codec_context is None:
                raise SVError(
                    f"{spec}: has audio of a codec that FFmpeg does not decode here;"
                    " convert it with the program that made it"
                )
            self.rate = audio.codec_context.sample_rate
            self.channels = audio.codec_context.channels
            self._indexed = any(
                n in _SEEKABLE for n in container.format.name.split(",")
            )
            if not self.rate or not self.channels:
                raise SVError(f"{spec}: has no readable audio; replace the file")
            declared = self._declared_frames(container, audio)
            if declared is not None:
                with self._naming_errors():
                    first = list(itertools.islice(frames, 2))
                self._unread = container, audio, itertools.chain(first, frames)
                self._set_origin(first)
                if audio.codec_context.name in ("opus", "libopus"):
                    self._preroll += _OPUS_PREROLL - _PREROLL
            self.exact = declared is None
            self.seekable = not self.exact
            if declared is None:
                self._decoded = self.read(0, 1 << 62)
                declared = len(self._decoded)
            self.frames = declared
        except BaseException:
            self._close_unread()
            raise

    def _read(self, start: int, stop: int) -> np.ndarray:
        if self._decoded is not None:
            return self._decoded[start:stop]
        return self._decode(start, stop)

    def _decode(self, start: int, stop: int) -> np.ndarray:
        container, stream, frames = self._unread or self._open()
        self._unread = None
        position = 0  # first sample of the next frame
        parts = []
        with container, self._naming_errors():
            if self._indexed and start > self._preroll:
                begin = start - self._preroll + self._origin
                container.seek(int(begin / self.rate / stream.time_base), stream=stream)
                frames = self._frames(container, stream)
                next(frames, None)  # may be cut like the first of all
                frame = next(frames, None)
                position = stop if frame is None else self._position(frame)
                frames = itertools.chain([frame], frames)
            if position > start:  # the index misleads
                self._indexed = False
                return self._decode(start, stop)
            for frame in frames:
                samples = self._samples(frame)
                parts.append(
                    samples[max(start - position, 0) : max(stop - position, 0)]
                )
                position += len(samples)
                if position >= stop:
                    break
        return (
            np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)
        )

    def close(self) -> None:
        """Close the file or stream."""
        self._close_unread()
        if self._file is not None:
            self._file.close()

    def _open(self):
        """Return the open container, its audio stream and the frames to decode."""
        import av

        # absolute, since "a:b" would be a protocol; nothing but files is opened
        path = os.path.abspath(self.spec)
        try:
            if self._file is None:
                container = av.open(path, "r", options={"protocol_whitelist": "file"})
            else:
                self._file.seek(0)
                container = av.open(self._file, "r")
        except (av.error.FFmpegError, OSError, ValueError) as e:
            raise SVError(
                f"{self.spec}: is not audio in a known format; replace the file or"
                " remove the utterance"
            ) from e
        problem = ""
        if _HEADERLESS.fullmatch(container.format.name):
            problem = HEADERLESS
        elif not container.streams.audio:
            problem = "has no audio stream; remove the utterance"
        if problem:
            container.close()
            raise SVError(f"{self.spec}: {problem}")
        stream = container.streams.audio[0]
        return container, stream, self._frames(container, stream)

    def _close_unread(self) -> None:
        if self._unread is not None:
            self._unread[0].close()
            self._unread = None

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except av.error.FFmpegError as e:
            raise SVError(
                f"{self.spec}: cannot be decoded ({e}); replace the file"
            ) from e

    def _frames(self, container, stream) -> Iterator:
        """Decode frames; of mp3, skip what is none, such as tags at the end."""
        import av

        pause = _AMR_PAUSES.get(stream.codec_context.name, 1 << 8)
        for packet in container.demux(stream):
            if packet.size and bytes(packet)[0] >> 3 & 15 >= pause:
                yield self._silence(packet)
                continue
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if container.format.name == "mp3":
                    continue
                raise
            yield from frames

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

    def _set_origin(self, frames: list) -> None:
        """Note the time of the first sample and the length of the first frame.

        The first frame is shorter where the encoder's delay is cut off, and its time
        stamp may be wrong then.
        """
        if not frames:
            raise SVError(f"{self.spec}: holds no samples; replace or remove it")
        self._first_length = frames[0].samples if len(frames) > 1 else 0
        time = self._sample(self._time(frames[-1]), frames[-1].time_base)
        self._origin = time - self._first_length
        self._preroll = _PREROLL + frames[-1].samples

    def _position(self, frame) -> int:
        """Return the first sample of a frame, from the beginning of the stream."""
        time = self._sample(self._time(frame), frame.time_base)
        position = time - self._origin
        # where time stamps are coarse: all frames but the first have one length
        number = round((position - self._first_length) / frame.samples)
        exact = self._first_length + number * frame.samples
        tolerance = frame.time_base * self.rate
        return exact if abs(exact - position) <= tolerance else position

    def _time(self, frame) -> int:
        if frame.pts is None:
            raise SVError(f"{self.spec}: has no time stamps; convert it first")
        return frame.pts

    def _silence(self, packet):
        """Return a frame of silence in the place of a packet of AMR."""
        import av

        samples = np.zeros((1, round(_AMR_FRAME_SECONDS * self.rate)), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.rate, frame.pts = self.rate, packet.pts
        frame.time_base = packet.time_base
        return frame

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
