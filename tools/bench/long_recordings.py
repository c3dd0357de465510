#!/usr/bin/env python3
"""Compare lengths of the pieces that long recordings are embedded in.

Accuracy: clips of each speaker of a data set are joined into recordings of 20 to 300 s
and compared with single clips of the same set that are not in them. Time: processor
seconds, for the same model and for one of a published size with random weights.

cd egs2/fotaq/sv1    # its wav.scp names clips by relative paths
python ../../../tools/bench/long_recordings.py --model exp/sv_transfer \
    --data data/fold1_valid data/fold1_test    # about twenty minutes
"""

import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from networks import RATE, asr_bundle, machine, parser, speech

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.heads import MFAHead
from espnet2_sv.inference.speech2embedding import Speech2Embedding
from espnet2_sv.inference.waveforms import WaveformEmbedder
from espnet2_sv.scoring.cosine import length_normalise
from espnet2_sv.scoring.metrics import equal_error_rate

PIECES = (3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)
JOINED = (20.0, 60.0, 120.0, 300.0)
Clips = dict[str, list[np.ndarray]]


class Encoder(torch.nn.Module):
    """An ASR Conformer with a head, both with random weights."""

    def __init__(self, num_blocks: int, dim: int):
        super().__init__()
        self.backbone = asr_bundle(num_blocks, dim).backbone()
        self.head = MFAHead(num_blocks, dim)

    def embed(self, wave: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return embeddings (B, E) of waveforms (B, S)."""
        return self.head(*self.backbone(wave, lengths))


def main() -> None:
    """Print two Markdown tables."""
    options = parser(__doc__.splitlines()[0], repeats=1)
    options.add_argument("--model", nargs="+", help="Speaker models to measure")
    options.add_argument("--data", nargs="+", help="Kaldi data directories")
    options.add_argument("--sizes", nargs="*", default=["18x512"])
    options.add_argument("--seconds", type=float, default=120.0, help="for the times")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{machine(args.threads)}; pieces of at most N seconds\n", flush=True)
    if args.data:
        clips = read_clips(args.data)
        print("| model | enrolment s | speakers | trials |" + columns() + " EER, % |")
        print("|---|---:|---:|---:|" + "---:|" * len(PIECES), flush=True)
        for source in args.model:
            model = Speech2Embedding.from_pretrained(source).spk_model
            for seconds in JOINED:
                accuracy(Path(source).name, model, clips, seconds)
    print("\n| model |" + columns() + " processor s per 100 s of speech |")
    print("|---|" + "---:|" * len(PIECES), flush=True)
    for source in args.model or []:
        times(
            Path(source).name,
            Speech2Embedding.from_pretrained(source).spk_model,
            args.seconds,
        )
    for size in args.sizes:
        times(size, Encoder(*map(int, size.split("x"))).eval(), args.seconds)


def columns() -> str:
    """Return the heading of the columns that have one piece length each."""
    return "".join(f" {piece:g} |" for piece in PIECES)[:-1]


def read_clips(folders: list[str]) -> Clips:
    """Read the recordings of data directories, by speaker and in random order."""
    clips: Clips = defaultdict(list)
    for folder in folders:
        speakers = read_two_column(f"{folder}/utt2spk")
        for utterance, audio in read_two_column(f"{folder}/wav.scp").items():
            clips[speakers[utterance]].append(read_audio(audio, RATE))
    for own in clips.values():
        random.Random(0).shuffle(own)
    return dict(clips)


def accuracy(name: str, model: torch.nn.Module, clips: Clips, seconds: float) -> None:
    """Print the error rates of recordings that are joined from clips."""
    joined, tests, speakers = [], [], []
    for own in clips.values():
        total, count = 0, 0
        while total < seconds * RATE and count < len(own) - 5:
            total += len(own[count])
            count += 1
        if total < 0.8 * seconds * RATE:  # the speaker says less
            continue
        joined.append(np.concatenate(own[:count])[: round(seconds * RATE)])
        tests += own[count:]
        speakers += [len(joined) - 1] * (len(own) - count)
    if len(joined) < 3:
        return
    test = unit(WaveformEmbedder(model)(tests))
    rates = []
    for piece in PIECES:
        enrolled = unit(in_pieces(model, piece)(joined))
        scores = enrolled @ test.T
        labels = np.arange(len(joined))[:, None] == np.array(speakers)[None]
        rates.append(f"{100 * equal_error_rate(scores.ravel(), labels.ravel())[0]:.2f}")
    print(
        f"| {name} | {seconds:g} | {len(joined)} | {scores.size:,} |"
        f" {' | '.join(rates)} |",
        flush=True,
    )


def in_pieces(model: torch.nn.Module, seconds: float) -> WaveformEmbedder:
    """Return an embedder that cuts every longer recording into such pieces."""
    embedder = WaveformEmbedder(model, max_seconds=seconds)
    embedder.halves_long = False
    return embedder


def unit(embeddings: torch.Tensor) -> np.ndarray:
    """Return embeddings of unit length."""
    return length_normalise(embeddings.numpy())


def times(name: str, model: torch.nn.Module, seconds: float) -> None:
    """Print the processor time for a long recording."""
    wave = speech(1, seconds)[0][0]
    found = []
    for piece in PIECES:
        embedder = in_pieces(model, piece)
        embedder([wave[: round(piece * RATE)]])  # warm up
        start = time.process_time()
        embedder([wave])
        found.append(f"{(time.process_time() - start) / seconds * 100:.2f}")
    print(f"| {name} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
