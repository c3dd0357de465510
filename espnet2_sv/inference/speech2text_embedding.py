"""Transcript and speaker embedding of one recording."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_sv.inference.extractors import JointRecogniser, load_joint
from espnet2_sv.inference.waveforms import JOINT_MAX_SECONDS, EmbeddingResult
from espnet2_sv.zoo.source import SpeakerSource


class Speech2TextEmbedding:
    """Recognises speech and embeds its speaker in one pass of the encoder.

    Text, tokens and encoder output are those of
    ``espnet2.bin.asr_inference.Speech2Text`` with the same decoding options.

    Examples:
        >>> speech2both = Speech2TextEmbedding.from_pretrained("sv_adaptor.zip")
        >>> audio, rate = soundfile.read("speech.wav")
        >>> text, embedding = speech2both(audio)  # str, (1, E)

    Args:
        train_config: The adaptor's ``config.yaml``.
        model_file: The adaptor's weights.
        asr: The ASR model, from any source; by default the one in the adaptor's
            package, or the one that its training started from.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        decode: ``"greedy"`` takes the best token of each frame (CTC); ``"beam"`` is
            ESPnet's beam search with the ASR model's decoder, or a transducer's own
            search. By default greedy, and for a transducer its search.
        max_seconds: A longer recording is processed in pieces of equal length; their
            texts are joined, their embeddings averaged as in
            :class:`espnet2_sv.inference.waveforms.WaveformEmbedder`.
        options: Decoding options of ``Speech2Text`` for ``"beam"``: ``beam_size``,
            ``ctc_weight``, ``lm_train_config``, ``lm_file``, ``transducer_conf``, ...

    Attributes:
        asr_model: ESPnet's ASR model.
        spk_model: The speaker model; its encoder is the ASR model's.
        sample_rate: Sampling rate in Hz that speech must have.

    Raises:
        SVError: The adaptor belongs to another ASR model, or an option does not fit.
    """

    def __init__(
        self,
        train_config: Path | str,
        model_file: Path | str,
        asr: Path | str | None = None,
        device: str = "cpu",
        decode: str | None = None,
        max_seconds: float = JOINT_MAX_SECONDS,
        **options: Any,
    ):
        source = SpeakerSource.from_files(train_config, model_file, asr)
        self._set_up(source, device, decode, max_seconds, **options)

    def _set_up(
        self,
        source: SpeakerSource,
        device: str = "cpu",
        decode: str | None = None,
        max_seconds: float = JOINT_MAX_SECONDS,
        **options: Any,
    ) -> None:
        self.spk_model, recogniser = load_joint(source, device, decode, **options)
        self.asr_model = recogniser.asr_model
        self.joint = JointRecogniser(
            self.spk_model, recogniser, max_seconds=max_seconds
        )
        self.sample_rate = self.joint.sample_rate

    @classmethod
    def from_pretrained(
        cls, source: Path | str, asr: Path | str | None = None, **kwargs: Any
    ) -> "Speech2TextEmbedding":
        """Build an instance from an adaptor by its source.

        Args:
            source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory
                with ``meta.yaml`` or an ``exp/`` directory.
            asr: The ASR model, likewise; see the class.
            kwargs: Further arguments of the constructor.
        """
        instance = cls.__new__(cls)
        instance._set_up(SpeakerSource.resolve(source, asr=asr), **kwargs)
        return instance

    def __call__(self, speech: np.ndarray | torch.Tensor) -> tuple[str, torch.Tensor]:
        """Recognise and embed one recording.

        Args:
            speech: Waveform (S,), floats between -1 and 1 at ``sample_rate``.

        Returns:
            Text and embedding (1, E), float32 on the CPU, not length-normalised.

        Raises:
            SVError: The speech is empty, too short, not finite or has more than one
                dimension.
        """
        result = self.recognise(speech)
        assert result.transcript is not None  # as of all joint recognition
        return result.transcript.text, result.embedding[None]

    def recognise(self, speech: np.ndarray | torch.Tensor) -> EmbeddingResult:
        """Recognise and embed one recording; also return tokens and n-best list.

        Returns:
            ``.transcript`` (:class:`espnet2_sv.asr.recogniser.Transcript`) and
            ``.embedding`` (E,).
        """
        return self.joint.results([speech])[0]
