"""Reading along while ESPnet runs an ASR model's encoder."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from espnet2_sv.asr.blocks import BlockBackbone, read_blocks


@dataclass
class EncoderPass:
    """What one call of an encoder left behind.

    Attributes:
        blocks: L block outputs, each (B, T, D).
        lengths: Their valid frames (B,).
    """

    blocks: list[torch.Tensor] = field(default_factory=list)
    lengths: torch.Tensor | None = None


@contextlib.contextmanager
def listen(backbone: BlockBackbone) -> Iterator[EncoderPass]:
    """Collect the block outputs of the encoder call that is made while the context is open.

    The call is ESPnet's own, for example within ``Speech2Text``; nothing that it computes changes,
    with one exception: in a padded batch the front end sees the end of a shorter utterance as it
    sees that of one that stands alone, see :meth:`BlockBackbone.pad_ends`.

    Args:
        backbone: The ASR model's own modules, as :meth:`AsrBundle.backbone` gives them.

    Raises:
        SVError: An utterance is too short for the encoder.
    """
    heard = EncoderPass()

    def pad(frontend, args):
        speech, lengths = args
        return backbone.pad_ends(speech, lengths), lengths

    def trim(frontend, args, output):
        feats, lengths = output
        return feats[:, : int(lengths.max())], lengths

    def note_lengths(encoder, args, output):
        heard.lengths = output[1]

    handles = [
        backbone.frontend.register_forward_pre_hook(pad),
        backbone.frontend.register_forward_hook(trim),
        backbone.encoder.register_forward_hook(note_lengths),
    ]
    try:
        with read_blocks(backbone.encoder) as heard.blocks:
            yield heard
    finally:
        for handle in handles:
            handle.remove()
