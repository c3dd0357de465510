"""Noise, music, babble and reverberation, added to training crops."""

import os
from collections.abc import Callable, Mapping

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from espnet2_sv.data.audio import length_at, read_crop, read_section
from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError

_NOISE_KEYS = {
    "scp": None,
    "snr": (0.0, 15.0),
    "num": (1, 1),
    "snr_of": "sum",
    "weight": 1.0,
}
_SNR_OF = ("sum", "each")
_RIR_KEYS = {"scp": None, "weight": 1.0}
_INAUDIBLE = 1e-6  # fraction of a response's energy, -60 dB
_KEYS = {"apply_prob", "noise", "rir"}
_DEFAULT_PROBABILITY = 2 / 3  # as in the paper


class Augmenter:
    """Augments a crop with some probability, with noise or reverberation.

    Configuration (only ``scp`` is required)::

        apply_prob: 0.667  # probability of any augmentation
        noise:
        - {scp: noise.scp, snr: [0, 15], num: [1, 1], weight: 1.0}
        - {scp: music.scp, snr: [5, 15]}
        # babble: the sum of 3 to 8 recordings
        - {scp: speech.scp, snr: [13, 20], num: [3, 8], snr_of: sum}
        rir: {scp: rirs.scp, weight: 1.0}

    A list has lines of ``name path``, or of a path alone, as in ``voxceleb/spk1``. An
    entry is drawn by weight, then recordings from its list. SNR (dB) and number are
    uniform in their ranges, both ends included. Several recordings are different ones
    if the list has enough, and are scaled to equal power. ``snr_of`` is ``sum`` (the
    sum of the recordings has the SNR) or, as in Kaldi's and ESPnet's scripts, ``each``
    (each recording has its own SNR, so that the sum is louder).
    """

    def __init__(self, conf: Mapping, sample_rate: int):
        """Read the lists.

        Raises:
            SVError: Unknown keys, values out of range, missing or empty lists.
        """
        _known("augment_conf", conf, _KEYS)
        self.apply_prob = float(conf.get("apply_prob", _DEFAULT_PROBABILITY))
        if not 0 <= self.apply_prob <= 1:
            raise SVError(
                f"augment_conf: apply_prob is {self.apply_prob}; choose 0 to 1"
            )
        self._ways: list[_Noise | _Reverberation] = [
            _Noise(entry, sample_rate) for entry in conf.get("noise") or ()
        ]
        if conf.get("rir"):
            self._ways.append(_Reverberation(conf["rir"], sample_rate))
        weights = np.array([way.weight for way in self._ways], float)
        if len(weights) and (weights.min() < 0 or not 0 < weights.sum() < np.inf):
            raise SVError(
                "augment_conf: weights must be 0 or more, and at least one above 0"
            )
        self._bounds = np.cumsum(weights / weights.sum()) if len(weights) else weights

    def __call__(self, speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment ``speech`` (S,); the result has the same length and is float32."""
        if not self._ways or rng.random() >= self.apply_prob:
            return speech
        way = int(np.searchsorted(self._bounds, rng.random(), side="right"))
        return self._ways[min(way, len(self._ways) - 1)](speech, rng)


def add_noise(speech: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add ``noise`` (S,) to ``speech`` (S,) at an SNR (ratio of mean powers) in dB.

    If one of them is silent, the speech is returned unchanged.
    """
    speech_power, noise_power = _power(speech), _power(noise)
    if speech_power == 0 or noise_power == 0:
        return speech
    gain = np.sqrt(speech_power / noise_power * 10 ** (-snr / 10))
    noisy = np.float32(gain) * noise
    noisy += speech
    return noisy


def reverberate(speech: np.ndarray, rir: np.ndarray) -> np.ndarray:
    """Convolve ``speech`` (S,) with a room impulse response (R,).

    The response's strongest peak, the direct path, is moved to lag 0, so speech is not
    delayed; the result has the length and the mean power of ``speech``.
    """
    rir = audible(rir)
    direct = int(np.argmax(np.abs(rir)))
    length = _fft_length(len(speech) + len(rir) - 1)
    spectrum = rfft(speech, length)
    spectrum *= rfft(rir, length)
    wet = irfft(spectrum, length, overwrite_x=True)[direct : direct + len(speech)]
    power = _power(wet)
    if power == 0:
        return speech
    wet *= np.float32(np.sqrt(_power(speech) / power))
    return wet


def _fft_length(least: int) -> int:
    """Return a fast FFT length, at least ``least``, whose factors are mostly 2."""
    unit = 2048 if least > 16 * 2048 else 1
    return unit * next_fast_len(-(-least // unit), real=True)


def audible(rir: np.ndarray) -> np.ndarray:
    """Cut the tail of a response (R,) that has less than -60 dB of its energy."""
    left = np.cumsum(np.square(rir, dtype=np.float64)[::-1])
    return rir[: len(rir) - int(np.searchsorted(left, _INAUDIBLE * left[-1]))]


class _Noise:
    """Adds the sum of random crops from a list of recordings."""

    def __init__(self, conf: Mapping, sample_rate: int):
        _known("augment_conf: noise", conf, _NOISE_KEYS)
        conf = _NOISE_KEYS | dict(conf)
        self.table = _list(conf["scp"], "noise")
        self.snr = _range(conf, "snr", -100)
        self.num = _range(conf, "num", 1)
        if conf["snr_of"] not in _SNR_OF:
            raise SVError(
                f"augment_conf: snr_of is {conf['snr_of']}; choose from"
                f" {', '.join(_SNR_OF)}"
            )
        self.each = conf["snr_of"] == "each"
        self.weight = conf["weight"]
        self.sample_rate = sample_rate

    def __call__(self, speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = np.zeros_like(speech)
        num = int(rng.integers(int(self.num[0]), int(self.num[1]) + 1))
        again = num > len(self.table)
        for index in rng.choice(len(self.table), num, replace=again, shuffle=False):
            crop = _read(self.table, index, lambda s: self._crop(s, len(speech), rng))
            power = _power(crop)
            gain = 10 ** (-rng.uniform(*self.snr) / 20) if self.each else 1.0
            if power > 0:
                noise += np.float32(gain / np.sqrt(power)) * crop
        if self.each:
            noise *= np.float32(np.sqrt(_power(speech)))
            noise += speech
            return noise
        return add_noise(speech, noise, rng.uniform(*self.snr))

    def _crop(self, source, length: int, rng: np.random.Generator) -> np.ndarray:
        return read_crop(source, self.sample_rate, length, rng)


class _Reverberation:
    """Convolves speech with a random channel of a random impulse response."""

    def __init__(self, conf: Mapping, sample_rate: int):
        _known("augment_conf: rir", conf, _RIR_KEYS)
        conf = _RIR_KEYS | dict(conf)
        self.table = _list(conf["scp"], "rir")
        self.weight = conf["weight"]
        self.sample_rate = sample_rate

    def __call__(self, speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        index = int(rng.integers(len(self.table)))
        return reverberate(
            speech, _read(self.table, index, lambda s: self._response(s, rng))
        )

    def _response(self, source, rng: np.random.Generator) -> np.ndarray:
        channel = 1 + int(rng.integers(source.channels))
        total = length_at(source, self.sample_rate)
        return read_section(source, self.sample_rate, 0, total, channel)


def _read(
    table: KaldiTable, index: int, read: Callable[[AudioSource], np.ndarray]
) -> np.ndarray:
    """Open an entry and read it; SVError names the list and the entry."""
    try:
        with open_audio(table.value(index) or table.key(index)) as source:
            return read(source)
    except SVError as e:
        raise SVError(f"{table.name}: {table.key(index)}: {e}") from e


def _power(x: np.ndarray) -> float:
    return float(np.dot(x, x)) / len(x)


def _list(scp, kind: str) -> KaldiTable:
    if scp is None:
        raise SVError(
            f"augment_conf: a {kind} entry has no scp; name its list of recordings"
        )
    if isinstance(scp, str | os.PathLike):
        table = KaldiTable.read(scp, allow_empty_values=True)
    else:
        table = KaldiTable.of(scp, f"{kind} list")
    if not len(table):
        raise SVError(f"{table.name}: the {kind} list is empty")
    return table


def _range(conf: Mapping, key: str, least: float) -> tuple[float, float]:
    """Return a range as (low, high), given as a pair or as one number."""
    value = conf[key] if isinstance(conf[key], list | tuple) else (conf[key],) * 2
    if len(value) != 2 or not least <= value[0] <= value[1]:
        raise SVError(
            f"augment_conf: {key} is {conf[key]}; give [low, high], {least} or more, in"
            " order"
        )
    return float(value[0]), float(value[1])


def _known(where: str, conf: Mapping, keys) -> None:
    if unknown := sorted(set(conf) - set(keys)):
        raise SVError(
            f"{where}: unknown key {unknown[0]}; choose from {', '.join(sorted(keys))}"
        )
