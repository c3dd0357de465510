"""Pieces of fixed length from recordings of any length."""

from fractions import Fraction

import numpy as np

from espnet2_sv.data.audio import length_at, read_section
from espnet2_sv.data.sources import AudioSource


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
