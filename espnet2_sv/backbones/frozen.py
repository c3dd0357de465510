"""Holding an ASR model that is used and never changed."""

import contextlib
from collections.abc import Iterator

import torch
from espnet2.asr.frontend.default import DefaultFrontend

from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.errors import SVError


class FrozenModuleRef[M: torch.nn.Module](torch.nn.Module):
    """A module that others do not see: it runs in evaluation mode, without a graph.

    It is held outside of the module tree: ``train()``, optimizers, checkpoints and
    DistributedDataParallel do not reach it; it only follows ``to(device)``.

    Args:
        module: What is held; its parameters get no gradients.
    """

    def __init__(self, module: M):
        super().__init__()
        self._frozen = (module.requires_grad_(False).eval(),)

    @property
    def frozen_module(self) -> M:
        """The module itself."""
        return self._frozen[0]

    @contextlib.contextmanager
    def inference_context(self, device: torch.device) -> Iterator[None]:
        """Compute without a graph; in training on a GPU that can, in bfloat16."""
        half = (
            self.training and device.type == "cuda" and torch.cuda.is_bf16_supported()
        )
        with (
            torch.no_grad(),
            torch.autocast("cuda", dtype=torch.bfloat16, enabled=half),
        ):
            yield

    def _apply(self, fn, recurse: bool = True):
        self.frozen_module._apply(fn, recurse)
        return super()._apply(fn, recurse)


class FrozenBackbone(FrozenModuleRef[BlockBackbone]):
    """Read the blocks of an ASR model that stays exactly as it is.

    Its front end always runs in float32.

    What a checkpoint does hold is the hash of the ASR weights that it belongs to;
    loading it beside other weights is an error.

    Args:
        backbone: The ASR model's backbone.
        weights_sha256: Hash of the ASR model's weights, in hexadecimal.
    """

    def __init__(self, backbone: BlockBackbone, weights_sha256: str):
        super().__init__(backbone)
        backbone.set_frozen(True)
        self.asr_sha256: torch.Tensor
        self.register_buffer("asr_sha256", encode_sha256(weights_sha256))

    @property
    def num_blocks(self) -> int:
        """L, the number of blocks."""
        return self.frozen_module.num_blocks

    @property
    def block_dim(self) -> int:
        """D, the dimension of a block's output."""
        return self.frozen_module.block_dim

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return self.frozen_module.sample_rate

    @property
    def frame_rate_hz(self) -> float:
        """Frames of the outputs per second."""
        return self.frozen_module.frame_rate_hz

    @property
    def padding_sensitive(self) -> bool:
        """Whether outputs depend on padding."""
        return self.frozen_module.padding_sensitive

    @property
    def frontend(self) -> DefaultFrontend:
        """The ASR model's front end."""
        return self.frozen_module.frontend

    def forward(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the L block outputs, each (B, T, D), and their lengths (B,); no gradients."""
        with self.inference_context(speech.device):
            blocks, lengths = self.frozen_module(speech, speech_lengths)
        if not torch.is_autocast_enabled(speech.device.type):
            blocks = [block.float() for block in blocks]
        return blocks, lengths

    def set_frozen(self, frozen: bool) -> None:
        """Do nothing: it is always frozen."""

    def parameter_groups(self) -> list:
        """Return no parameters to train."""
        return []

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        theirs = state_dict.get(f"{prefix}asr_sha256")
        if theirs is not None and not torch.equal(theirs.cpu(), self.asr_sha256.cpu()):
            raise SVError(
                f"this adaptor was trained on the ASR weights {decode_sha256(theirs)},"
                f" not on {decode_sha256(self.asr_sha256)}; give the ASR model that it"
                " belongs to"
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def encode_sha256(digest: str) -> torch.Tensor:
    """Turn a hexadecimal hash into a tensor (32,).

    Its values are floats, so that ESPnet's averaging of checkpoints leaves them as they
    are.
    """
    return torch.tensor(list(bytes.fromhex(digest)), dtype=torch.float32)


def decode_sha256(tensor: torch.Tensor) -> str:
    """Turn the tensor of :func:`encode_sha256` back into a hexadecimal hash."""
    return bytes(int(v) for v in tensor.tolist()).hex()
