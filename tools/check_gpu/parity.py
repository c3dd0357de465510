"""Every task and kind of student on the device and on the CPU, with the same weights.

Loss and gradients are compared in float32 without TensorFloat-32, and those in mixed
precision with those in float32. With ``--device cpu`` the reference is the CPU without
oneDNN, whose convolutions and products are computed by other code.
"""

import contextlib
import functools
from pathlib import Path

import torch

from check_gpu.device import exact_float32, free_memory, mixed_precision
from check_gpu.networks import (
    MINI_AN4,
    RATE,
    VOXCELEB,
    SmoothRectifiers,
    comparable,
    fewer_blocks,
    parse,
    read_config,
    task_name,
    vary,
    voices,
    write_asr,
    write_config,
)
from check_gpu.results import Check, Context, Failed, Figures

TOLERANCE = 1e-4  # of float32, relative
MIN_COSINE = 0.9999  # of embeddings
# Relative, of the gradient of a single parameter, which averages over less
PARAMETER_TOLERANCE = 1e-3
# Of mixed precision, relative, and of gradients: bfloat16 has eight bits of mantissa.
# At full width, a CPU reaches 1e-3 and 0.99
BF16_LOSS, BF16_COSINE = 0.1, 0.8
# A parameter's gradient below this part of the whole gradient is rounding: the keys'
# biases, for example, have none
SMALLEST_PART = 1e-2
SPEAKERS = 64
CASES = {
    "scratch": VOXCELEB / "train_sv_scratch.yaml",
    "transfer": VOXCELEB / "train_sv_transfer.yaml",
    "transfer, frozen": VOXCELEB / "train_sv_transfer.yaml",
    "adaptor": VOXCELEB / "train_sv_adaptor.yaml",
    "distill, Conformer": VOXCELEB / "train_sv_distill_halfsmall.yaml",
    "distill, ECAPA-TDNN": VOXCELEB / "train_sv_distill_ecapa.yaml",
    "distill, ResNet": VOXCELEB / "train_sv_distill_resnet34.yaml",
    "distill, SKA-TDNN": MINI_AN4 / "train_sv_distill_ska.yaml",
    "distill, ASR encoder": MINI_AN4 / "train_sv_distill_transfer.yaml",
}
Vectors = dict[str, torch.Tensor]


def checks(context: Context) -> dict[str, Check]:
    """Return the checks of this part."""
    exact_float32()
    return {name: functools.partial(case, context, name) for name in CASES}


def case(context: Context, name: str) -> Figures:
    """Compare one network."""
    asr = context.folder("parity_asr", functools.partial(make_asr, context.small))
    model = build(context, CASES[name], asr)
    if name.endswith("frozen"):
        model.set_epoch(1, 1)
    else:
        model.set_epoch(2, 0)  # the distillation loss may begin at 0
    batch = voices(8, 0.5 if context.small else 2.0, SPEAKERS)
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    with reference_kernels(context.small):
        expected = measure(model, initial, batch, "cpu")
    model.to(context.device)
    found = measure(model, initial, batch, context.device)
    mixed = measure(model, initial, batch, context.device, mixed=True)
    del model
    free_memory(context.device)
    return compare(expected, found, mixed)


def make_asr(small: bool, folder: Path) -> None:
    """Write the ASR model of all cases."""
    write_asr(folder, *((3, 16, 30) if small else (3, 512, 5000)))


def build(context: Context, config: Path, asr: Path) -> torch.nn.Module:
    """Build a network with few blocks, comparable between devices."""
    conf = fewer_blocks(read_config(config, tiny=context.small), num_blocks=3)
    conf.pop("specaug", None)
    folder = context.workdir / "parity"
    path = write_config(folder, config.stem, conf)
    options = [] if task_name(config) == "scratch" else ["--asr", str(asr)]
    task, args = parse(path, folder, options)
    args.spk_num = SPEAKERS
    torch.manual_seed(1)
    model = task.build_model(args)
    vary(model.head)
    return comparable(model)


@contextlib.contextmanager
def reference_kernels(small: bool):
    """Compute the reference, without oneDNN where the device is the CPU itself."""
    with torch.backends.mkldnn.flags(enabled=not small):
        yield


