"""Shared by the benchmarks: ASR models with random weights, timing and options."""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from espnet2.tasks.asr import ASRTask
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.build import build_backbone

RATE = 16000
VOCABULARY = 5000


def asr_settings(num_blocks: int, dim: int, vocabulary: int = VOCABULARY) -> dict:
    """Return the config of a published size of ESPnet CTC Conformer."""
    characters = map(chr, range(256, 253 + vocabulary))
    return ASRTask.get_default_config() | {
        "token_type": "char",
        "token_list": ["<blank>", "<unk>", *characters, "<sos/eos>"],
        "frontend_conf": {
            "fs": "16k",
            "n_fft": 512,
            "win_length": 400,
            "hop_length": 160,
        },
        "normalize": "utterance_mvn",
        "specaug": None,
        "encoder": "conformer",
        "encoder_conf": {
            "output_size": dim,
            "attention_heads": 8 if dim == 512 else 4,
            "linear_units": 2048,
            "num_blocks": num_blocks,
            "macaron_style": True,
            "rel_pos_type": "latest",
            "pos_enc_layer_type": "rel_pos",
            "selfattention_layer_type": "rel_selfattn",
            "activation_type": "swish",
            "use_cnn_module": True,
            "cnn_module_kernel": 31,
        },
        "decoder": None,
        "model_conf": {"ctc_weight": 1.0},
    }


def owsm_settings(num_blocks: int, dim: int, ctc: bool = False) -> dict:
    """Return the backbone of a published size of OWSM v3.1, or of OWSM-CTC v4.

    Args:
        num_blocks: L: 6, 9, 18 (base, small, medium) or 27 (OWSM-CTC 1B).
        dim: D: 384, 768, 1024 or 1024.
        ctc: OWSM-CTC, with 80 ms frames and 128 mel bins instead of 40 ms and 80.
    """
    frontend = {"fs": "16k", "n_fft": 512, "win_length": 400, "hop_length": 160}
    encoder = {
        "output_size": dim,
        "attention_heads": dim // 64,
        "attention_layer_type": "selfattn",
        "pos_enc_layer_type": "abs_pos",
        "cgmlp_linear_units": 4 * dim,
        "cgmlp_conv_kernel": 31,
        "num_blocks": num_blocks,
        "input_layer": "conv2d8" if ctc else "conv2d",
        "linear_units": 4 * dim,
        "use_ffn": True,
        "macaron_ffn": True,
        "merge_conv_kernel": 31,
    }
    if not ctc:
        return {
            "frontend_conf": frontend,
            "encoder": "e_branchformer",
            "encoder_conf": encoder,
        }
    encoder |= {
        "interctc_layer_idx": [d for d in (6, 12, 15, 21) if d < num_blocks],
        "interctc_use_conditioning": True,
        "use_cross_attention": [d % 3 == 2 for d in range(num_blocks)],
    }
    return {
        "frontend_conf": frontend | {"n_mels": 128},
        "encoder": "e_branchformer_ctc",
        "encoder_conf": encoder,
        "conditioning_vocab": 50_002,
    }


def encoder_backbone(name: str) -> BlockBackbone:
    """Build a backbone with random weights.

    Args:
        name: Blocks and dimension, e.g. ``"18x512"`` for a Conformer, ``"owsm-6x384"``
            or ``"owsm-ctc-27x1024"``.
    """
    family, _, size = name.rpartition("-")
    num_blocks, dim = map(int, size.split("x"))
    torch.manual_seed(0)
    if not family:
        return asr_bundle(num_blocks, dim).backbone()
    backbone = build_backbone(owsm_settings(num_blocks, dim, family == "owsm-ctc"))
    assert isinstance(backbone, BlockBackbone)
    return backbone.eval()


def asr_bundle(num_blocks: int, dim: int) -> AsrBundle:
    """Build an ASR model with random weights."""
    args = argparse.Namespace(**asr_settings(num_blocks, dim))
    torch.manual_seed(0)
    return AsrBundle(ASRTask.build_model(args).eval(), args, None)


def speech(
    batch: int, seconds: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noise (B, S) at 16 kHz and its lengths (B,)."""
    samples = int(seconds * RATE)
    generator = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(batch, samples, generator=generator)
    return noise, torch.full((batch,), samples)


def in_turn(
    functions: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions in turn, so that changes in machine load affect all of them.

    Args:
        functions: Functions by name.
        repeats: Number of rounds; another one before them is discarded.
        clock: Seconds; ``time.process_time`` is indifferent to what else runs.

    Returns:
        Seconds of every round by name.
    """
    seconds = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: values[1:] for name, values in seconds.items()}


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Return the median over rounds of the ratio of two times."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def machine(threads: int) -> str:
    """Describe the machine in one line."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{name}, {threads} of {os.cpu_count()} threads, PyTorch {torch.__version__}"


def parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """Build a parser with the options that all benchmarks have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--threads", type=int, default=2, help="PyTorch threads")
    options.add_argument(
        "--repeats",
        type=int,
        default=repeats,
        help="rounds that medians are taken over",
    )
    return options
