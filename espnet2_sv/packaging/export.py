"""Export of a speaker model to ONNX, checked against the model itself."""

import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import espnet2_sv
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write, read_json
from espnet2_sv.inference.decision import CALIBRATION_FILE, THRESHOLD_FILE
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.models.traceable import TraceableSpeakerModel
from espnet2_sv.zoo.source import SpeakerSource

QUANTIZATIONS = ("int8",)
_PACKAGES = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class ExportReport:
    """What :func:`export_onnx` wrote.

    Attributes:
        megabytes: Size of the file.
        max_difference: Largest difference between the embeddings of the float32 graph
            and of the model, of any value, relative to the embedding's norm.
        min_cosine: Smallest cosine between them.
        int8_weights: Fraction of the weights that are 8-bit integers.
        int8_min_cosine: Smallest cosine between the embeddings of the quantised graph
            and of the model, for synthetic speech; None without quantisation.
    """

    megabytes: float
    max_difference: float
    min_cosine: float
    int8_weights: float = 0.0
    int8_min_cosine: float | None = None


def export_onnx(
    source: SpeakerSource | str | Path,
    path: str | Path,
    *,
    asr: str | Path | None = None,
    quantize: str | None = None,
) -> ExportReport:
    """Write a speaker model as one ONNX file, from audio to embeddings.

    The inputs are ``waveform`` (B, S), float32 at the model's sampling rate, and
    ``lengths`` (B,), int64, the valid samples of each. The output is ``embedding``
    (B, E), float32, not length-normalised. An embedding is that of the utterance alone,
    whatever it is batched with; it is NaN where the length is below the model's
    ``minimum_samples`` or above S. For the metadata see :func:`metadata`.

    Args:
        source: The speaker model: a tag, zip, unpacked or training directory.
        path: The file to write. It appears once its embeddings were found to be those
            of the model.
        asr: The ASR model that an adaptor reads, if it is not where training had it.
        quantize: ``"int8"`` makes the weights of linear layers 8-bit integers, and
            their inputs, too, by the range of each (dynamic quantisation).

    Raises:
        SVError: A package is missing, the model cannot be exported, or its embeddings
            differ.
    """
    require_packages()
    if not isinstance(source, SpeakerSource):
        source = SpeakerSource.resolve(source, asr=asr)
    source.require_own("sv_export supports those of this project only")
    model, _ = load_speaker_model(source)
    data, report = to_onnx(model, metadata(source, model, quantize), quantize)
    with atomic_write(path, "wb") as stream:
        stream.write(data)
    return report


def to_onnx(
    model: SpeakerModel, facts: dict[str, str], quantize: str | None = None
) -> tuple[bytes, ExportReport]:
    """Return the contents of an ONNX file; see :func:`export_onnx`.

    Args:
        model: The model, in eval mode on the CPU.
        facts: The metadata.
        quantize: As for :func:`export_onnx`.

    Raises:
        SVError: The model cannot be exported, or its embeddings differ.
    """
    from espnet2_sv.packaging.onnx_check import CheckSignals
    from espnet2_sv.packaging.onnx_graph import (
        over_utterances,
        quantize_linear,
        serialize,
        trace,
    )

    if quantize not in (None, *QUANTIZATIONS):
        raise SVError(
            f"quantize {quantize!r} is unknown; choose {' or '.join(QUANTIZATIONS)}"
        )
    network = TraceableSpeakerModel(model, linear_convolutions=quantize is not None)
    graph = trace(network)
    signals = CheckSignals(model)
    data = serialize(over_utterances(graph, network), facts)
    difference, cosine = signals.require_equal(data)
    if quantize is None:
        return data, ExportReport(len(data) / 1e6, difference, cosine)
    graph, share = quantize_linear(graph)
    if share < 0.5:
        logging.warning(
            f"int8 gains little: {100 * share:.0f} % of the weights are those of linear"
            " layers"
        )
    data = serialize(over_utterances(graph, network), facts)
    _, int8_cosine = signals.compare(data)
    return data, ExportReport(len(data) / 1e6, difference, cosine, share, int8_cosine)


def metadata(
    source: SpeakerSource, model: SpeakerModel, quantize: str | None = None
) -> dict[str, str]:
    """Return what a program needs beside the graph, as text by name.

    Args:
        source: The speaker model.
        model: The same, loaded.
        quantize: How the graph is quantised.

    Returns:
        ``sample_rate`` (Hz), ``minimum_samples``, ``embedding_size``,
        ``length_normalised`` (false), ``quantization``, ``fingerprint`` (hashes of
        configuration and weights, separated by a space), ``sv_task``, ``producer``
        and, where the model has them, the contents of ``threshold.json`` and
        ``calibration.json`` as ``threshold`` and ``calibration``.

    Raises:
        SVError: One of those files is not JSON.
    """
    facts = {
        "sample_rate": str(model.backbone.sample_rate),
        "minimum_samples": str(model.backbone.minimum_samples),
        "embedding_size": str(model.head.embed_dim),
        "length_normalised": "false",
        "quantization": quantize or "none",
        "fingerprint": " ".join(source.fingerprint()),
        "sv_task": source.task,
        "producer": f"espnet2_sv {espnet2_sv.__version__}",
    }
    for key, name in (("threshold", THRESHOLD_FILE), ("calibration", CALIBRATION_FILE)):
        if (source.folder / name).exists():
            facts[key] = json.dumps(read_json(source.folder / name))
    return facts


def require_packages() -> None:
    """Check that the packages of the extra ``export`` are installed.

    Raises:
        SVError: One is missing.
    """
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise SVError(
                f"the package {package} is missing: pip install 'espnet2_sv[export]'"
            )
