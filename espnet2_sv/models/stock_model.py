"""Speaker models of ESPnet's own task, for inference.

ESPnet builds the network from the model's own configuration and its own code computes
the embeddings. The training classes are left out.
"""

import copy
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from espnet2.spk.espnet_model import ESPnetSpeakerModel
from espnet2_sv.asr.build import restore_stats
from espnet2_sv.backbones.front_ends import (
    require_package,
    s3prl_options,
    with_s3prl_names,
)
from espnet2_sv.errors import SVError
from espnet2_sv.models.load import building, check_device, load_speaker_model
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import check_sizes, load_state_dict, load_strictly
from espnet2_sv.zoo.files import ModelFiles
from espnet2_sv.zoo.source import STOCK_TASK, SpeakerSource

# Options that are lengths in frames or samples or lists of settings, not widths
_WIDTHS_IN = ("encoder", "pooling", "projector")
_COMMON_WIDTH = 2**14  # wider layers must be in the weights


class StockSpeakerModel(torch.nn.Module):
    """A speaker model of ESPnet's own task.

    Its encoders take no lengths, so all utterances of a batch must have the same
    length; :class:`espnet2_sv.inference.waveforms.WaveformEmbedder` sees to it.

    Args:
        network: ESPnet's model.
        sample_rate: Sampling rate in Hz.
        one_thread: Whether copies of the network cannot run side by side.
    """

    padding_sensitive = True

    def __init__(
        self, network: ESPnetSpeakerModel, sample_rate: int, one_thread: bool = False
    ):
        super().__init__()
        self.network = network
        self.sample_rate = sample_rate
        self.one_thread = one_thread

    @property
    def embedding_size(self) -> int:
        """Number of values of an embedding."""
        return self.network.projector.output_size()

    def embed(self, speech: torch.Tensor, speech_lengths: torch.Tensor) -> torch.Tensor:
        """Compute embeddings as ESPnet's ``Speech2Embedding`` does.

        Args:
            speech: Audio (B, S) at ``sample_rate`` Hz, without padding.
            speech_lengths: S for each utterance (B,).

        Returns:
            Embeddings (B, E) in float32, not length-normalised.

        Raises:
            SVError: The utterances are too short.
        """
        assert bool((speech_lengths == speech.size(1)).all()), "padding is not allowed"
        try:
            embeddings = self.network(speech=speech, extract_embd=True)
        except (RuntimeError, AssertionError, IndexError, ValueError) as e:
            # the layers have no common way to say that their input is too short
            if speech.size(1) >= self.sample_rate:
                raise
            reason = " ".join(str(e).split())[:200] or type(e).__name__
            raise SVError(
                f"an utterance of {speech.size(1)} samples is too short for this model"
                f" ({reason})"
            ) from e
        return embeddings.float()


type EmbeddingModel = SpeakerModel | StockSpeakerModel


def load_embedding_model(
    source: SpeakerSource | str | Path,
    device: str = "cpu",
    asr: str | Path | None = None,
) -> tuple[EmbeddingModel, Namespace]:
    """Load a speaker model of this project or of ESPnet's own speaker task.

    Args:
        source: The model, or its source.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        asr: The ASR model that an adaptor reads, if it is not where training had it.

    Returns:
        The model in eval mode on ``device``, and its training arguments.

    Raises:
        SVError: This is no speaker model, its weights do not match its config, or the
            device does not exist.
    """
    if not isinstance(source, SpeakerSource):
        source = SpeakerSource.resolve(source, asr=asr)
    if source.task == STOCK_TASK:
        return load_stock_model(source, device)
    return load_speaker_model(source, device)


def load_stock_model(
    source: SpeakerSource, device: str = "cpu"
) -> tuple[StockSpeakerModel, Namespace]:
    """Load a model of ESPnet's own speaker task without its training classes.

    Args:
        source: The model, which is untrusted.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns:
        The model in eval mode on ``device``, and its training arguments.

    Raises:
        SVError: A package that its front end needs is missing, this ESPnet cannot build
            it, or its weights do not match its config.
    """
    check_device(device)
    files = source.files
    state = load_state_dict(files.weights)
    args = _arguments(files, state)
    sample_rate = _sample_rate(files, args)
    frontends = list(_frontends(args.frontend, args.frontend_conf))
    _check_packages(files, frontends)
    with building(files):
        network = _build(args, state)
    load_strictly(
        network,
        with_s3prl_names(state, network),
        files.weights,
        unused=lambda name: name.startswith("loss."),
    )
    for name, parameter in network.named_parameters():
        if any(name == x or name.startswith(f"{x}.") for x in args.freeze_param):
            parameter.requires_grad = False
    # s3prl captures the outputs of layers by hooks that know the original only
    model = StockSpeakerModel(network, sample_rate, one_thread="s3prl" in frontends)
    return model.to(device).eval(), args


