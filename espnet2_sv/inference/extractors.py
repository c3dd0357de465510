"""What can be made of every recording of a list: plain data that each process gets a copy of."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from espnet2_sv.inference.joint import JointRecogniser, find_joint_asr, load_joint
from espnet2_sv.inference.waveforms import WaveformEmbedder
from espnet2_sv.models.adaptor_model import find_asr
from espnet2_sv.models.load import load_from_files, task_name
from espnet2_sv.zoo.source import ModelFiles, file_sha256, find_model_files


@dataclass(frozen=True)
class Precision:
    """Settings of :class:`WaveformEmbedder`.

    Attributes:
        dtype: float32, or float16 / bfloat16 for mixed precision.
        max_seconds: Longest piece that is processed in one go.
        batch_seconds: Bound on a batch's padded length.
    """

    dtype: str = "float32"
    max_seconds: float = 120.0
    batch_seconds: float = 240.0


class Extractor(Protocol):
    """Something that is made of recordings.

    Attributes:
        gives_text: Whether there are transcripts among the results.
    """

    gives_text: ClassVar[bool]

    def load(self, device: str, precision: Precision) -> WaveformEmbedder:
        """Load the model."""

    def fingerprint(self) -> Any:
        """Return plain data that differs where results may differ."""


@dataclass(frozen=True)
class EmbeddingExtractor:
    """Speaker embeddings.

    Attributes:
        config: The model's config.yaml.
        weights: Its weights.
        asr: Folder of the ASR model that an adaptor reads.
    """

    gives_text: ClassVar[bool] = False

    config: Path
    weights: Path
    asr: Path | None = None

    @classmethod
    def find(
        cls,
        source: str | Path,
        model_file: str | Path | None = None,
        asr: str | Path | None = None,
    ) -> "EmbeddingExtractor":
        """Find a speaker model; see :func:`espnet2_sv.models.load.load_speaker_model`.

        Args:
            source: The speaker model.
            model_file: Weights other than the best of a training run.
            asr: The ASR model of a speaker adaptor.
        """
        files = find_model_files(source, kinds="sv")
        if task_name(files.config) == "adaptor":  # found once, not in every process
            asr = find_asr(files.config, asr).root
        return cls(files.config, Path(model_file or files.weights), asr)

    def load(self, device: str, precision: Precision) -> WaveformEmbedder:
        """Load the model."""
        model, _ = load_from_files(self.config, self.weights, device, self.asr)
        return WaveformEmbedder(model, **asdict(precision))

    def fingerprint(self) -> list[str]:
        """Return hashes of config and weights; an adaptor's weights name their ASR model."""
        return [file_sha256(self.config), file_sha256(self.weights)]


@dataclass(frozen=True)
class JointExtractor:
    """Transcripts and speaker embeddings.

    Attributes:
        config: The adaptor's config.yaml.
        weights: Its weights.
        asr: The ASR model.
        decode: How to decode, see :meth:`espnet2_sv.asr.recogniser.Recogniser.load`.
        options: Decoding options.
    """

    gives_text: ClassVar[bool] = True

    config: Path
    weights: Path
    asr: ModelFiles
    decode: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def find(
        cls,
        source: str | Path,
        model_file: str | Path | None = None,
        asr: str | Path | None = None,
        decode: str | None = None,
        **options: Any,
    ) -> "JointExtractor":
        """Find a speaker adaptor and its ASR model; arguments as of ``EmbeddingExtractor.find``."""
        files = find_model_files(source, kinds="sv")
        asr_files = find_joint_asr(files.config, asr)
        return cls(
            files.config, Path(model_file or files.weights), asr_files, decode, options
        )

    def load(self, device: str, precision: Precision) -> JointRecogniser:
        """Load both models."""
        model, recogniser = load_joint(
            self.config, self.weights, self.asr, device, self.decode, **self.options
        )
        return JointRecogniser(model, recogniser, **asdict(precision))

    def fingerprint(self) -> list:
        """Return hashes of both models' files, and how to decode."""
        paths = (self.config, self.weights, self.asr.config)
        return [*map(file_sha256, paths), self.decode, self.options]
