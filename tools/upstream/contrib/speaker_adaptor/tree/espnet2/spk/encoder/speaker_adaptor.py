# Apache 2.0  (http://www.apache.org/licenses/LICENSE-2.0)

"""Speaker adaptor on the block outputs of an ASR encoder."""

import torch
from typeguard import typechecked

from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.legacy.nets.pytorch_backend.conformer.convolution import ConvolutionModule
from espnet2.legacy.nets.pytorch_backend.conformer.encoder_layer import EncoderLayer
from espnet2.legacy.nets.pytorch_backend.transformer.attention import (
    RelPositionMultiHeadedAttention,
)
from espnet2.legacy.nets.pytorch_backend.transformer.embedding import (
    RelPositionalEncoding,
)
from espnet2.legacy.nets.pytorch_backend.transformer.layer_norm import LayerNorm
from espnet2.legacy.nets.pytorch_backend.transformer.positionwise_feed_forward import (
    PositionwiseFeedForward,
)


class SpeakerAdaptorEncoder(AbsEncoder):
    """Speaker adaptor: a small network on the block outputs of a frozen ASR encoder.

    Each block output goes through a layer adaptor (Linear, ReLU, Linear). The last
    layer adaptor is followed by lightweight Conformer blocks in series. The outputs of
    all layer adaptors and lightweight blocks are concatenated and layer-normalized.
    With ``chn_attn_stat`` pooling and the ``rawnet3`` projector of 256 dimensions it
    has 4,921,728 parameters for an ASR encoder of 18 blocks of dimension 512.

    Use it with ``frontend: espnet_asr`` and ``layer_norm: false``.

    Paper: D. Cai and M. Li, ``Leveraging ASR pretrained conformers for speaker
    verification through transfer learning and knowledge distillation,''
    IEEE/ACM TASLP, 2024.

    Args:
        input_size: Dimension of the concatenated block outputs.
        num_blocks: Number of block outputs.
        adaptor_size: Dimension of the layer adaptors and of the lightweight blocks.
        num_light_blocks: Number of lightweight Conformer blocks.
        attention_heads: Attention heads of the lightweight blocks.
        linear_units: Hidden units of their feed-forward layers.
        cnn_module_kernel: Kernel size of their convolution.
        dropout_rate: Dropout rate of their residual branches.

    """

    @typechecked
    def __init__(
        self,
        input_size: int,
        num_blocks: int,
        adaptor_size: int = 128,
        num_light_blocks: int = 2,
        attention_heads: int = 4,
        linear_units: int = 512,
        cnn_module_kernel: int = 31,
        dropout_rate: float = 0.1,
    ):
        super().__init__()
        if input_size % num_blocks != 0:
            raise ValueError(
                f"speaker_adaptor: the frontend's dimension {input_size} is not "
                f"num_blocks={num_blocks} times that of a block"
            )
        self.block_size = input_size // num_blocks
        self.adaptors = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Linear(self.block_size, adaptor_size),
                torch.nn.ReLU(),
                torch.nn.Linear(adaptor_size, adaptor_size),
            )
            for _ in range(num_blocks)
        )

        def feed_forward():
            return PositionwiseFeedForward(
                adaptor_size, linear_units, 0.0, torch.nn.SiLU()
            )

        self.pos_enc = RelPositionalEncoding(adaptor_size, dropout_rate)
        self.light_blocks = torch.nn.ModuleList(
            EncoderLayer(
                adaptor_size,
                RelPositionMultiHeadedAttention(attention_heads, adaptor_size, 0.0),
                feed_forward(),
                feed_forward(),
                ConvolutionModule(adaptor_size, cnn_module_kernel, torch.nn.SiLU()),
                dropout_rate,
            )
            for _ in range(num_light_blocks)
        )
        self._output_size = (num_blocks + num_light_blocks) * adaptor_size
        self.norm = LayerNorm(self._output_size)

    def output_size(self) -> int:
        return self._output_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Calculate forward propagation.

        Args:
            x: Concatenated block outputs (B, T, input_size). As for other speaker
                encoders, utterances of a batch have equal lengths.

        Returns:
            Frames (B, output_size, T).

        """
        blocks = x.split(self.block_size, dim=-1)
        outputs = [adaptor(h) for adaptor, h in zip(self.adaptors, blocks)]
        hidden = self.pos_enc(outputs[-1])
        for block in self.light_blocks:
            hidden, _ = block(hidden, None)
            outputs.append(hidden[0])
        return self.norm(torch.cat(outputs, dim=-1)).transpose(1, 2)
