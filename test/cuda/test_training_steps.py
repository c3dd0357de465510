"""What the VoxCeleb recipe's training asks of a GPU, counted without one.

Every task and kind of network runs at full size on fake CUDA tensors with bfloat16
autocast: forward, loss, backward and embedding. An operation on tensors of different
devices is an error. The limits are what was counted, and a little more.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from fake_cuda import Meter, backward, fake_driver, fake_tensors, to_cuda
from full_size import RATE, batch, owsm, training_arguments, training_network

from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.data.iter_factory import EmbedIterFactory
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.models.build import build_network, with_changes
from espnet2_sv.tasks.sv import checkpoint_blocks
from espnet2_sv.train.device import DeviceBatches
from espnet2_sv.train.operations import flop_counter

MIB, GIB = 2**20, 2**30


class Step(NamedTuple):
    """A training config, and the limits of a step without its optimizer."""

    config: str
    kernels: int
    peak_gib: float
    copied_mib: float = 0.2  # to the GPU, besides the crops
    forward_gib: float = math.inf  # peak of the forward pass
    epoch: int = 40
    changes: Mapping[str, Any] = MappingProxyType({})


STEPS = {
    "scratch": Step("train_sv_scratch_small.yaml", 2650, 8.5),
    "scratch, E-Branchformer": Step(
        "train_sv_scratch_small.yaml",
        1800,
        9.0,
        changes={
            "encoder": "e_branchformer",
            "encoder_conf": {
                "output_size": 256,
                "attention_heads": 4,
                "linear_units": 1024,
                "cgmlp_linear_units": 1024,
                "num_blocks": 12,
                "input_layer": "conv2d",
                "rel_pos_type": "latest",
            },
        },
    ),
    "scratch, OWSM-CTC's encoder": Step(
        "train_sv_scratch_small.yaml",
        2330,
        8.0,
        changes={
            "encoder": "e_branchformer_ctc",
            "encoder_conf": {
                "output_size": 256,
                "attention_heads": 4,
                "attention_layer_type": "selfattn",
                "pos_enc_layer_type": "abs_pos",
                "linear_units": 1024,
                "cgmlp_linear_units": 1024,
                "num_blocks": 12,
                "input_layer": "conv2d8",
                "use_ffn": True,
                "macaron_ffn": True,
                "use_cross_attention": 4 * [False, False, True],
                "interctc_layer_idx": [4, 8],
                "interctc_use_conditioning": True,
            },
            "conditioning_vocab": 5000,
        },
    ),
    "scratch, SKA-TDNN": Step(
        "train_sv_scratch_small.yaml",
        2270,
        38.0,
        changes={
            "encoder": "ska_tdnn",
            "encoder_conf": {},
            "head": "pooled",
            "head_conf": {"projector": "ska_tdnn"},
        },
    ),
    "transfer, frozen": Step("train_sv_transfer.yaml", 1200, 5.8, epoch=1),
    "transfer": Step("train_sv_transfer.yaml", 2900, 26.0),
    # fake_cuda.backward frees less than PyTorch does: the peak says nothing here
    "transfer, checkpointed": Step(
        "train_sv_transfer.yaml",
        3950,
        math.inf,
        forward_gib=6.8,
        changes={"grad_checkpointing": True},
    ),
    "adaptor": Step("train_sv_adaptor.yaml", 1950, 4.0),
    "distill, Conformer": Step("train_sv_distill_halfsmall.yaml", 2900, 11.7),
    "distill, deep Conformer": Step("train_sv_distill_small.yaml", 4000, 10.5),
    "distill, ECAPA-TDNN": Step("train_sv_distill_ecapa.yaml", 2150, 9.2),
    "distill, ResNet34": Step("train_sv_distill_resnet34.yaml", 1880, 14.5),
}


@pytest.fixture(autouse=True)
def device():
    with fake_driver(), fake_tensors():
        yield


def types_of_a_linear_layer(backbone) -> list[torch.dtype]:
    """Return a list that gets the type of the layer's output in every pass."""
    types: list[torch.dtype] = []
    backbone.encoder.encoders[0].feed_forward.w_1.register_forward_hook(
        lambda module, inputs, output: types.append(output.dtype)
    )
    return types


def cast_frozen_weights(model) -> None:
    """Do what only the first step does."""
    with torch.autocast("cuda", dtype=torch.bfloat16):
        for part in model.modules():
            if isinstance(part, FrozenBackbone):
                part.in_autocast(part.running, torch.device("cuda"))
            elif isinstance(part, Teacher):
                part.in_autocast(part.frozen_module.backbone, torch.device("cuda"))


