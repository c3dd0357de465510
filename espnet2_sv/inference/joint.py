"""Text and speaker embedding of waveforms, from one pass of the ASR model's encoder."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from espnet2_sv.asr.recogniser import Recogniser
from espnet2_sv.errors import SVError
from espnet2_sv.inference.waveforms import EmbeddingResult, WaveformEmbedder
from espnet2_sv.models.adaptor_model import find_asr, load_on
from espnet2_sv.models.load import check_device, task_name
from espnet2_sv.zoo.source import ModelFiles


class JointRecogniser(WaveformEmbedder):
    """Transcribes and embeds waveforms; see :class:`WaveformEmbedder`.

    A recording longer than ``max_seconds`` is transcribed in the pieces it is embedded
    in.

    Args:
        model: A speaker adaptor on the recogniser's own ASR model, in eval mode.
        recogniser: Decodes, and runs the encoder for both.
        options: Further arguments of :class:`WaveformEmbedder`.
    """

    def __init__(self, model: torch.nn.Module, recogniser: Recogniser, **options: Any):
        super().__init__(model, **options)
        self.recogniser = recogniser

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        if self.recogniser.one_by_one:
            return [[i] for i in range(len(lengths))]
        return super()._batches(lengths)

    def _cores(self) -> int:
        return 1 if self.recogniser.one_by_one else super()._cores()

    def _networks(self) -> list[torch.nn.Module]:
        return [self.recogniser.asr_model, *super()._networks()]

    def _precision(self):
        """Mixed precision if asked for; otherwise nothing, so that results are ESPnet's own."""
        return nullcontext() if self.dtype == "float32" else super()._precision()

    @torch.no_grad()
    def _process(self, waves: list[torch.Tensor]) -> list[EmbeddingResult]:
        with self._precision():
            transcripts, captured = self.recogniser(*self._padded(waves))
            embeddings = self.model.head(captured.blocks, captured.lengths)
        rows = embeddings.float().cpu()
        return [
            EmbeddingResult(row, said)
            for row, said in zip(rows, transcripts, strict=True)
        ]


def load_joint(
    config: str | Path,
    weights: str | Path,
    asr: ModelFiles,
    device: str = "cpu",
    decode: str | None = None,
    **options: Any,
) -> tuple[torch.nn.Module, Recogniser]:
    """Load a speaker adaptor and the ASR model that it reads, which is in memory once.

    Args:
        config: The adaptor's config.yaml.
        weights: The adaptor's weights.
        asr: The ASR model's files, see :func:`find_joint_asr`.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        decode: ``"greedy"`` or ``"beam"``, see :meth:`Recogniser.load`.
        options: Decoding options of ESPnet's ``Speech2Text``.

    Raises:
        SVError: The two do not belong together, or the ASR model cannot be decoded in
            this way.
    """
    check_device(device)
    recogniser = Recogniser.load(asr, device, decode, **options)
    model, _ = load_on(recogniser.bundle, config, weights, device)
    return model.eval(), recogniser


def find_joint_asr(config: str | Path, asr: str | Path | None = None) -> ModelFiles:
    """Find the ASR model of a speaker adaptor, see ``adaptor_model.find_asr``.

    Raises:
        SVError: There is none, or the speaker model is of a kind that does not read
            one.
    """
    name = task_name(config)
    if name != "adaptor":
        raise SVError(
            f"{config}: is a speaker model of its own (sv_task {name}); only an adaptor"
            " gives text and embedding in one pass"
        )
    return find_asr(config, asr)
