"""Speaker embedding of one recording."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_sv.errors import SVError
from espnet2_sv.inference.waveforms import MAX_SECONDS, WaveformEmbedder
from espnet2_sv.models.stock_model import load_embedding_model
from espnet2_sv.zoo.source import SpeakerSource


class Speech2Embedding:
    """Embeds speech, with the call signature of ESPnet's own class of that name.

    Examples:
        >>> speech2embedding = Speech2Embedding.from_pretrained("exp/sv_transfer")
        >>> audio, rate = soundfile.read("speech.wav")
        >>> embedding = speech2embedding(audio)  # (1, E)

    Args:
        train_config: The model's ``config.yaml``; by default the one beside
            ``model_file``.
        model_file: The model's weights.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        dtype: float32, or float16 / bfloat16 for mixed precision. The front end always
            runs in float32.
        batch_size: Kept for compatibility; a call embeds one recording.
        max_seconds: A longer recording is embedded in pieces, see
            :class:`espnet2_sv.inference.waveforms.WaveformEmbedder`.
        asr: The ASR model that a speaker adaptor reads, from any source; by default the
            one in the adaptor's package, or the one that its training started from.
        espnet2_sv: Not used. The ``meta.yaml`` of a package has this entry where
            ESPnet's own class must refuse the model; its downloader passes it on.

    Attributes:
        spk_model: The speaker model, in eval mode.
        spk_train_args: Its training arguments.
        sample_rate: Sampling rate in Hz that speech must have.
    """

    def __init__(
        self,
        train_config: Path | str | None = None,
        model_file: Path | str | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 1,
        max_seconds: float = MAX_SECONDS,
        asr: Path | str | None = None,
        espnet2_sv: Path | str | None = None,
    ):
        if model_file is None:
            raise SVError(
                "model_file is not given; use Speech2Embedding.from_pretrained(SOURCE)"
            )
        config = (
            Path(model_file).parent / "config.yaml"
            if train_config is None
            else train_config
        )
        source = SpeakerSource.from_files(config, model_file, asr)
        self._set_up(source, device, dtype, batch_size, max_seconds)

    def _set_up(
        self,
        source: SpeakerSource,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 1,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        model, args = load_embedding_model(source, device)
        self.embedder = WaveformEmbedder(model, dtype, max_seconds)
        self.spk_model = model
        self.spk_train_args = args
        self.sample_rate = self.embedder.sample_rate
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size

    def __call__(self, speech: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Embed one recording.

        Args:
            speech: Waveform (S,), floats between -1 and 1 at ``sample_rate``.

        Returns:
            Embedding (1, E), float32 on the CPU. It is not length-normalised, because
            its magnitude is a measure of quality; scores are cosines, for which it does
            not matter.

        Raises:
            SVError: The speech is empty, silent, too short, not finite or has more than
                one dimension.
        """
        return self.embedder([speech])

    @classmethod
    def from_pretrained(
        cls, model_tag: str | Path | None = None, **kwargs: Any
    ) -> "Speech2Embedding":
        """Build an instance from a model by its source.

        Args:
            model_tag: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory
                with ``meta.yaml`` or an ``exp/`` directory.
            kwargs: Arguments of the constructor.
        """
        if model_tag is None:
            return cls(**kwargs)
        named = {"train_config", "model_file"} & kwargs.keys()
        if any(kwargs.pop(name) is not None for name in sorted(named)):
            raise SVError(
                f"give either model_tag or {' and '.join(sorted(named))}, not both"
            )
        source = SpeakerSource.resolve(model_tag, asr=kwargs.pop("asr", None))
        return cls.from_source(source, **kwargs)

    @classmethod
    def from_source(cls, source: SpeakerSource, **kwargs: Any) -> "Speech2Embedding":
        """Build an instance from a resolved source.

        Args:
            source: The speaker model.
            kwargs: Further arguments of the constructor.
        """
        instance = cls.__new__(cls)
        instance._set_up(source, **kwargs)
        return instance
