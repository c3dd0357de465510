"""Reading speech: any format, any rate, any number of channels, only the part that is needed."""

import os
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np
import soxr

from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError

# read on either side of a crop before resampling, far more than soxr's filter is long;
# seconds
_RESAMPLING_MARGIN = 0.05
# what a lossy container may declare beyond what it holds; seconds
_LENGTH_TOLERANCE = 0.5


class AudioInfo(NamedTuple):
    """Length in samples at ``rate`` (Hz), and number of channels."""

    num_samples: int
    rate: int
    channels: int


def read_audio(
    spec: str | os.PathLike,
    sample_rate: int = 16000,
    start: float = 0.0,
    duration: float | None = None,
    allow_pipes: bool = False,
) -> np.ndarray:
    """Read speech from a ``wav.scp`` entry.

    Integer samples are scaled to [-1, 1). Several channels become one: their mean.
    Another sampling rate is converted with soxr; the samples of a crop are those of the
    whole recording.

    Args:
        spec: A path, ``x.ark:OFFSET``, or ``command |`` (see ``allow_pipes``).
        sample_rate: Sampling rate of what is returned, Hz.
        start: First sample wanted, in seconds.
        duration: Length wanted in seconds; None means to the end. Less is returned
            where the recording ends earlier.
        allow_pipes: Whether an entry may be a command to run.

    Returns:
        float32 (S,), at least one sample.

    Raises:
        SVError: Missing, empty, truncated or undecodable audio, NaN or infinite
            samples.
    """
    with open_audio(spec, allow_pipes) as source:
        first = round(start * sample_rate)
        total = length_at(source, sample_rate)
        last = (
            total
            if duration is None
            else min(total, first + round(duration * sample_rate))
        )
        return read_section(source, sample_rate, first, last)


def audio_info(spec: str | os.PathLike, allow_pipes: bool = False) -> AudioInfo:
    """Length, rate and channels from the header, without decoding (pipes are run)."""
    with open_audio(spec, allow_pipes) as source:
        return AudioInfo(source.frames, source.rate, source.channels)


def length_at(source: AudioSource, sample_rate: int, speed: Fraction | int = 1) -> int:
    """Number of samples that a recording has at ``sample_rate`` Hz, played at ``speed``."""
    up, down = _ratio(source.rate, sample_rate, speed)
    return (2 * source.frames * up + down) // (2 * down)


def read_section(
    source: AudioSource,
    sample_rate: int,
    start: int,
    stop: int,
    channel: int | None = None,
    speed: Fraction | int = 1,
) -> np.ndarray:
    """Read samples ``start <= n < stop``, counted at ``sample_rate`` Hz.

    They are, within the precision of the resampler, those of the whole recording
    converted to that rate and speed; only the wanted part is decoded.

    Args:
        source: An open recording.
        sample_rate: Hz.
        start: First sample.
        stop: Sample after the last one.
        channel: The channel to take; None means the mean of all.
        speed: How much faster the recording is played: tempo and pitch rise by this
            factor.

    Returns:
        float32 (S,); fewer samples than asked only where a lossy container declared too
        many.

    Raises:
        SVError: Nothing there, truncated, NaN or infinite samples.
    """
    if stop <= start:
        raise SVError(
            f"{source.spec}: holds no samples from {start / sample_rate:.2f} s on;"
            " replace the file or remove the utterance"
        )
    up, down = _ratio(source.rate, sample_rate, speed)
    if up == down:
        speech = _decode(source, start, stop, channel)
    else:
        margin = ceil(_RESAMPLING_MARGIN * source.rate)
        block = max(start // up - margin // down - 1, 0)
        end = min(ceil(stop * down / up) + margin, source.frames)
        speech = _decode(source, block * down, end, channel)
        speech = soxr.resample(speech, down, up)
        speech = speech[start - block * up : stop - block * up]
    if not len(speech):
        raise SVError(f"{source.spec}: ends before the wanted part; replace the file")
    return np.ascontiguousarray(speech)


def _ratio(rate: int, sample_rate: int, speed: Fraction | int) -> tuple[int, int]:
    """Return (up, down): ``up`` wanted samples last as long as ``down`` of the recording."""
    return Fraction(sample_rate, rate * speed).as_integer_ratio()


def _decode(
    source: AudioSource, start: int, stop: int, channel: int | None
) -> np.ndarray:
    samples = source.read(start, stop)
    missing = stop - start - len(samples)
    if missing > (0 if source.exact else _LENGTH_TOLERANCE * source.rate):
        raise SVError(
            f"{source.spec}: is truncated, {missing} samples of {source.frames} are"
            " missing; replace the file"
        )
    if not np.isfinite(samples).all():
        raise SVError(
            f"{source.spec}: has NaN or infinite samples; replace the file or remove"
            " the utterance"
        )
    if channel is not None:
        return samples[:, channel]
    return samples[:, 0] if source.channels == 1 else samples.mean(axis=1)


def read_crop(
    source: AudioSource, sample_rate: int, length: int, rng: np.random.Generator
) -> np.ndarray:
    """Read ``length`` samples from a random place, decoding no more than these.

    A recording that is too short is repeated from its beginning until it is long
    enough.

    Args:
        source: An open recording.
        sample_rate: Rate of what is returned, Hz.
        length: Samples wanted at that rate.
        rng: Draws the place, uniformly over all that fit.

    Returns:
        float32 (length,).
    """
    start = draw_start(length_at(source, sample_rate), length, rng)
    return read_crop_at(source, sample_rate, start, length)


def draw_start(total: int, length: int, rng: np.random.Generator, step: int = 1) -> int:
    """Draw where a crop of ``length`` of ``total`` samples begins: a multiple of ``step``."""
    return step * int(rng.integers(max(total - length, 0) // step + 1))


def read_crop_at(
    source: AudioSource,
    sample_rate: int,
    start: int,
    length: int,
    speed: Fraction | int = 1,
) -> np.ndarray:
    """Read ``length`` samples from ``start`` on, repeated where the recording is too short."""
    total = length_at(source, sample_rate, speed)
    stop = min(start + length, total)
    samples = read_section(source, sample_rate, start, stop, speed=speed)
    return samples if len(samples) == length else np.resize(samples, length)