@pytest.mark.parametrize("name", STEPS)
def test_a_step_stays_within_its_limits(name):
    step = STEPS[name]
    args = training_arguments(step.config, **step.changes)
    model = training_network(args).train()
    if args.grad_checkpointing:
        checkpoint_blocks(model)
    model.set_epoch(step.epoch, args.freeze_encoder_epochs)
    cast_frozen_weights(model)
    with Meter() as meter:
        crops = batch(args)
        size = sum(x.numel() * x.element_size() for x in crops.values())
        _, items = next(iter(DeviceBatches([([], crops)], "cuda")))
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss, *_ = model(**items)
        assert meter.counts.syncs == 0, meter.waits
        assert meter.counts.peak <= step.forward_gib * GIB, meter.counts
        backward(loss.sum())
        assert meter.counts.syncs == 0, meter.waits
        assert meter.counts.kernels <= step.kernels, meter.operations.most_common(9)
        assert meter.counts.copied <= size + step.copied_mib * MIB
        assert meter.counts.peak <= step.peak_gib * GIB
        trained = [p for p in model.parameters() if p.requires_grad]
        assert all(p.grad.device.type == "cuda" for p in trained)
        meter.reset()
        padded = torch.cat([torch.full((2,), 30000), torch.full((2,), 48000)])
        if model.backbone.padding_sensitive:
            padded = torch.full((4,), 48000)
        with torch.no_grad():
            embeddings = model.eval().embed(items["speech"][:4], padded)
        assert embeddings.device.type == "cuda"
        # besides positions, which the first batch after mixed precision computes anew
        waits = [what for what in meter.waits.elements() if "embedding.py" not in what]
        assert len(waits) <= 1, meter.waits


# In the recipe's README: trained parameters, TFLOP per step, GiB of the forward pass
# and of gradients and AdamW
OWSM = {
    "transfer, v3.1 base": (6, 384, False, 31.7, 5.4, 8.5),
    "transfer, v3.1 base, checkpointed": (6, 384, True, 31.7, 6.1, 3.2),
    "transfer, v3.1 small, checkpointed": (9, 768, True, 173.4, 30.7, 8.5),
}


@pytest.mark.parametrize("name", OWSM)
def test_owsm_costs_what_the_readme_says(name):
    num_blocks, dim, checkpointed, parameters, tflop, gib = OWSM[name]
    args = training_arguments("train_sv_transfer.yaml")
    model = to_cuda(build_network(with_changes(args, owsm(num_blocks, dim)))).train()
    model.backbone.grad_checkpointing = checkpointed
    network = [*model.backbone.parameters(), *model.head.parameters()]
    assert round(sum(p.numel() for p in network) / 1e6, 1) == parameters
    found = 0.0
    for epoch, share in (1, 0.2), (args.max_epoch, 0.8):  # frozen, and not
        model.set_epoch(epoch, args.freeze_encoder_epochs)
        for parameter in model.parameters():
            parameter.grad = None
        with Meter() as meter, flop_counter() as counter:
            crops = {k: v.to("cuda") for k, v in batch(args).items()}
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss, *_ = model(crops["speech"], None, crops["spk_labels"])
            peak = meter.counts.peak
            backward(loss.sum())
        found += share * counter.get_total_flops() / 1e12
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found == pytest.approx(tflop, abs=0.06)
    assert (peak + 12 * trained) / GIB == pytest.approx(gib, abs=0.1)


def test_the_longest_validation_batch_fits_on_a_gpu(tmp_path):
    soundfile.write(tmp_path / "long.wav", np.zeros(25 * RATE), RATE)
    wavs = {f"utt{i:03d}": str(tmp_path / "long.wav") for i in range(256)}
    factory = EmbedIterFactory(wavs, wavs, sample_rate=RATE, batch_size=256)
    size = max(len(utterances) for utterances in factory.batches)
    model = training_network(training_arguments("train_sv_transfer.yaml")).eval()
    with Meter() as meter, torch.no_grad():
        speech = torch.empty(size, 25 * RATE, device="cuda")
        model.embed(speech, torch.full((size,), 25 * RATE))
        assert meter.counts.peak <= 6 * GIB


def test_frozen_networks_have_the_precision_of_the_training():
    model = training_network(training_arguments("train_sv_adaptor.yaml")).train()
    types = types_of_a_linear_layer(model.backbone.frozen_module)
    with Meter():
        speech = torch.empty(2, RATE, device="cuda"), torch.full((2,), RATE)
        model.backbone(*speech)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            model.backbone(*speech)
    assert types == [torch.float32, torch.bfloat16]


def test_a_gpu_that_only_emulates_bfloat16_trains_in_float16():
    args = training_arguments("train_sv_scratch_small.yaml", batch_size=2)
    model = training_network(args).train()
    types = types_of_a_linear_layer(model.backbone)
    native = "torch.cuda.is_bf16_supported"
    with Meter():
        _, items = next(iter(DeviceBatches([([], batch(args))], "cuda")))
        with torch.autocast("cuda", dtype=torch.bfloat16):
            model(**items)
        with (
            mock.patch(native, lambda including_emulation=True: including_emulation),
            torch.autocast("cuda", dtype=torch.bfloat16),
        ):
            model(**items)
    assert types == [torch.bfloat16, torch.float16]
