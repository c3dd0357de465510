#!/usr/bin/env python3
"""Measure time and memory of a distillation step, and the inference cost of models.

Weights and audio are random. A step is a forward and backward pass of the student on
crops of 3 s. The parts are timed in turn, so that changes in machine load affect all of
them, and ratios are those of medians. The memory of the loss is the increase of a
process's peak resident memory by its forward and backward pass, given the outputs of
student and teacher; freed memory is returned to the system immediately.

    python tools/bench/distill.py             # a few minutes on one core
    python tools/bench/distill.py --device cuda --batch_size 256
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils.flop_counter import FlopCounterMode

SECONDS, RATE, VOCAB, TOP_K = 3.0, 16000, 5000, 32
FRAMES, DIMENSION = 74, 176  # frames of 3 s at 25 Hz; dimension of the branch
WIDE = {"output_size": 512, "attention_heads": 8, "linear_units": 2048}
TEACHER = WIDE | {"num_blocks": 12}
LARGE = WIDE | {"num_blocks": 18}
STUDENT = {"output_size": 176, "attention_heads": 4, "linear_units": 704}
STUDENTS = {
    "half small": STUDENT | {"num_blocks": 8, "input_layer": "conv2d2"},
    "small": STUDENT | {"num_blocks": 16},
    "ecapa": {"ndim": 512, "output_size": 1536},
    "resnet34": {"resnet_type": "resnet34"},
}
ENCODERS = {"ecapa": "ecapa_tdnn", "resnet34": "resnet"}
HEADS = {"resnet34": {"pooling": "stats", "embed_dim": 256}}
MEBIBYTE = 2**20


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--batch_size", type=int, default=8, help="crops per timed step"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="steps that medians are taken over"
    )
    parser.add_argument("--device", default="cpu", help="device for the timed steps")
    parser.add_argument(
        "--memory_batch", type=int, default=256, help="crops for the memory of the loss"
    )
    # Measure the loss in this process and exit
    parser.add_argument("--weigh", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.weigh is not None:
        print(loss_memory(args.weigh))
        return
    print_memory(args.memory_batch)
    print_times(args)
    print_cost()


def print_memory(batch: int) -> None:
    """Print how much the loss adds to peak memory, for two batch sizes."""
    print(
        f"| batch of {SECONDS:g} s, {VOCAB:,} classes, top {TOP_K} | loss adds (MiB) |"
    )
    print("| ---: | ---: |")
    for size in (batch // 4, batch):
        command = [sys.executable, __file__, "--weigh", str(size)]
        env = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(MEBIBYTE)}
        found = subprocess.run(
            command, env=env, check=True, capture_output=True, text=True
        ).stdout
        print(f"| {size} | {float(found):.0f} |")
    print(flush=True)


def loss_memory(batch: int) -> float:
    """Return the increase of peak memory by the loss and its gradient, in MiB."""
    from espnet2_sv.distill.kd_loss import DistillationLoss

    frames = torch.randn(batch, FRAMES, DIMENSION, requires_grad=True)
    hidden = torch.randn(batch, FRAMES, TEACHER["output_size"])
    output = torch.nn.Linear(DIMENSION, VOCAB)
    ctc = torch.nn.Linear(TEACHER["output_size"], VOCAB).requires_grad_(False)
    loss, lengths = DistillationLoss(top_k=TOP_K), torch.full((batch,), FRAMES)

    def step(rows: int) -> None:
        sums = loss(
            frames[:rows],
            output,
            lambda some: loss.targets(
                ctc(hidden[:rows][some]).log_softmax(-1), None, FRAMES
            ),
            lengths[:rows],
        )
        sums.loss.backward()

    step(1)  # includes memory that libraries allocate once
    before = peak()
    step(batch)
    return peak() - before


def peak() -> float:
    """Return peak resident memory in MiB; getrusage would include the parent's."""
    status = Path("/proc/self/status").read_text()
    # e.g. VmHWM:	  123456 kB
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def encoder_conf(size: dict, **changes) -> dict:
    """Return the encoder_conf of a macaron Conformer."""
    common = {"macaron_style": True, "cnn_module_kernel": 31, "rel_pos_type": "latest"}
    return common | size | changes


def build_student(name: str) -> torch.nn.Module:
    """Build one of the students for 6,000 speakers."""
    from espnet2_sv.models.build import build_network
    from espnet2_sv.tasks.sv import SVTask

    args = SVTask.get_parser().parse_args(["--output_dir", "none"])
    args.spk_num, args.frontend_conf = 6000, {"hop_length": 160}
    args.encoder = ENCODERS.get(name, "conformer")
    args.encoder_conf = (
        STUDENTS[name] if name in ENCODERS else encoder_conf(STUDENTS[name])
    )
    args.head = "pooled" if name in ENCODERS else "mfa"
    args.head_conf = HEADS.get(name, {})
    return build_network(args)


