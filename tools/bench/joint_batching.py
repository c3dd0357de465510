#!/usr/bin/env python3
"""Compare joint recognition of utterances in length buckets and one by one.

python tools/bench/joint_batching.py    # about three minutes
"""

import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
import yaml
from networks import (
    RATE,
    asr_bundle,
    asr_settings,
    in_turn,
    machine,
    median_ratio,
    parser,
)

from espnet2_sv.asr.recogniser import Recogniser
from espnet2_sv.inference.extractors import JointRecogniser
from espnet2_sv.inference.waveforms import EmbeddingResult
from espnet2_sv.models.build_adaptor import build_adaptor
from espnet2_sv.tasks.adaptor import SVAdaptorTask
from espnet2_sv.zoo.files import ModelFiles

# Spoken commands to read sentences: median 2.5 s, nine tenths between 0.9 and 7 s.
MEDIAN_SECONDS, SPREAD, SHORTEST, LONGEST = 2.5, 0.62, 0.5, 15.0


def main() -> None:
    """Print a Markdown table."""
    options = parser(__doc__.splitlines()[0], repeats=3)
    options.add_argument("--utterances", type=int, default=128)
    options.add_argument("--sizes", nargs="+", default=["12x256", "12x512"])
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    waves = mixed_list(args.utterances)
    seconds = [len(wave) / RATE for wave in waves]
    print(
        f"{len(waves)} utterances of {min(seconds):.1f} to {max(seconds):.1f} s,"
        f" {sum(seconds):.0f} s in all; {machine(args.threads)}; medians of"
        f" {args.repeats}\n"
    )
    print(
        "| encoder | one by one s | in buckets s | speed-up | equal texts | largest"
        " relative difference of embeddings |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for size in args.sizes:
        print(measure(*map(int, size.split("x")), waves, args.repeats))


def mixed_list(utterances: int) -> list[torch.Tensor]:
    """Return noise with log-normally distributed lengths."""
    rng = np.random.default_rng(0)
    lengths = np.clip(
        rng.lognormal(np.log(MEDIAN_SECONDS), SPREAD, utterances), SHORTEST, LONGEST
    )
    samples = (lengths * RATE).astype(int)
    return [
        torch.from_numpy(0.1 * rng.standard_normal(n).astype(np.float32))
        for n in samples
    ]


def measure(num_blocks: int, dim: int, waves: list[torch.Tensor], repeats: int) -> str:
    """Return a row of the table for one encoder size."""
    joint = joint_recogniser(num_blocks, dim)
    found: dict[str, list[EmbeddingResult]] = {}

    def one_by_one() -> None:
        found["alone"] = [joint.results([wave])[0] for wave in waves]

    def in_buckets() -> None:
        found["together"] = joint.results(waves)

    times = in_turn({"alone": one_by_one, "together": in_buckets}, repeats)
    pairs = list(zip(found["alone"], found["together"], strict=True))
    equal = sum(a.transcript == b.transcript for a, b in pairs)
    largest = max(
        float((a.embedding - b.embedding).norm() / a.embedding.norm()) for a, b in pairs
    )
    cells = [
        f"{num_blocks} x {dim}",
        f"{statistics.median(times['alone']):.2f}",
        f"{statistics.median(times['together']):.2f}",
        f"{median_ratio(times['alone'], times['together']):.2f}",
        f"{equal} of {len(waves)}",
        f"{largest:.1e}",
    ]
    return f"| {' | '.join(cells)} |"


def joint_recogniser(num_blocks: int, dim: int) -> JointRecogniser:
    """Build an ASR model with a speaker adaptor, both with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = ModelFiles(root / "config.yaml", root / "model.pth", root, {})
        files.config.write_text(yaml.safe_dump(asr_settings(num_blocks, dim)))
        torch.save(asr_bundle(num_blocks, dim).model.state_dict(), files.weights)
        recogniser = Recogniser.load(files)
    options = SVAdaptorTask.get_parser().parse_args(["--output_dir", folder])
    options.spk_num = 2
    model = build_adaptor(recogniser.bundle, options).eval()
    return JointRecogniser(model, recogniser)


if __name__ == "__main__":
    main()
