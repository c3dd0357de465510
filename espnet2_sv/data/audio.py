"""Read speech of any format, sampling rate and number of channels, whole or in part."""

import os
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np
import soxr

from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError

# seconds read on either side of a crop before resampling, much longer than soxr's
# filter
_RESAMPLING_MARGIN = 0.05
SILENCE = 0.5 / 32768  # amplitudes below are zero in 16 bits
# peak of the mean of channels of opposite phase in a lossy format, relative to theirs
_RESIDUAL = 0.01
# seconds by which a lossy container may overstate its length
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
    channel: int | None = None,
) -> np.ndarray:
    """Read speech from a ``wav.scp`` entry.

    Integer samples are scaled to [-1, 1), channels are averaged, other sampling rates
    are converted with soxr. The samples of a crop are those of the whole recording.

    Args:
        spec: A path, ``x.ark:OFFSET``, or ``command |`` (see ``allow_pipes``).
        sample_rate: Sampling rate of the result in Hz.
        start: Start of the section in seconds.
        duration: Duration of the section in seconds; None means to the end. The result
            is shorter if the recording ends earlier.
        allow_pipes: Whether the entry may be a command to run.
        channel: Channel to read, counted from 1; None means the mean of all.

    Returns:
        float32 (S,), at least one sample.

    Raises:
        SVError: Missing, empty, truncated or undecodable audio, NaN or infinite
            samples, channels that cancel each other or lack the requested one.
    """
    with open_audio(spec, allow_pipes) as source:
        first = round(start * sample_rate)
        total = length_at(source, sample_rate)
        last = (
            total
            if duration is None
            else min(total, first + round(duration * sample_rate))
        )
        return read_section(source, sample_rate, first, last, channel)


def audio_info(spec: str | os.PathLike) -> AudioInfo:
    """Read length, rate and channels from the header, without decoding."""
    with open_audio(spec) as source:
        return AudioInfo(source.frames, source.rate, source.channels)


def length_at(source: AudioSource, sample_rate: int, speed: Fraction | int = 1) -> int:
    """Return a recording's length in samples at ``sample_rate`` Hz and ``speed``."""
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

    Within the resampler's precision they equal those of the whole recording converted
    to that rate and speed, but only the requested part is decoded.

    Args:
        source: An open recording.
        sample_rate: Sampling rate of the result in Hz.
        start: First sample.
        stop: Sample after the last one.
        channel: Channel to read, counted from 1; None means the mean of all.
        speed: Factor by which the recording is sped up; raises tempo and pitch.

    Returns:
        float32 (S,); fewer than ``stop - start`` samples only if a lossy container
        overstates its length.

    Raises:
        SVError: The section is empty or truncated, or has NaN or infinite samples, or
            channels that cancel each other; there is no such channel.
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
        raise SVError(
            f"{source.spec}: ends before the requested section; replace the file"
        )
    return np.ascontiguousarray(speech)


def _ratio(rate: int, sample_rate: int, speed: Fraction | int) -> tuple[int, int]:
    """Return (up, down): ``up`` output samples correspond to ``down`` input samples."""
    return Fraction(sample_rate, rate * speed).as_integer_ratio()


def _decode(
    source: AudioSource, start: int, stop: int, channel: int | None
) -> np.ndarray:
    """Decode one channel (n,), or the mean of all, with one block of all in memory."""
    if channel is not None and not 1 <= channel <= source.channels:
        raise SVError(
            f"{source.spec}: has {source.channels} channels; choose one from 1 to"
            f" {source.channels}, not {channel}"
        )
    parts, peak, mean_peak = [], 0.0, 0.0
    for samples in source.blocks(start, stop):
        if not np.isfinite(samples).all():
            raise SVError(
                f"{source.spec}: has NaN or infinite samples; replace the file or"
                " remove the utterance"
            )
        if channel is None and source.channels > 1:
            parts.append(samples.mean(axis=1))
            peak, mean_peak = (
                max(peak, _peak(samples)),
                max(mean_peak, _peak(parts[-1])),
            )
        else:
            one = samples[:, (channel or 1) - 1]
            # a copy, or the block with all channels would stay in memory
            parts.append(one if source.channels == 1 else one.copy())
    speech = parts[0] if len(parts) == 1 else np.concatenate(parts)
    missing = stop - start - len(speech)
    if missing > (0 if source.exact else _LENGTH_TOLERANCE * source.rate):
        raise SVError(
            f"{source.spec}: is truncated, {missing} of {source.frames} samples are"
            " missing; replace the file"
        )
    threshold = SILENCE
    if len(speech) >= source.frames:  # lossy formats leave a residual
        threshold = max(threshold, _RESIDUAL * peak)
    if mean_peak < threshold and peak >= SILENCE:
        raise SVError(
            f"{source.spec}: its channels cancel each other, their mean is silence;"
            " choose one with --channel"
        )
    return speech


def is_silent(samples: np.ndarray) -> bool:
    """Whether all samples, of any shape, would be zero in 16 bits."""
    return _peak(samples) < SILENCE


def _peak(samples: np.ndarray) -> float:
    return float(np.abs(samples).max(initial=0.0))


def read_crop(
    source: AudioSource, sample_rate: int, length: int, rng: np.random.Generator
) -> np.ndarray:
    """Read ``length`` samples from a random position, decoding no others.

    A recording that is too short is repeated from its beginning.

    Args:
        source: An open recording.
        sample_rate: Sampling rate of the result in Hz.
        length: Length of the crop in samples at that rate.
        rng: Draws the position, uniformly over all that fit.

    Returns:
        float32 (length,).
    """
    start = draw_start(length_at(source, sample_rate), length, rng)
    return read_crop_at(source, sample_rate, start, length)


def draw_start(total: int, length: int, rng: np.random.Generator, step: int = 1) -> int:
    """Draw the start of a crop in samples, a multiple of ``step``."""
    return step * int(rng.integers(max(total - length, 0) // step + 1))


def read_crop_at(
    source: AudioSource,
    sample_rate: int,
    start: int,
    length: int,
    speed: Fraction | int = 1,
) -> np.ndarray:
    """Read ``length`` samples from ``start`` on, repeating a short recording."""
    total = length_at(source, sample_rate, speed)
    stop = min(start + length, total)
    samples = read_section(source, sample_rate, start, stop, speed=speed)
    return samples if len(samples) == length else np.resize(samples, length)
