#!/usr/bin/env python3
"""Estimate the duration of the egs2/voxceleb/sv1 trainings on this machine.

Each training config of the recipe is built unchanged, for 17,982 classes; transfer,
adaptor and distillation start from an 18 x 512 ASR Conformer with random weights. A
step is a forward pass on noise, a backward pass, gradient clipping and an optimizer
step, in bfloat16 on GPUs that support it. Its time is multiplied by the number of steps
in the config; data loading is not included (see data.py). Floating-point operations are
those of matrix products and convolutions in one step, two per multiply-accumulate.

    python tools/bench/training_hours.py --device cuda
    python tools/bench/training_hours.py --batch_size 8 --repeats 1    # CPU: 90 seconds
"""

import argparse
import importlib
import logging
import statistics
import tempfile
import time
from pathlib import Path

import torch
import yaml
from networks import asr_settings, machine, parser

from espnet2_sv.train.operations import flop_counter

RATE = 16000
SPEAKERS = 5994  # of VoxCeleb2's development set; each speed of a speaker is a class
UTTERANCES = 1_092_009  # of that set, for configs without num_iters_per_epoch
CONF = Path(__file__).resolve().parents[2] / "egs2/voxceleb/sv1/conf"
TASKS = {"scratch": "sv.SVTask", "transfer": "transfer.SVTransferTask"}
TASKS |= {"adaptor": "adaptor.SVAdaptorTask", "distill": "distill.SVDistillTask"}
HOUR = 3600


def main() -> None:
    """Print a Markdown table."""
    options = parser(__doc__.splitlines()[0], repeats=3)
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument(
        "--batch_size",
        type=int,
        help="crops per timed step (default: as in the config)",
    )
    options.add_argument(
        "--asr", default="18x512", help="blocks and width of the ASR Conformer"
    )
    options.add_argument(
        "configs",
        nargs="*",
        type=Path,
        help="training configs (default: all of the recipe)",
    )
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    name = (
        torch.cuda.get_device_name() if args.device == "cuda" else machine(args.threads)
    )
    print(f"{name}; medians of {args.repeats} steps\n")
    print(
        "| training | trained parameters | steps | TFLOP per step | crops per second |"
        " hours |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        asr = write_asr(Path(folder), *map(int, args.asr.split("x")))
        for config in args.configs or sorted(CONF.glob("train_sv_*.yaml")):
            if "lmft" not in config.stem:  # starts from a model of one of the others
                print(measure(config, asr, args), flush=True)


def write_asr(folder: Path, num_blocks: int, dim: int) -> Path:
    """Write the exp directory of an ASR model with random weights."""
    from espnet2.tasks.asr import ASRTask

    settings = asr_settings(num_blocks, dim)
    torch.manual_seed(0)
    model = ASRTask.build_model(argparse.Namespace(**settings))
    torch.save(model.state_dict(), folder / "valid.acc.ave.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def measure(config: Path, asr: Path, args: argparse.Namespace) -> str:
    """Return the row of the table for one training config."""
    conf = build_arguments(config, asr)
    model = conf.task.build_model(conf).to(args.device)
    optimizer = conf.task.build_optimizers(conf, model)[0]
    batch = args.batch_size or conf.batch_size
    phases = {1: conf.freeze_encoder_epochs} if conf.freeze_encoder_epochs else {}
    phases[conf.max_epoch] = conf.max_epoch - conf.freeze_encoder_epochs
    steps = conf.num_iters_per_epoch or -(-UTTERANCES // conf.batch_size)
    seconds = flops = 0.0
    for epoch, epochs in phases.items():
        model.train()
        model.set_epoch(epoch, conf.freeze_encoder_epochs)
        step = one_step(model, optimizer, conf, batch, args.device)
        with flop_counter() as counter:
            step()
        weight = epochs / conf.max_epoch * conf.batch_size / batch
        flops += weight * counter.get_total_flops()
        seconds += weight * timed(step, args.repeats, args.device)
    trained = sum(
        p.numel() for group in optimizer.param_groups for p in group["params"]
    )
    total = conf.max_epoch * steps
    cells = [
        config.stem.removeprefix("train_sv_"),
        f"{trained / 1e6:.1f} M",
        f"{total:,}",
        f"{flops / 1e12:.1f}",
        f"{conf.batch_size / seconds:,.1f}",
        f"{total * seconds / HOUR:,.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def build_arguments(config: Path, asr: Path) -> argparse.Namespace:
    """Parse a training config with the parser of its task."""
    name = config.stem.removeprefix("train_sv_").split("_")[0]
    module, task_class = TASKS[name].split(".")
    task = getattr(importlib.import_module(f"espnet2_sv.tasks.{module}"), task_class)
    command = ["--config", str(config), "--output_dir", str(asr / "none")]
    conf = task.get_parser().parse_args(
        command + (["--asr", str(asr)] if name != "scratch" else [])
    )
    conf.spk_num = SPEAKERS * len(conf.speed_perturb_factors)
    conf.task = task
    return conf


def one_step(model, optimizer, conf: argparse.Namespace, batch: int, device: str):
    """Return a function that runs one training step on a batch of noise."""
    length = round(conf.target_duration * RATE)
    generator = torch.Generator().manual_seed(0)
    speech = (0.1 * torch.randn(batch, length, generator=generator)).to(device)
    lengths = torch.full((batch,), length, device=device)
    labels = torch.arange(batch, device=device)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    mixed = device == "cuda" and conf.use_amp and torch.cuda.is_bf16_supported()

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=mixed):
            loss = model(speech, lengths, labels)[0]
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(trained, conf.grad_clip)
        optimizer.step()

    return step


def timed(step, repeats: int, device: str) -> float:
    """Return the median seconds of a step; counting has been the warm-up."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
