"""The speaker model: backbone -> head -> loss."""

import copy
from collections.abc import Iterable
from itertools import chain

import torch

from espnet2.spk.loss.abs_loss import AbsLoss
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2_sv.backbones.build import Backbone
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.heads import MFAHead, SpeakerAdaptor
from espnet2_sv.heads.pooled import PooledHead
from espnet2_sv.train.precision import native_autocast

Head = MFAHead | PooledHead | SpeakerAdaptor
BRANCH_PREFIX = "branch."  # of the ASR branch's parameters in a checkpoint


class SpeakerModel(AbsESPnetModel):
    """Speaker embedding model, trained to classify speakers.

    Args:
        backbone: Audio to the outputs of L blocks.
        head: Block outputs to an embedding, e.g. :class:`espnet2_sv.heads.mfa.MFAHead`.
        loss: Classification loss of ESPnet's speaker task, called as ``loss(embedding,
            label)``; None for inference only.
    """

    def __init__(self, backbone: Backbone, head: Head, loss: AbsLoss | None):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.loss = loss
        if isinstance(backbone, FrozenBackbone) and isinstance(head, SpeakerAdaptor):
            backbone.stop_after(max(head.read_blocks))

    def embed(self, speech: torch.Tensor, speech_lengths: torch.Tensor) -> torch.Tensor:
        """Compute embeddings.

        Args:
            speech: Zero-padded audio (B, S) at ``backbone.sample_rate`` Hz.
            speech_lengths: Valid samples (B,).

        Returns:
            Embeddings (B, E) in float32, not length-normalised: their norm is a quality
            measure.

        Raises:
            SVError: An utterance is too short.
        """
        blocks, lengths = self.backbone(speech, speech_lengths)
        return self.head(blocks, lengths).float()

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor | None = None,
        spk_labels: torch.Tensor | None = None,
        extract_embd: bool = False,
        **kwargs,
    ):
        """Compute the training loss, or embeddings like ESPnet's speaker model.

        Args:
            speech: Audio (B, S).
            speech_lengths: Valid samples (B,); S by default.
            spk_labels: Speaker classes (B, 1) or (B,).
            extract_embd: Return embeddings (B, E) instead of the loss.
            kwargs: Unused entries of ESPnet's batches, such as ``utt_id``.

        Returns:
            (loss, stats, weight) as ESPnet's trainer expects.
        """
        if speech_lengths is None:
            speech_lengths = full_lengths(speech)
        if extract_embd:
            return self.embed(speech, speech_lengths)
        with native_autocast(speech.device):
            embedding = self.embed(speech, speech_lengths)
        assert spk_labels is not None, "the loss needs speaker classes"
        loss, accuracy = self.classify(embedding, spk_labels)
        # A copy, as the trainer divides the loss by accum_grad in place
        stats = {"loss": loss.detach().clone(), "acc": accuracy.detach()}
        return force_gatherable((loss, stats, batch_weight(speech)), loss.device)

    def classify(
        self, embedding: torch.Tensor, spk_labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the classification loss in float32.

        Args:
            embedding: Embeddings (B, E).
            spk_labels: Speaker classes (B, 1) or (B,).

        Returns:
            Loss and accuracy (0 to 1), both of shape ().
        """
        assert self.loss is not None, "the model has no classification loss"
        # Angles between embeddings and class centres need single precision.
        with torch.autocast(embedding.device.type, enabled=False):
            loss, accuracy, _ = self.loss(embedding, spk_labels.reshape(-1))
        return loss, accuracy

    def collect_feats(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, **kwargs
    ):
        """Return unnormalised features (B, T, F) for ESPnet's ``--collect_stats``."""
        feats, lengths = self.backbone.frontend(speech, speech_lengths)
        return {"feats": feats, "feats_lengths": lengths}

    def set_epoch(self, epoch: int, freeze_encoder_epochs: int) -> None:
        """Freeze or unfreeze the backbone for an epoch.

        Args:
            epoch: Number of the epoch, counted from 1.
            freeze_encoder_epochs: Number of initial epochs with a frozen backbone.
        """
        self.backbone.set_frozen(epoch <= freeze_encoder_epochs)


def full_lengths(speech: torch.Tensor) -> torch.Tensor:
    """Return the lengths (B,) of audio (B, S) without padding, on the CPU."""
    return torch.full(speech.shape[:1], speech.size(1))


def batch_weight(speech: torch.Tensor) -> torch.Tensor:
    """Return B (1,) of audio (B, S) on its device, without a copy from the CPU."""
    return speech.new_full((1,), speech.size(0), dtype=torch.long)


def without_branch(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a checkpoint without the parameters of the ASR branch."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(BRANCH_PREFIX)
    }


def clone_sharing_weights[T](original: T, modules: Iterable[torch.nn.Module]) -> T:
    """Copy an object and its networks, sharing their weights.

    Replicas can run at the same time, as each has its own hooks and state.

    Args:
        original: The object.
        modules: Its networks, including those outside of another's module tree.
    """
    tensors = chain.from_iterable(chain(m.parameters(), m.buffers()) for m in modules)
    return copy.deepcopy(original, {id(tensor): tensor for tensor in tensors})
