#!/usr/bin/env python3
r"""Embed utterances with Resemblyzer's pretrained encoder, as a baseline.

    embed_resemblyzer.py --wav_scp dump/raw/fold1_test/wav.scp --output_dir DIR \
        [--system FILE]

Resemblyzer (https://github.com/resemble-ai/Resemblyzer) is a GE2E encoder of three LSTM
layers, trained by its authors on thousands of speakers. It is used as documented:
preprocess_wav raises the volume of quiet recordings and shortens long silences,
embed_utterance averages over windows of 1.6 s. Writes xvector.ark, xvector.scp and
utt2dur.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from resemblyzer import VoiceEncoder, preprocess_wav, sampling_rate

from espnet2_sv.bin.cli import run
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.inference.description import PROBE_SECONDS
from espnet2_sv.inference.shards import Part, merge_parts, save_part

# defaults of embed_utterance: windows per second, and minimum fill of the last one
WINDOWS = {"rate": 1.3, "min_coverage": 0.75}


def embed(encoder: VoiceEncoder, wav_scp: str) -> Part:
    """Embed each utterance.

    Raises:
        SVError: A recording cannot be read, or contains no voice to embed.
    """
    vectors, seconds, wavs = [], [], read_two_column(wav_scp)
    for name, wav in wavs.items():
        speech = read_audio(wav, sampling_rate)
        voiced = preprocess_wav(speech)
        vector = (
            encoder.embed_utterance(voiced, **WINDOWS)
            if len(voiced)
            else np.array([np.nan])
        )
        if not np.isfinite(vector).all():
            raise SVError(
                f"{wav_scp}: Resemblyzer detects no voice in {name} ({wav}); remove it"
            )
        vectors.append(vector)
        seconds.append(len(speech) / sampling_rate)
    return Part(list(wavs), np.stack(vectors), np.array(seconds), [])


def describe(encoder: VoiceEncoder) -> dict[str, float]:
    """Return the columns for RESULTS.md that sv_describe gives for other systems.

    None of its parameters is trained here. Multiply-accumulates are computed from
    shapes, since torch's FlopCounterMode does not count an LSTM: each matrix (M, N)
    takes M * N per frame.
    """
    sizes = {name: p.numel() for name, p in encoder.named_parameters()}
    lstm = sum(n for name, n in sizes.items() if name.startswith("lstm.weight"))
    samples = PROBE_SECONDS * sampling_rate
    _, windows = encoder.compute_partial_slices(samples, **WINDOWS)
    frames = sum(window.stop - window.start for window in windows)
    macs = frames * lstm + len(windows) * sizes["linear.weight"]
    return {
        "parameters": sum(sizes.values()),
        "trained_parameters": 0,
        "gmac_per_second": macs / PROBE_SECONDS / 1e9,
    }


def main(cmd: list[str] | None = None) -> None:
    """Embed all utterances and write the embeddings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wav_scp", required=True, help="Kaldi wav.scp")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--system", type=Path, help="system.json to write")
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)  # a window is too small for more
    encoder = VoiceEncoder("cpu", verbose=False)
    part = args.output_dir / "part.npz"
    save_part(part, embed(encoder, args.wav_scp))
    merge_parts([part], args.output_dir)
    part.unlink()
    if args.system:
        with atomic_write(args.system) as stream:
            stream.write(json.dumps(describe(encoder), indent=2) + "\n")


if __name__ == "__main__":
    run(main)
