#!/usr/bin/env python3
r"""Recognise speech with an ASR model alone, by greedy CTC search, clip by clip.

    greedy_asr.py --asr exp/fold1/asr/asr.zip --wav_scp data/fold1_asr_dev/wav.scp \
        --output TEXT

The reference for sv_joint, since ESPnet's commands offer no greedy CTC search.
"""

import argparse
from itertools import groupby

import torch

from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.token_id_converter import TokenIDConverter
from espnet2_sv.asr import AsrBundle, load_asr_bundle
from espnet2_sv.backbones.front_ends import front_end
from espnet2_sv.bin.cli import run
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import read_two_column, write_two_column


@torch.no_grad()
def recognise(bundle: AsrBundle, wavs: dict[str, str]) -> dict[str, str]:
    """Return the text of each utterance.

    Args:
        bundle: An ASR model with a CTC layer.
        wavs: Audio by utterance, as in a ``wav.scp``.

    Raises:
        SVError: A recording cannot be read.
    """
    model, args, texts = bundle.model, bundle.args, {}
    rate = front_end(model.frontend).sample_rate
    tokenizer = build_tokenizer(args.token_type, bpemodel=args.bpemodel)
    converter = TokenIDConverter(args.token_list)
    for name, wav in wavs.items():
        speech = torch.from_numpy(read_audio(wav, rate))
        encoded, _ = model.encode(speech[None], torch.tensor([len(speech)]))
        frames = model.ctc.argmax(encoded)[0].tolist()
        tokens = [token for token, _ in groupby(frames) if token != model.blank_id]
        texts[name] = tokenizer.tokens2text(converter.ids2tokens(tokens))
    return texts


def main(cmd: list[str] | None = None) -> None:
    """Recognise all utterances and write their text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--asr", required=True, help="ASR model: tag, zip or folder")
    parser.add_argument("--wav_scp", required=True, help="Kaldi wav.scp")
    parser.add_argument("--output", required=True, help="Kaldi text file to write")
    args = parser.parse_args(cmd)
    bundle = load_asr_bundle(args.asr)
    write_two_column(args.output, recognise(bundle, read_two_column(args.wav_scp)))


if __name__ == "__main__":
    run(main)