def measure(
    model: torch.nn.Module,
    state: Vectors,
    batch: Vectors,
    device: str,
    mixed: bool = False,
) -> Vectors:
    """Compute embeddings, and loss and gradients of a training step.

    Args:
        model: On the device.
        state: Weights and buffers to start from.
        batch: A training batch.
        device: Where to compute.
        mixed: Use mixed precision as the trainer does.

    Returns:
        ``embeddings`` (B, E), ``loss`` (), and gradients by parameter; on the CPU.
    """
    precision = mixed_precision(device) if mixed else contextlib.nullcontext()
    model.load_state_dict(state)
    batch = {key: value.to(device) for key, value in batch.items()}
    # Utterances of different lengths, padded, where the network allows for it
    step = 0 if model.backbone.padding_sensitive else RATE // 20
    lengths = [batch["speech"].size(1) - i * step for i in range(4)]
    speech = batch["speech"][:4].clone()
    for row, length in zip(speech, lengths, strict=True):
        row[length:] = 0
    model.eval()
    with torch.no_grad(), SmoothRectifiers(), precision:
        embeddings = model.embed(speech, torch.tensor(lengths, device=device))
    model.train()
    model.zero_grad(set_to_none=True)
    with SmoothRectifiers(), precision:
        loss, _, _ = model(**batch)
    loss.sum().backward()
    found = {"embeddings": embeddings, "loss": loss.detach().sum()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad
    return {name: tensor.detach().cpu().double() for name, tensor in found.items()}


def compare(expected: Vectors, found: Vectors, mixed: Vectors) -> Figures:
    """Compare float32 with the reference, and mixed precision with float32.

    Raises:
        Failed: They differ by more than they may.
    """
    if expected.keys() != found.keys():
        odd = sorted(expected.keys() ^ found.keys())
        raise Failed(f"gradients on one device only: {odd[0]} ({len(odd)} in all)")
    names = [name for name in expected if name not in ("embeddings", "loss")]
    whole = norm(expected[name] for name in names)
    error = norm(found[name] - expected[name] for name in names) / whole
    floor = SMALLEST_PART * whole
    errors = {
        name: float((found[name] - expected[name]).norm())
        / max(float(expected[name].norm()), floor)
        for name in names
    }
    worst = max(errors, key=lambda name: errors[name])
    figures = {
        "loss": relative(found["loss"], expected["loss"]),
        "gradient": error,
        "worst gradient": errors[worst],
        "embeddings cosine": cosines(found, expected),
        "bf16 loss": relative(mixed["loss"], found["loss"]),
        "bf16 gradient cosine": gradient_cosine(mixed, found, names),
        "bf16 embeddings cosine": cosines(mixed, found),
    }
    limits = {
        "loss": figures["loss"] <= TOLERANCE,
        "gradient": error <= TOLERANCE,
        f"gradient of {worst}": errors[worst] <= PARAMETER_TOLERANCE,
        "embeddings": figures["embeddings cosine"] > MIN_COSINE,
        "loss in bfloat16": figures["bf16 loss"] <= BF16_LOSS,
        "gradient in bfloat16": figures["bf16 gradient cosine"] > BF16_COSINE,
    }
    wrong = [name for name, good in limits.items() if not good]
    if wrong:
        raise Failed(f"differs: {', '.join(wrong)}", figures)
    return figures


def norm(tensors) -> float:
    """Return the norm of several tensors together."""
    return sum(float(tensor.square().sum()) for tensor in tensors) ** 0.5


def relative(value: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the relative difference of two numbers."""
    return float((value - reference).abs() / reference.abs())


def cosines(found: Vectors, expected: Vectors) -> float:
    """Return the smallest cosine of corresponding embeddings."""
    pair = found["embeddings"], expected["embeddings"]
    return float(torch.nn.functional.cosine_similarity(*pair).min())


def gradient_cosine(found: Vectors, expected: Vectors, names: list[str]) -> float:
    """Return the cosine of two gradients of all parameters."""
    product = sum(float((found[n] * expected[n]).sum()) for n in names)
    sizes = norm(found[n] for n in names) * norm(expected[n] for n in names)
    return product / sizes
