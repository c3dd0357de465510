"""Mean and deviation of what each layer of a model says of a recording."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch

from espnet2_sv.asr.archive import ModelFiles, file_sha256, find_model_files
from espnet2_sv.asr.bundle import load_from_files as load_asr_files
from espnet2_sv.inference.extractors import EmbeddingExtractor, Precision
from espnet2_sv.inference.loading import load_from_files
from espnet2_sv.inference.waveforms import WaveformEmbedder
from espnet2_sv.nets.adaptor import SpeakerAdaptor
from espnet2_sv.nets.pooling import statistics


@dataclass(frozen=True)
class Layer:
    """A layer and where its statistics stand in the vector of all.

    Attributes:
        name: e.g. ``block 7``.
        start: First place.
        size: Number of places; for frames of C channels 2C, means first.
    """

    name: str
    start: int
    size: int


class LayerStatistics(torch.nn.Module):
    """Pools every layer of a network into mean and standard deviation over time.

    The layers are the encoder's blocks. Of a speaker adaptor they are the streams that it makes of
    the blocks; its embedding is the last layer.

    Args:
        backbone: Speech to block outputs.
        adaptor: The speaker adaptor on it, if there is one.
    """

    def __init__(self, backbone: torch.nn.Module, adaptor: SpeakerAdaptor | None = None):
        super().__init__()
        self.backbone = backbone
        self.adaptor = adaptor

    @torch.no_grad()
    def embed(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the statistics of all layers, side by side, of speech (B, S), lengths (B,)."""
        blocks, lengths = self.backbone(speech, lengths)
        if self.adaptor is None:
            return torch.cat([statistics(block, lengths) for block in blocks], dim=-1)
        streams = self.adaptor.streams(blocks, lengths)
        embedding = self.adaptor.projection(streams, lengths)
        return torch.cat([*(statistics(s, lengths) for s in streams), embedding.float()], dim=-1)

    def layers(self) -> list[Layer]:
        """Return the layers in the order of :meth:`embed`."""
        if self.adaptor is None:
            size = 2 * self.backbone.block_dim
            names = [f"block {i + 1}" for i in range(self.backbone.num_blocks)]
            return [Layer(name, i * size, size) for i, name in enumerate(names)]
        adaptor = self.adaptor
        size = 2 * adaptor.light.positions.d_model
        names = [f"adaptor of block {i}" for i in adaptor.read_blocks]
        names += [f"light block {i + 1}" for i in range(len(adaptor.light.blocks))]
        streams = [Layer(name, i * size, size) for i, name in enumerate(names)]
        return [*streams, Layer("embedding", len(streams) * size, adaptor.embed_dim)]


@dataclass(frozen=True)
class LayerExtractor:
    """Statistics of the layers of an ASR or of a speaker model.

    Attributes:
        asr: The ASR model.
        speaker: The speaker model, which goes before it.
    """

    asr: ModelFiles | None = None
    speaker: EmbeddingExtractor | None = None
    gives_text: ClassVar[bool] = False

    @classmethod
    def find(cls, asr: str | Path | None, model: str | Path | None) -> "LayerExtractor":
        """Find a model.

        Args:
            asr: An ASR model, from any source; or the one that an adaptor ``model`` reads.
            model: A speaker model, from any source.
        """
        if model is None:
            return cls(asr=find_model_files(asr, kinds="asr"))
        return cls(speaker=EmbeddingExtractor.find(model, asr=asr))

    def network(self, device: str = "cpu") -> LayerStatistics:
        """Load the network."""
        if self.speaker is None:
            bundle = load_asr_files(self.asr, str(self.asr.root), device)
            backbone = bundle.backbone()
            backbone.set_frozen(True)
            return LayerStatistics(backbone).eval()
        found = self.speaker
        model, _ = load_from_files(found.config, found.weights, device, found.asr)
        adaptor = model.head if isinstance(model.head, SpeakerAdaptor) else None
        return LayerStatistics(model.backbone, adaptor).eval()

    def load(self, device: str, precision: Precision) -> WaveformEmbedder:
        """Load the network for whole lists."""
        return WaveformEmbedder(self.network(device), **asdict(precision))

    def identity(self) -> list[str]:
        """Return hashes of the model's files."""
        if self.speaker is not None:
            return self.speaker.identity()
        return [file_sha256(self.asr.config), file_sha256(self.asr.weights)]
