"""How well each layer of a model tells speakers apart, without any training."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_sv.data.kaldi import read_two_column, write_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.inference.embedder import process_wav_scp
from espnet2_sv.inference.layer_statistics import Layer, LayerExtractor
from espnet2_sv.scoring.cosine import cosine_scores, length_normalise
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.scoring.intervals import Resampling, with_intervals
from espnet2_sv.scoring.metrics import equal_error_rate
from espnet2_sv.scoring.speakers import Speakers, read_joined, speakers_of
from espnet2_sv.scoring.trials import Trials, read_trials

Path_ = str | os.PathLike
# A deviation below this share of the largest is no information, but rounding.
SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True)
class LayerResult:
    """The error rate of a layer.

    Attributes:
        name: The layer.
        eer: Equal error rate in percent.
        eer_ci95: Its 95 % interval, or None.
    """

    name: str
    eer: float
    eer_ci95: list[float] | None


def probe_layers(
    wav_scp: Path_,
    trials: Path_,
    output_dir: Path_,
    *,
    asr: Path_ | None = None,
    model: Path_ | None = None,
    norm_wav_scp: Path_ | None = None,
    utt2spk: Sequence[Path_] | None = None,
    resampling: Resampling | None = None,
    **options: Any,
) -> list[LayerResult]:
    """Find the equal error rate of every layer of a model on a list of trials.

    An utterance is the mean and the standard deviation over time of a layer's frames; each of the
    two halves is length-normalised, and a score is the cosine of the two utterances' vectors. The
    embedding of an adaptor is taken as it is.

    The statistics are kept in ``output_dir``, so that a repeated call goes on where it was killed.

    Args:
        wav_scp: Utterance and audio a line; more than the trials need is no harm.
        trials: The list of trials.
        output_dir: Where statistics go.
        asr: An ASR model, from any source; or the one that an adaptor ``model`` reads.
        model: A speaker model, from any source; of an adaptor, its streams are the layers.
        norm_wav_scp: Other recordings, by whose mean and deviation every place is standardised
            first.
        utt2spk: Speakers of the utterances; intervals then resample speakers and not trials.
        resampling: How to find intervals; 1,000 times by default.
        options: Of :func:`espnet2_sv.inference.embedder.process_wav_scp`.

    Raises:
        SVError: Neither model is given, an utterance is missing, or the list for standardising
            shares utterances with the trials.
    """
    if asr is None and model is None:
        raise SVError("give a model to probe: asr, an ASR model, or model, a speaker model")
    output_dir, pairs = Path(output_dir), read_trials(trials)
    extractor = LayerExtractor.find(asr, model)
    layers = extractor.network().layers()
    names = list(dict.fromkeys([*pairs.enroll_names, *pairs.test_names]))
    wavs = read_two_column(wav_scp)
    missing = [name for name in names if name not in wavs]
    if missing:
        raise SVError(f"{wav_scp}: has no {missing[0]}, which {trials} names")
    norm_wavs = read_two_column(norm_wav_scp) if norm_wav_scp is not None else {}
    shared = [name for name in names if name in norm_wavs]
    if shared:
        raise SVError(f"{norm_wav_scp}: {shared[0]} is tested; standardise with other recordings")
    speakers = None
    if utt2spk:
        speakers = speakers_of(pairs, read_joined(utt2spk), str(trials))
    vectors = _extract(extractor, {name: wavs[name] for name in names}, output_dir, **options)
    norm = None
    if norm_wavs:
        norm = _extract(extractor, norm_wavs, output_dir / "norm", **options)
    rows = {name: row for row, name in enumerate(names)}
    index = [
        np.array([rows[name] for name in side])[codes]
        for side, codes in (
            (pairs.enroll_names, pairs.enroll_index),
            (pairs.test_names, pairs.test_index),
        )
    ]
    results = []
    for layer in layers:
        places = slice(layer.start, layer.start + layer.size)
        side = _vectors(layer, vectors[:, places], None if norm is None else norm[:, places])
        scores = cosine_scores(side, side, *index)
        results.append(_result(layer.name, scores, pairs, speakers, resampling or Resampling()))
    return results


def _extract(
    extractor: LayerExtractor, wavs: Mapping[str, str], folder: Path, **options: Any
) -> np.ndarray:
    """Return the statistics of recordings (N, all layers), in their order."""
    write_two_column(folder / "wav.scp", wavs)
    process_wav_scp(extractor, folder / "wav.scp", folder / "statistics", **options)
    return read_embeddings(folder / "statistics" / "xvector.scp", wavs)[1]


def _vectors(layer: Layer, values: np.ndarray, norm: np.ndarray | None) -> np.ndarray:
    """Standardise the statistics of a layer (N, size), and bring its halves to one length."""
    if norm is not None:
        deviation = norm.std(axis=0)
        deviation = np.maximum(deviation, SMALLEST_DEVIATION * max(deviation.max(), 1e-30))
        values = (values - norm.mean(axis=0)) / deviation
    if layer.name == "embedding":
        return values
    return np.hstack([length_normalise(half) for half in np.split(values, 2, axis=1)])


def _result(
    name: str,
    scores: np.ndarray,
    trials: Trials,
    speakers: Speakers | None,
    resampling: Resampling,
) -> LayerResult:
    found = with_intervals(scores, trials.labels, speakers, resampling)
    eer = 100 * equal_error_rate(scores, trials.labels).eer
    return LayerResult(name, float(eer), found["eer_ci95"])
