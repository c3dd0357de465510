"""Front ends: audio to features, as ESPnet's own classes compute them."""

import copy
import importlib.util
import logging
from abc import ABC, abstractmethod
from typing import Any

import torch

from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.frontend.default import DefaultFrontend
from espnet2.asr.frontend.s3prl import S3prlFrontend
from espnet2_sv.errors import SVError

# What a front end imports, and how to install it
_PACKAGES = {
    "asteroid_frontend": ("asteroid_filterbanks", "pip install 'espnet[spk]'"),
    "s3prl": ("s3prl", "pip install espnet-s3prl, which is in 'espnet[s2st]'"),
}
S3PRL_RATE = 16000  # Hz, of all models of S3PRL
# Its models see windows of 25 ms and pad shorter audio
_S3PRL_WINDOW = 400
# Options of S3PRL that name files or addresses, from which it unpickles code
_S3PRL_FILES = ("path_or_url", "extra_conf")
# Names of its tensors in earlier releases of ESPnet, and now
_S3PRL_OLD, _S3PRL_NEW = "frontend.upstream.model.", "frontend.upstream.upstream.model."


def padding_mask(
    lengths: torch.Tensor, max_length: int, device: torch.device
) -> torch.Tensor:
    """Return a mask (B, max_length) that is True beyond the valid frames (B,).

    It is built on its device, whichever the lengths are on.
    """
    frames = torch.arange(max_length, device=device)
    return frames >= lengths.to(device, non_blocking=True)[:, None]


