"""What a list of recordings is turned into: plain data that each process gets."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from espnet2_sv.asr.prompt import SYMBOLS
from espnet2_sv.asr.recogniser import Recogniser
from espnet2_sv.inference.waveforms import (
    JOINT_MAX_SECONDS,
    MAX_SECONDS,
    EmbeddingResult,
    WaveformEmbedder,
    check_waveform,
    merge_pieces,
)
from espnet2_sv.models.load import check_device, load_adaptor
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.models.stock_model import load_embedding_model
from espnet2_sv.zoo.files import file_sha256
from espnet2_sv.zoo.source import SpeakerSource


@dataclass(frozen=True)
class Precision:
    """Settings of :class:`WaveformEmbedder`.

    Attributes:
        dtype: float32, or float16 / bfloat16 for mixed precision.
        max_seconds: Longest piece that is processed in one go.
        batch_seconds: Bound on a batch's padded length, in seconds.
    """

    dtype: str = "float32"
    max_seconds: float = MAX_SECONDS
    batch_seconds: float = 240.0


class Extractor(Protocol):
    """Turns recordings into results.

    Attributes:
        gives_text: Whether the results have transcripts.
        max_seconds: Longest piece that is processed in one go, by default.
    """

    gives_text: ClassVar[bool]
    max_seconds: ClassVar[float]

    def load(self, device: str, precision: Precision) -> WaveformEmbedder:
        """Load the model."""

    def fingerprint(self) -> Any:
        """Return plain data that differs where results may differ."""


@dataclass(frozen=True)
class EmbeddingExtractor:
    """Speaker embeddings.

    Attributes:
        source: The speaker model.
    """

    gives_text: ClassVar[bool] = False
    max_seconds: ClassVar[float] = MAX_SECONDS

    source: SpeakerSource

    def load(self, device: str, precision: Precision) -> WaveformEmbedder:
        """Load the model."""
        model, _ = load_embedding_model(self.source, device)
        return WaveformEmbedder(model, **asdict(precision))

    def fingerprint(self) -> list[str]:
        """Return hashes of config and weights."""
        return self.source.fingerprint()


@dataclass(frozen=True)
class JointExtractor:
    """Transcripts and speaker embeddings.

    Attributes:
        source: The adaptor and its ASR model.
        decode: How to decode, see :meth:`espnet2_sv.asr.recogniser.Recogniser.load`.
        options: Decoding options.
    """

    gives_text: ClassVar[bool] = True
    max_seconds: ClassVar[float] = JOINT_MAX_SECONDS

    source: SpeakerSource
    decode: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def load(self, device: str, precision: Precision) -> "JointRecogniser":
        """Load both models."""
        model, recogniser = load_joint(self.source, device, self.decode, **self.options)
        return JointRecogniser(model, recogniser, **asdict(precision))

    def fingerprint(self) -> list:
        """Return hashes of the files, and how to decode.

        The adaptor's weights hold the hash of the ASR weights.
        """
        asr_config = file_sha256(self.source.joint_asr().config)
        return [*self.source.fingerprint(), asr_config, self.decode, self.options]


class JointRecogniser(WaveformEmbedder):
    """Transcribes and embeds waveforms, from one pass of the ASR model's encoder.

    A recording longer than ``max_seconds``, or than the ASR model is made for, is
    transcribed in the pieces it is embedded in. With OWSM-CTC, greedy decoding and the
    longest pieces these are overlapping buffers, as in ESPnet's ``decode_long``.

    Args:
        model: A speaker adaptor on the recogniser's own ASR model, in eval mode.
        recogniser: Decodes, and runs the encoder for both.
        options: Further arguments of :class:`WaveformEmbedder`.
    """

    halves_long = False  # each cut may lose or break a word

    def __init__(self, model: SpeakerModel, recogniser: Recogniser, **options: Any):
        super().__init__(model, **options)
        self.head = model.head
        self.recogniser = recogniser
        if recogniser.longest is not None:
            self.max_samples = min(self.max_samples, recogniser.longest)

    def results(
        self, waves: Sequence[np.ndarray | torch.Tensor]
    ) -> list[EmbeddingResult]:
        """Process waveforms; return transcripts and embeddings."""
        if not self._buffered:
            return super().results(waves)
        checked = [check_waveform(wave) for wave in waves]
        is_long = [len(wave) > self.max_samples for wave in checked]
        pairs = list(zip(checked, is_long, strict=True))
        others = iter(super().results([wave for wave, long in pairs if not long]))
        return [self._long(wave) if long else next(others) for wave, long in pairs]

    @property
    def _buffered(self) -> bool:
        longest = self.recogniser.longest
        return self.recogniser.buffers is not None and self.max_samples == longest

    @torch.no_grad()
    def _long(self, wave: torch.Tensor) -> EmbeddingResult:
        """Transcribe and embed a long recording (S,) in overlapping buffers."""
        buffers = self.recogniser.buffers
        assert buffers is not None, "a condition of the caller"
        pieces = buffers.cut(wave)
        lengths = buffers.lengths(len(wave), len(pieces))
        size = max(1, self.batch_samples // buffers.samples)
        tokens: list[torch.Tensor] = []
        rows: list[torch.Tensor] = []
        with self._progress(len(wave) / self.sample_rate) as progress:
            for batch, valid in zip(
                pieces.split(size), lengths.split(size), strict=True
            ):
                with self._precision():
                    best, captured = self.recogniser.read_buffers(batch.to(self.device))
                    spoken = valid > 0  # the last may be nothing but context
                    blocks = [x[spoken.to(x.device)] for x in captured.blocks]
                    if spoken.any():
                        rows.append(self.head(blocks, valid[spoken]).float().cpu())
                tokens.append(best)
                progress(int(valid.sum()) * buffers.frame / self.sample_rate)
        frames = torch.cat(tokens).flatten()[: int(lengths.sum())]
        embedding = merge_pieces(torch.cat(rows), lengths[lengths > 0].tolist())
        return EmbeddingResult(embedding, self.recogniser.transcript(frames.tolist()))

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        if self.recogniser.one_by_one:
            return [[i] for i in range(len(lengths))]
        if self.recogniser.window is not None:  # all are padded to it
            lengths = [self.recogniser.window] * len(lengths)
        return super()._batches(lengths)

    def _cores(self) -> int:
        return 1 if self.recogniser.one_by_one else super()._cores()

    def _networks(self) -> list[torch.nn.Module]:
        return [self.recogniser.asr_model, *super()._networks()]

    def _precision(self):
        """Use mixed precision if asked for; otherwise compute as ESPnet does."""
        return nullcontext() if self.dtype == "float32" else super()._precision()

    @torch.no_grad()
    def _process(self, waves: list[torch.Tensor]) -> list[EmbeddingResult]:
        with self._precision():
            transcripts, captured = self.recogniser(*self._padded(waves))
            embeddings = self.head(captured.blocks, captured.lengths)
        rows = embeddings.float().cpu()
        pairs = zip(rows, transcripts, strict=True)
        return [EmbeddingResult(row, transcript) for row, transcript in pairs]


def load_joint(
    source: SpeakerSource,
    device: str = "cpu",
    decode: str | None = None,
    **options: Any,
) -> tuple[SpeakerModel, Recogniser]:
    """Load a speaker adaptor and the ASR model that it reads, which is in memory once.

    Args:
        source: The adaptor.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        decode: ``"greedy"`` or ``"beam"``, see :meth:`Recogniser.load`.
        options: Decoding options of ESPnet's ``Speech2Text``. ``lang_sym`` and
            ``task_sym``, which the encoder of OWSM-CTC reads, are by default those that
            the adaptor was trained with; there is a warning if they are others.

    Raises:
        SVError: This is no adaptor, the two models do not belong together, or the ASR
            model cannot be decoded in this way.
    """
    check_device(device)
    settings = source.files.settings
    trained = {name: settings[name] for name in SYMBOLS if settings.get(name)}
    options = trained | options
    recogniser = Recogniser.load(source.joint_asr(), device, decode, **options)
    for name, symbol in trained.items():
        if options[name] != symbol:
            logging.warning(
                "%s %s: the speaker model was trained with %s, which the encoder reads;"
                " embeddings differ from those of sv_embed",
                name,
                options[name],
                symbol,
            )
    model, _ = load_adaptor(recogniser.bundle, source.files, device)
    return model.eval(), recogniser
