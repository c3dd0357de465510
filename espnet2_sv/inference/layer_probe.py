"""Speaker information in each layer of a model, measured without training."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.backbones.build import Backbone
from espnet2_sv.data.kaldi import read_two_column, write_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.heads.pooling import statistics
from espnet2_sv.inference.embedder import process_wav_scp
from espnet2_sv.inference.extractors import Precision
from espnet2_sv.inference.waveforms import WaveformEmbedder
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.scoring.cosine import cosine_scores, length_normalise
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.scoring.intervals import Resampling, with_intervals
from espnet2_sv.scoring.metrics import equal_error_rate
from espnet2_sv.scoring.plots import plain
from espnet2_sv.scoring.report import markdown_table
from espnet2_sv.scoring.trials import (
    Speakers,
    Trials,
    read_joined,
    read_trials,
    speakers_of,
)
from espnet2_sv.zoo.files import ModelFiles, find_model_files
from espnet2_sv.zoo.source import SpeakerSource

Path_ = str | os.PathLike
# Deviations below this fraction of the largest are rounding errors
SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Layer:
    """A layer and the position of its statistics in the vector of all layers.

    Attributes:
        name: For example ``block 7``.
        start: First index.
        size: Number of values: 2C for frames of C channels, means first.
    """

    name: str
    start: int
    size: int


class LayerStatistics(torch.nn.Module):
    """Pools every layer of a network into mean and standard deviation over time.

    The layers are the encoder's blocks. For a speaker adaptor they are its streams,
    and its embedding is the last layer.

    Args:
        backbone: Speech to block outputs.
        adaptor: The speaker adaptor on it, if there is one.
    """

    def __init__(self, backbone: Backbone, adaptor: SpeakerAdaptor | None = None):
        super().__init__()
        self.backbone = backbone
        self.adaptor = adaptor

    @torch.no_grad()
    def embed(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the concatenated statistics of all layers.

        Args:
            speech: Waveforms (B, S).
            lengths: Valid samples (B,).

        Returns:
            Statistics (B, sum of the layers' sizes).
        """
        blocks, lengths = self.backbone(speech, lengths)
        if self.adaptor is None:
            return torch.cat([statistics(block, lengths) for block in blocks], dim=-1)
        streams = self.adaptor.streams(blocks, lengths)
        embedding = self.adaptor.projection(streams, lengths)
        return torch.cat(
            [*(statistics(s, lengths) for s in streams), embedding.float()], dim=-1
        )

    def layers(self) -> list[Layer]:
        """Return the layers in the order of :meth:`embed`."""
        if self.adaptor is None:
            size = 2 * self.backbone.block_dim
            names = [f"block {i + 1}" for i in range(self.backbone.num_blocks)]
            return [Layer(name, i * size, size) for i, name in enumerate(names)]
        adaptor = self.adaptor
        size = 2 * adaptor.light.positions.d_model
        names = [f"adaptor of block {i}" for i in adaptor.read_blocks]
        names += [f"light block {i + 1}" for i in range(len(adaptor.light.blocks))]
        streams = [Layer(name, i * size, size) for i, name in enumerate(names)]
        return [*streams, Layer("embedding", len(streams) * size, adaptor.embed_dim)]