class FrontEnd(ABC):
    """What a backbone has to know of ESPnet's front end, and how it runs it.

    It holds no weights and no state; those are in ESPnet's module.

    Attributes:
        padding_sensitive: Whether features depend on padding.
        one_thread: Whether the module cannot be copied to run in several threads.
    """

    padding_sensitive = False
    one_thread = False

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""

    @property
    @abstractmethod
    def hop_length(self) -> int:
        """Frame shift in samples."""

    @abstractmethod
    def minimum_samples(self, frames: int) -> int:
        """Return the samples needed for so many frames."""

    @abstractmethod
    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the frames (B,) of utterances of so many samples (B,)."""

    @abstractmethod
    def features(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute features.

        Args:
            speech: Zero-padded audio (B, S) in float32.
            lengths: Valid samples (B,), on the CPU.

        Returns:
            Features (B, T', F) in float32, where T' is the longest utterance's, and
            their valid frames (B,) on the CPU.
        """

    def freeze(self) -> None:  # noqa: B027 (most have nothing to freeze)
        """Freeze what is never trained; called again whenever the mode changes."""

    def extend(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return audio (B, S') with what ESPnet's module needs behind each utterance.

        Args:
            speech: Zero-padded audio (B, S).
            lengths: Valid samples (B,), on the CPU.
        """
        return speech[:, : int(lengths.max())]


class LogMel(FrontEnd):
    """The log-mel features of ESPnet's ``DefaultFrontend``, with its layers.

    Args:
        module: ESPnet's front end.
    """

    def __init__(self, module: DefaultFrontend):
        self.module = module

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return int(self.module.logmel.mel_options["sr"])

    @property
    def hop_length(self) -> int:
        """Frame shift in samples."""
        return self.module.hop_length

    @property
    def reflection(self) -> int:
        """Samples that a centred STFT mirrors at either end of the audio."""
        return self.module.stft.n_fft // 2 if self.module.stft.center else 0

    def minimum_samples(self, frames: int) -> int:
        """Return the samples needed for so many frames."""
        between = (frames - 1) * self.hop_length
        if not self.module.stft.center:
            return self.module.stft.n_fft + between
        return max(between, self.reflection + 1)

    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the frames (B,) of utterances of so many samples (B,)."""
        padded = samples + 2 * self.reflection - self.module.stft.n_fft
        return torch.div(padded, self.hop_length, rounding_mode="floor") + 1

    def features(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute log-mel features in float32; see the base class.

        ESPnet's ``forward`` builds a mask of the spectrum on the CPU in every pass: 38
        MiB for 256 crops of 3 s. The features of padded frames are zero without it, and
        those of valid frames the same.
        """
        stft = self.module.stft
        with torch.autocast(speech.device.type, enabled=False):
            spectrum, _ = stft(self.extend(speech, lengths))
            power = spectrum[..., 0] ** 2 + spectrum[..., 1] ** 2
            feats, _ = self.module.logmel(power)
        lengths = self.frames(lengths)
        shortest, longest = int(lengths.min()), int(lengths.max())
        feats = feats[:, :longest]
        if shortest < longest:
            padded_frames = padding_mask(lengths, longest, feats.device)
            feats = feats.masked_fill(padded_frames[..., None], 0.0)
        return feats, lengths

    def extend(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Apply the STFT's reflection padding at the end of each utterance.

        ESPnet's module reflects only the end of the padded *batch*. The last frames of
        a shorter utterance would contain zeros instead of the reflection, so that its
        embedding would depend on what it is batched with.

        Args:
            speech: Zero-padded audio (B, S).
            lengths: Valid samples (B,), on the CPU.

        Returns:
            Audio (B, S'), where S' has room for the reflection if lengths differ.
        """
        shortest, longest = int(lengths.min()), int(lengths.max())
        speech = speech[:, :longest]
        if shortest == longest or self.reflection == 0:
            return speech
        end = lengths.unsqueeze(1).to(speech.device, non_blocking=True) - 1
        step = torch.arange(1, self.reflection + 1, device=speech.device)
        reflected = speech.gather(1, end - step)
        return torch.nn.functional.pad(speech, (0, self.reflection)).scatter(
            1, end + step, reflected
        )


class SelfSupervised(FrontEnd):
    """The features of a self-supervised model of S3PRL, such as WavLM.

    Its weights never change: they get no gradients, whatever is trained on its
    features. Only the weights of its layers' sum do. It runs in the precision of the
    caller.

    Args:
        module: ESPnet's front end.
    """

    padding_sensitive = True
    one_thread = True  # its hooks belong to the original

    def __init__(self, module: S3prlFrontend):
        self.module = module

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return S3PRL_RATE

    @property
    def hop_length(self) -> int:
        """Frame shift in samples."""
        return int(self.module.hop_length)

    def minimum_samples(self, frames: int) -> int:
        """Return the samples needed for so many frames."""
        return max((frames - 1) * self.hop_length + 1, _S3PRL_WINDOW)

    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the frames (B,) of utterances of so many samples (B,)."""
        return torch.div(samples - 1, self.hop_length, rounding_mode="floor") + 1

    def features(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute features with ESPnet's module; see the base class."""
        feats, lengths = self.module(self.extend(speech, lengths), lengths)
        return feats.float(), lengths

    def freeze(self) -> None:
        """Freeze the self-supervised model, and drop ESPnet's second copy of it."""
        self.module.upstream.requires_grad_(False).eval()
        self.module.pretrained_params = {}


def front_end(module: AbsFrontend) -> FrontEnd:
    """Return how ESPnet's front end is used.

    Args:
        module: ESPnet's ``DefaultFrontend`` or ``S3prlFrontend``.
    """
    if isinstance(module, S3prlFrontend):
        return SelfSupervised(module)
    assert isinstance(module, DefaultFrontend), type(module).__name__
    return LogMel(module)


class SafeS3prlFrontend(S3prlFrontend):
    """ESPnet's front end of S3PRL, built from options that are not trusted.

    Args:
        fs: Sampling rate, 16000.
        frontend_conf: Options of S3PRL: ``upstream`` is the model's name there. Files
            and addresses cannot be given.
        multilayer_feature: Take a weighted sum of all layers.
        layer: Take this layer; -1 for the last one or the sum.

    Raises:
        SVError: The package is missing, an option is refused, or S3PRL cannot build the
            model, for example because it cannot be downloaded.
    """

    def __init__(
        self,
        fs: int | str = S3PRL_RATE,
        frontend_conf: dict | None = None,
        multilayer_feature: bool = False,
        layer: int = -1,
    ):
        require_package("s3prl")
        conf = s3prl_options(frontend_conf or {})
        try:
            super().__init__(fs, conf, None, multilayer_feature, layer)
        except Exception as e:  # of requests, S3PRL or the model itself
            reason = " ".join(str(e).split())[:200] or type(e).__name__
            raise SVError(
                f"S3PRL cannot build {conf.get('upstream')!r}: {reason}"
            ) from e


def require_package(frontend: str) -> None:
    """Check that the package of a front end is installed, if it needs one.

    Args:
        frontend: Its name in a configuration.

    Raises:
        SVError: It is not.
    """
    package, advice = _PACKAGES.get(frontend, (None, ""))
    if package is not None and importlib.util.find_spec(package) is None:
        raise SVError(f"frontend {frontend} needs the package {package}; {advice}")


def s3prl_options(conf: Any) -> Any:
    """Return options of S3PRL without the folder that it downloads to.

    It then uses its own cache.

    Args:
        conf: ``frontend_conf`` of an untrusted configuration, also of several front
            ends.

    Raises:
        SVError: An option names a file or an address to load code from.
    """
    if isinstance(conf, list):
        return [s3prl_options(entry) for entry in conf]
    if not isinstance(conf, dict):
        return copy.deepcopy(conf)
    for name in _S3PRL_FILES:
        if conf.get(name):
            raise SVError(
                f"refused, frontend_conf: {name} loads files that may hold code"
            )
    if conf.get("download_dir"):
        logging.info("frontend_conf: download_dir is not used; s3prl has a cache")
    return {
        name: s3prl_options(value)
        for name, value in conf.items()
        if name != "download_dir"
    }


def with_s3prl_names(
    state: dict[str, torch.Tensor], network: torch.nn.Module
) -> dict[str, torch.Tensor]:
    """Rename S3PRL's tensors of earlier ESPnet releases, as ESPnet does.

    Args:
        state: Weights of a whole model.
        network: The model that they are for.
    """
    if not any(name.startswith(_S3PRL_NEW) for name in network.state_dict()):
        return state
    renamed = {}
    for name, tensor in state.items():
        if name.startswith(_S3PRL_OLD):
            name = _S3PRL_NEW + name.removeprefix(_S3PRL_OLD)
        renamed[name] = tensor
    return renamed
