"""Audio in containers that libsndfile does not know (m4a, aac, webm), decoded by PyAV."""

from typing import BinaryIO

import numpy as np

from espnet2_sv.errors import SVError

# AAC frames hold 1024 samples (2048 with SBR) and overlap; decoding starts this much
# earlier
_PREROLL = 4096
# containers whose packets carry exact time stamps, so that a seek lands on a known
# sample
_SEEKABLE = ("mov", "mp4", "matroska", "webm")


class AVSource:
    """One audio stream of a media file, read in float32.

    Where the container has a time index, only the wanted part (and a short run-up) is
    decoded; after a seek a lossy decoder's output can differ by about -60 dB from
    decoding it all, because AAC's noise substitution has a state. A stream without
    index (raw ``.aac``) is decoded from its beginning, and once more to count its
    ``frames``: better converted before training.
    """

    exact = False

    def __init__(self, spec: str, stream: BinaryIO | None = None):
        """Open the file ``spec``, or ``stream``, which ``spec`` names in messages."""
        self.spec = spec
        self._file = stream
        with self._open() as container:
            stream = self._stream(container)
            self.rate = stream.codec_context.sample_rate
            self.channels = stream.codec_context.channels
            self._seekable = any(
                n in _SEEKABLE for n in container.format.name.split(",")
            )
            self._origin = self._sample(stream.start_time or 0, stream.time_base)
            if not self.rate or not self.channels:
                raise SVError(f"{spec}: has no readable audio; replace the file")
            self.frames = self._declared_frames(container, stream)
        if self.frames is None:
            self.frames = len(self.read(0, 1 << 62))

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