@dataclass(frozen=True)
class LayerExtractor:
    """Statistics of the layers of an ASR model or a speaker model.

    Attributes:
        source: The model.
    """

    gives_text: ClassVar[bool] = False
    max_seconds: ClassVar[float] = 120.0  # statistics of whole recordings

    source: ModelFiles | SpeakerSource

    @classmethod
    def find(cls, asr: Path_ | None, model: Path_ | None) -> "LayerExtractor":
        """Find a model.

        Args:
            asr: An ASR model, from any source; or the one that an adaptor ``model``
                reads.
            model: A speaker model, from any source.

        Raises:
            SVError: Neither is given, or the model cannot be found.
        """
        if model is not None:
            source = SpeakerSource.resolve(model, asr=asr)
            source.require_own("only the layers of models of this project are probed")
            return cls(source)
        if asr is None:
            raise SVError(
                "give a model to probe: asr, an ASR model, or model, a speaker model"
            )
        return cls(find_model_files(asr, "asr"))

    def network(self, device: str = "cpu") -> LayerStatistics:
        """Load the network."""
        if isinstance(self.source, SpeakerSource):
            model, _ = load_speaker_model(self.source, device)
            adaptor = model.head if isinstance(model.head, SpeakerAdaptor) else None
            return LayerStatistics(model.backbone, adaptor).eval()
        backbone = load_asr_bundle(self.source, device).backbone()
        backbone.set_frozen(True)
        return LayerStatistics(backbone).eval()

    def load(self, device: str, precision: Precision) -> WaveformEmbedder:
        """Load the network for embedding lists of recordings."""
        return WaveformEmbedder(self.network(device), **asdict(precision))

    def fingerprint(self) -> list[str]:
        """Return hashes of the model's files."""
        return self.source.fingerprint()


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
    """Measure the equal error rate of every layer of a model on a trial list.

    An utterance is represented by the mean and the standard deviation of a layer's
    frames over time, each length-normalised; a score is the cosine of two such vectors.
    The embedding of an adaptor is used unchanged.

    The statistics are kept in ``output_dir``, so that a repeated call continues where
    the last one was killed.

    Args:
        wav_scp: Kaldi wav.scp; utterances that the trials do not use are ignored.
        trials: The trial list.
        output_dir: Directory for the statistics.
        asr: An ASR model, from any source; or the one that an adaptor ``model`` reads.
        model: A speaker model, from any source; the layers of an adaptor are its
            streams.
        norm_wav_scp: Other recordings, whose mean and standard deviation are used to
            standardise every value first.
        utt2spk: Speakers of the utterances; intervals then resample speakers instead of
            trials.
        resampling: How to compute intervals; 1,000 samples by default.
        options: Of :func:`espnet2_sv.inference.embedder.process_wav_scp`.

    Raises:
        SVError: No model is given, an utterance is missing, or ``norm_wav_scp`` shares
            utterances with the trials.
    """
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
        raise SVError(
            f"{norm_wav_scp}: {shared[0]} is tested; standardise with other recordings"
        )
    speakers = None
    if utt2spk:
        speakers = speakers_of(pairs, read_joined(utt2spk), str(trials))
    vectors = _extract(
        extractor, {name: wavs[name] for name in names}, output_dir, **options
    )
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
        columns = slice(layer.start, layer.start + layer.size)
        side = _vectors(
            layer, vectors[:, columns], None if norm is None else norm[:, columns]
        )
        scores = cosine_scores(side, side, *index)
        results.append(
            _result(layer.name, scores, pairs, speakers, resampling or Resampling())
        )
    return results


def _extract(
    extractor: LayerExtractor, wavs: Mapping[str, str], folder: Path, **options: Any
) -> np.ndarray:
    """Return the statistics of recordings (N, sum of the layers' sizes), in order."""
    write_two_column(folder / "wav.scp", wavs)
    process_wav_scp(extractor, folder / "wav.scp", folder / "statistics", **options)
    return read_embeddings(folder / "statistics" / "xvector.scp", wavs)[1]


def _vectors(layer: Layer, values: np.ndarray, norm: np.ndarray | None) -> np.ndarray:
    """Standardise the statistics of a layer (N, size); length-normalise its halves."""
    if norm is not None:
        deviation = norm.std(axis=0)
        deviation = np.maximum(
            deviation, SMALLEST_DEVIATION * max(deviation.max(), 1e-30)
        )
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


def write_report(results: Sequence[LayerResult], output_dir: Path, title: str) -> str:
    """Write layer_probe.md, layer_probe.json and layer_probe.png.

    Args:
        results: One per layer.
        output_dir: Directory to write to.
        title: Title of the page and of the plot.

    Returns:
        The Markdown.
    """
    best = min(results, key=lambda result: result.eer)
    rows = [
        [f"**{r.name}**" if r is best else r.name, f"{r.eer:.2f}", _bracket(r)]
        for r in results
    ]
    table = markdown_table(["layer", "EER (%)", "95 % interval (%)"], rows)
    text = (
        f"# {title}\n\n{table}\nAn embedding is the mean and the standard deviation of"
        " a layer's output over time; scores are cosines. The best layer is in bold.\n"
    )
    content = {
        "title": title,
        "best": best.name,
        "layers": [asdict(r) for r in results],
    }
    _plot(results, output_dir / "layer_probe.png", title)
    with atomic_write(output_dir / "layer_probe.md") as stream:
        stream.write(text)
    with atomic_write(output_dir / "layer_probe.json") as stream:
        stream.write(json.dumps(content, indent=2) + "\n")
    return text


def _bracket(result: LayerResult) -> str:
    if result.eer_ci95 is None:
        return "-"
    low, high = result.eer_ci95
    return f"{low:.2f} to {high:.2f}"


def _plot(results: Sequence[LayerResult], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    width = max(6.4, 0.35 * len(results) + 2)
    figure = Figure(figsize=(width, 4.2), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for x, result in enumerate(results):
        if result.eer_ci95 is not None:
            low, high = result.eer_ci95
            axes.vlines(x, low, high, color="C0", alpha=0.4, linewidth=4)
    axes.plot([result.eer for result in results], "o-", color="C0")
    axes.set_xticks(
        range(len(results)), [r.name for r in results], rotation=60, ha="right"
    )
    axes.set(ylabel="EER (%)", title=plain(title), ylim=(0, None))
    axes.grid(color="0.9")
    with atomic_write(path, "wb") as stream:
        figure.savefig(stream, format="png")