def build_asr(size: dict) -> SimpleNamespace:
    """Build the parts of an ASR model that a teacher or an adaptor needs."""
    from espnet2.asr.ctc import CTC
    from espnet2_sv.backbones.build import build_backbone

    settings = {
        "frontend": "default",
        "frontend_conf": {"hop_length": 160},
        "normalize": "utterance_mvn",
        "encoder": "conformer",
        "encoder_conf": encoder_conf(size),
    }
    backbone = build_backbone(settings)
    ctc = CTC(odim=VOCAB, encoder_output_size=backbone.block_dim)
    return SimpleNamespace(backbone=backbone, ctc=ctc)


def build_distilled(student: torch.nn.Module, name: str) -> torch.nn.Module:
    """Add branch and teacher to a student."""
    from espnet2_sv.distill.asr_branch import AsrBranch
    from espnet2_sv.distill.kd_loss import DistillationLoss
    from espnet2_sv.distill.teacher import Teacher
    from espnet2_sv.models.distill_model import DistillModel

    asr = build_asr(TEACHER)
    teacher = Teacher(
        SimpleNamespace(
            model=SimpleNamespace(ctc=asr.ctc, blank_id=0),
            backbone=lambda: asr.backbone,
            weights_sha256="",
        )
    )
    dim = 256 if name in ENCODERS else None
    branch = AsrBranch(student.backbone.block_dim, VOCAB, num_blocks=1, dim=dim)
    loss = DistillationLoss(top_k=TOP_K)
    return DistillModel(student, branch, teacher, loss, lambda epoch: 1.0)


def print_times(args: argparse.Namespace) -> None:
    """Print the time of a step with and without distillation."""
    print(
        f"Batch of {args.batch_size} x {SECONDS:g} s on {args.device}, teacher with"
        f" {TEACHER['num_blocks']} x {TEACHER['output_size']}\n"
    )
    print("| student | plain step (s) | teacher forward (s) | KD step (s) | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    speech = torch.randn(args.batch_size, int(SECONDS * RATE), device=args.device)
    lengths = torch.full((args.batch_size,), speech.size(1), device=args.device)
    labels = torch.arange(args.batch_size, device=args.device)
    for name in STUDENTS:
        plain = build_student(name).to(args.device).train()
        distilled = build_distilled(plain, name).to(args.device).train()

        def step(model):
            model(speech, lengths, labels)[0].mean().backward()

        work = {
            "plain": lambda plain=plain: step(plain),
            "teacher": lambda model=distilled: model.teacher.encode(speech, lengths),
            "kd": lambda model=distilled: step(model),
        }
        found = time_in_turn(work, args.repeats, args.device)
        ratio = found["kd"] / (found["plain"] + found["teacher"])
        print(
            f"| {name} | {found['plain']:.2f} | {found['teacher']:.2f} |"
            f" {found['kd']:.2f} | {ratio:.2f} |",
            flush=True,
        )
    print("\nratio: KD step / (plain step + teacher forward)\n")


def time_in_turn(
    work: dict[str, Callable], repeats: int, device: str
) -> dict[str, float]:
    """Return the median seconds of each function; a first round is discarded."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def print_cost(seconds: int = 10) -> None:
    """Print parameters and MACs per second of audio of the models at inference."""
    from espnet2_sv.heads.adaptor import SpeakerAdaptor
    from espnet2_sv.heads.mfa import MFAHead

    print("| model at inference | parameters | GMAC per second of audio |")
    print("| --- | ---: | ---: |")
    for name in STUDENTS:
        student = build_student(name)
        print_row(f"distilled, {name}", student.backbone, student.head, seconds)
    for name, size in (("18 x 512", LARGE), ("12 x 512", TEACHER)):
        backbone = build_asr(size).backbone
        mfa = MFAHead(backbone.num_blocks, backbone.block_dim)
        adaptor = SpeakerAdaptor(backbone.num_blocks, backbone.block_dim)
        print_row(f"transfer, {name}", backbone, mfa, seconds)
        print_row(f"adaptor and ASR encoder, {name}", backbone, adaptor, seconds)


@torch.no_grad()
def print_row(
    name: str, backbone: torch.nn.Module, head: torch.nn.Module, seconds: int
) -> None:
    """Print the cost of a model; the counter ignores Fourier transforms."""
    parameters = sum(p.numel() for part in (backbone, head) for p in part.parameters())
    samples = seconds * RATE
    with FlopCounterMode(display=False) as counter:
        head.eval()(*backbone.eval()(torch.randn(1, samples), torch.tensor([samples])))
    macs = counter.get_total_flops() / 2 / seconds / 1e9
    print(f"| {name} | {parameters / 1e6:.2f} M | {macs:.3f} |", flush=True)


if __name__ == "__main__":
    main()
