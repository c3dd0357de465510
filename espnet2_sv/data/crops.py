"""Pieces of fixed length from recordings of any length."""

import numpy as np

from espnet2_sv.data.audio import length_at, read_section
from espnet2_sv.data.sources import AudioSource


def read_crop(
    source: AudioSource, sample_rate: int, length: int, rng: np.random.Generator
) -> np.ndarray:
    """Read ``length`` samples from a random place, decoding no more than these.

    A recording that is too short is repeated from its beginning until it is long enough.

    Args:
        source: An open recording.
        sample_rate: Rate of what is returned, Hz.
        length: Samples wanted at that rate.
        rng: Draws the place, uniformly over all that fit.

    Returns:
        float32 (length,).
    """
    total = length_at(source, sample_rate)
    start = int(rng.integers(max(total - length, 0) + 1))
    samples = read_section(source, sample_rate, start, min(start + length, total))
    return samples if len(samples) == length else np.resize(samples, length)
