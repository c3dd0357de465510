"""Frozen ASR models that training neither changes nor saves."""

import copy
from itertools import chain

import torch

from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2_sv.backbones.block_runs import CAST_LAYERS
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.errors import SVError


class FrozenModuleRef[M: torch.nn.Module](torch.nn.Module):
    """Reference to a frozen module that is not registered as a submodule.

    ``train()``, optimizers, checkpoints and DistributedDataParallel do not see the
    frozen module; only ``to(device)`` and the like are passed on to it.

    Args:
        module: Module to freeze; it is put into eval mode and gets no gradients.
    """

    def __init__(self, module: M):
        super().__init__()
        self._frozen = (module.requires_grad_(False).eval(),)
        # A part of it, the type of autocast, and its copy with weights of that type
        self._cast: tuple[BlockBackbone, torch.dtype, BlockBackbone] | None = None

    @property
    def frozen_module(self) -> M:
        """The frozen module."""
        return self._frozen[0]

    def in_autocast(
        self, backbone: BlockBackbone, device: torch.device
    ) -> BlockBackbone:
        """Return a frozen backbone with the weights that autocast casts them to.

        Autocast casts weights without gradients anew in every pass. In training with
        mixed precision this returns a copy whose weights are cast once, with the same
        outputs; it takes two bytes per weight. Otherwise it returns the backbone.

        Args:
            backbone: The frozen module or a part of it.
            device: Device of the input.
        """
        if not self.training or not torch.is_autocast_enabled(device.type):
            return backbone
        dtype = torch.get_autocast_dtype(device.type)
        if self._cast is None or self._cast[:2] != (backbone, dtype):
            self._cast = backbone, dtype, cast_weights(backbone, dtype)
        return self._cast[2]

    def _apply(self, fn, recurse: bool = True):
        self._cast = None
        self.frozen_module._apply(fn, recurse)
        return super()._apply(fn, recurse)


class FrozenBackbone(FrozenModuleRef[BlockBackbone]):
    """Backbone of a speaker adaptor: the blocks of a frozen ASR model (Cai & Li 2024).

    Its log-mel features are always in float32. A checkpoint contains only the hash of
    the ASR weights, and loading it with a different ASR model raises :class:`SVError`.

    Args:
        backbone: Backbone of the ASR model.
        weights_sha256: SHA-256 of the ASR model's weights, in hexadecimal.
    """

    def __init__(self, backbone: BlockBackbone, weights_sha256: str):
        super().__init__(backbone)
        backbone.set_frozen(True)
        self._running = (backbone,)
        self.asr_sha256: torch.Tensor
        self.register_buffer("asr_sha256", encode_sha256(weights_sha256))

    @property
    def num_blocks(self) -> int:
        """L, number of blocks."""
        return self.frozen_module.num_blocks

    @property
    def block_dim(self) -> int:
        """D, dimension of a block output."""
        return self.frozen_module.block_dim

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return self.frozen_module.sample_rate

    @property
    def minimum_samples(self) -> int:
        """Length in samples of the shortest input that gives one output frame."""
        return self.frozen_module.minimum_samples

    @property
    def frame_rate_hz(self) -> float:
        """Frames of the outputs per second."""
        return self.frozen_module.frame_rate_hz

    @property
    def one_thread(self) -> bool:
        """Whether it cannot be copied to run in several threads."""
        return self.frozen_module.one_thread

    @property
    def padding_sensitive(self) -> bool:
        """Whether outputs depend on padding."""
        return self.frozen_module.padding_sensitive

    @property
    def frontend(self) -> AbsFrontend:
        """The ASR model's frontend."""
        return self.frozen_module.frontend

    def forward(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Run the ASR encoder without gradients, in the precision of the caller.

        Args:
            speech: Zero-padded audio (B, S).
            speech_lengths: Valid samples (B,).

        Returns:
            Outputs of all L blocks, or up to the last that is read (see
            :meth:`stop_after`), each (B, T, D), and their valid frames (B,) on the
            CPU.

        Raises:
            SVError: An utterance is too short for one encoder frame.
        """
        with torch.no_grad():
            backbone = self.in_autocast(self.running, speech.device)
            return backbone(speech, speech_lengths)

    @property
    def running(self) -> BlockBackbone:
        """The frozen backbone up to the last block that is read."""
        return self._running[0]

    def stop_after(self, block: int) -> None:
        """Do not compute the blocks above the last one that is read.

        Args:
            block: That block, counted from 1.
        """
        self._running = (self.frozen_module.first_blocks(block),)

    def set_frozen(self, frozen: bool) -> None:
        """Do nothing: this backbone is always frozen."""

    def parameter_groups(self) -> list:
        """Return an empty list: nothing is trainable."""
        return []

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        saved = state_dict.get(f"{prefix}asr_sha256")
        if saved is not None and not torch.equal(saved.cpu(), self.asr_sha256.cpu()):
            raise SVError(
                f"this adaptor was trained on the ASR weights {decode_sha256(saved)},"
                f" not on {decode_sha256(self.asr_sha256)}; give the ASR model that it"
                " was trained on"
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def cast_weights(backbone: BlockBackbone, dtype: torch.dtype) -> BlockBackbone:
    """Copy a backbone such that autocast to a type finds its weights cast.

    Only linear and convolution layers get new weights. All others, such as norms and
    the biases of relative positions, are those of the original: autocast does not cast
    them, so a different type would change the results.

    Args:
        backbone: Frozen backbone.
        dtype: Type of autocast, bfloat16 or float16.
    """
    # Tables of positions are attributes, neither parameters nor buffers
    attributes = chain.from_iterable(vars(m).values() for m in backbone.modules())
    tables = [value for value in attributes if isinstance(value, torch.Tensor)]
    kept = [*backbone.parameters(), *backbone.buffers(), *tables, backbone.frontend]
    copied = copy.deepcopy(backbone, {id(part): part for part in kept})
    for layer in copied.encoder.modules():
        if type(layer) in CAST_LAYERS:
            for name, weight in layer.named_parameters(recurse=False):
                cast = torch.nn.Parameter(weight.to(dtype), requires_grad=False)
                layer.register_parameter(name, cast)
    return copied


def encode_sha256(digest: str) -> torch.Tensor:
    """Convert a hexadecimal hash to a tensor (32,).

    The values are floats, because ESPnet's checkpoint averaging sums integers instead
    of averaging them.
    """
    return torch.tensor(list(bytes.fromhex(digest)), dtype=torch.float32)


def decode_sha256(tensor: torch.Tensor) -> str:
    """Convert the tensor of :func:`encode_sha256` back to a hexadecimal hash."""
    return bytes(int(v) for v in tensor.tolist()).hex()
