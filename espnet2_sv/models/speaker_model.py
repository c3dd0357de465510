"""The one model shape of this project: backbone -> head -> loss."""

import torch
from espnet2.spk.loss.abs_loss import AbsLoss
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel

from espnet2_sv.backbones.build import Backbone
from espnet2_sv.heads import MFAHead, SpeakerAdaptor
from espnet2_sv.heads.pooled import PooledHead

Head = MFAHead | PooledHead | SpeakerAdaptor


class SpeakerModel(AbsESPnetModel):
    """A speaker embedding network trained to classify speakers.

    Args:
        backbone: Speech to the outputs of L blocks.
        head: Block outputs to an embedding, e.g. :class:`espnet2_sv.heads.mfa.MFAHead`.
        loss: Classification loss of ESPnet's speaker task, called as ``loss(embedding,
            label)``; None in a model that is only used.
    """

    def __init__(self, backbone: Backbone, head: Head, loss: AbsLoss | None):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.loss = loss

    def embed(self, speech: torch.Tensor, speech_lengths: torch.Tensor) -> torch.Tensor:
        """Embed utterances.

        Args:
            speech: Zero-padded waveforms (B, S) at ``backbone.sample_rate``.
            speech_lengths: Valid samples (B,).

        Returns:
            Embeddings (B, E), not length-normalised: their magnitude is a measure of
            quality.
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
        """Compute the training loss, or embeddings as ESPnet's own speaker model does.

        Args:
            speech: Waveforms (B, S).
            speech_lengths: Valid samples (B,); all of S if not given.
            spk_labels: Speaker classes (B, 1) or (B,).
            extract_embd: Return embeddings (B, E) instead of the loss.
            kwargs: Entries of ESPnet's batches that are not used, such as ``utt_id``.

        Returns:
            (loss, stats, weight) as ESPnet's trainer expects.
        """
        if speech_lengths is None:
            speech_lengths = torch.full(
                (speech.size(0),),
                speech.size(1),
                dtype=torch.long,
                device=speech.device,
            )
        embedding = self.embed(speech, speech_lengths)
        if extract_embd:
            return embedding
        assert spk_labels is not None, "the loss needs speaker classes"
        loss, accuracy = self.classify(embedding, spk_labels)
        stats = {"loss": loss.detach(), "acc": accuracy.detach()}
        return force_gatherable((loss, stats, speech.size(0)), loss.device)

    def classify(
        self, embedding: torch.Tensor, spk_labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and accuracy, both (), of embeddings (B, E) and classes (B, 1)."""
        assert self.loss is not None, "the model has no classification loss"
        # Angles between embeddings and class centres need single precision.
        with torch.autocast(embedding.device.type, enabled=False):
            loss, accuracy, _ = self.loss(embedding, spk_labels.reshape(-1))
        return loss, accuracy

    def collect_feats(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, **kwargs
    ):
        """Return the features before normalisation, for ESPnet's ``--collect_stats``."""
        feats, lengths = self.backbone.frontend(speech, speech_lengths)
        return {"feats": feats, "feats_lengths": lengths}

    def set_epoch(self, epoch: int, freeze_encoder_epochs: int) -> None:
        """Freeze the backbone in the first epochs (counted from 1), train it afterwards."""
        self.backbone.set_frozen(epoch <= freeze_encoder_epochs)