def _build(args: Namespace, state: dict[str, torch.Tensor]) -> ESPnetSpeakerModel:
    from espnet2.tasks.spk import SpeakerTask  # takes as long as all the rest to import

    build_args = copy.deepcopy(args)
    with tempfile.TemporaryDirectory() as folder:
        # the statistics of global_mvn are in the weights, too
        restore_stats(vars(build_args), state, Path(folder, "feats_stats.npz"))
        network = SpeakerTask.build_model(build_args)
    network.loss = None
    return network


def _arguments(files: ModelFiles, state: dict[str, torch.Tensor]) -> Namespace:
    """Return the training arguments, checked before anything is built.

    What only training needs is replaced by the least that ESPnet can build.

    Raises:
        SVError: An argument is missing, out of range or not safe.
    """
    optional: dict[str, Any] = {
        "normalize": None,
        "freeze_param": [],
        "use_adapter": False,
    }
    settings = optional | copy.deepcopy(files.settings)
    settings |= {"init": None, "specaug": None, "specaug_conf": {}, "input_size": None}
    settings |= {"loss": "softmax", "loss_conf": {}, "spk_num": 1}
    if not isinstance(settings.get("frontend"), str):
        raise SVError(
            f"{files.config}: has no frontend, so the model reads features, not audio"
        )
    if settings["use_adapter"]:
        raise SVError(
            f"{files.config}: use_adapter is not supported; save the model with its"
            " adapters merged"
        )
    settings["freeze_param"] = settings["freeze_param"] or []
    if not isinstance(settings["freeze_param"], list):
        raise SVError(f"{files.config}: freeze_param is not a list of names")
    for part in ("frontend", "normalize", *_WIDTHS_IN):
        settings[f"{part}_conf"] = settings.get(f"{part}_conf") or {}
    try:
        settings["frontend_conf"] = s3prl_options(settings["frontend_conf"])
    except SVError as e:
        raise SVError(f"{files.config}: {e}") from e
    check_sizes(files.config, settings, state)
    _check_widths(files, settings, state)
    return Namespace(**settings)


def _sample_rate(files: ModelFiles, args: Namespace) -> int:
    """Return the sampling rate in Hz that training read audio at."""
    preprocessor = getattr(args, "preprocessor_conf", None) or {}
    default = getattr(args, "sample_rate", 16000)
    rate = preprocessor.get("sample_rate", default)
    if not isinstance(rate, int) or isinstance(rate, bool) or not 0 < rate <= 10**6:
        raise SVError(f"{files.config}: sample_rate {rate!r} is not a rate in Hz")
    return rate


def _check_widths(
    files: ModelFiles, settings: dict[str, Any], state: dict[str, torch.Tensor]
) -> None:
    """Refuse layers much wider or more than the weights have.

    Raises:
        SVError: There is such a setting.
    """
    widest = max(max(x.shape, default=1) for x in state.values())
    limit = max(widest, len(state))
    for part in _WIDTHS_IN:
        for name, value in settings[f"{part}_conf"].items():
            values = value if isinstance(value, list) else [value]
            whole = [abs(x) for x in values if isinstance(x, int)]
            most = limit if isinstance(value, list) else max(limit, _COMMON_WIDTH)
            if len(values) > limit or max(whole, default=0) > most:
                raise SVError(
                    f"{files.config}: {part}_conf: {name} is out of range for"
                    f" {len(state)} tensors of at most {widest} rows"
                )


def _frontends(name: str, conf: dict[str, Any]) -> Iterator[str]:
    """Yield the front end's name, and those that it combines."""
    yield name
    combined = conf.get("frontends")
    for one in combined if isinstance(combined, list) else ():
        if isinstance(one, dict):
            yield str(one.get("frontend_type"))


def _check_packages(files: ModelFiles, frontends: list[str]) -> None:
    try:
        for frontend in frontends:
            require_package(frontend)
    except SVError as e:
        raise SVError(f"{files.config}: {e}") from e
