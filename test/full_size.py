"""The VoxCeleb recipe's training networks at full size, of fake CUDA tensors."""

import argparse
from pathlib import Path

import torch
from fake_cuda import to_cuda

from espnet2.tasks.asr import ASRTask
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.asr.supported import backbone_settings
from espnet2_sv.models.build import build_network, with_changes
from espnet2_sv.models.build_adaptor import build_adaptor
from espnet2_sv.models.build_distill import add_teacher
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.tasks import get_task

CONF = Path(__file__).resolve().parents[1] / "egs2" / "voxceleb" / "sv1" / "conf"
CLASSES = 17_982
RATE = 16000
VOCABULARY = 5000
CONFORMER = {
    "output_size": 512,
    "attention_heads": 8,
    "linear_units": 2048,
    "num_blocks": 18,
    "macaron_style": True,
    "use_cnn_module": True,
    "cnn_module_kernel": 31,
    "rel_pos_type": "latest",
}


def owsm(num_blocks: int, dim: int) -> dict:
    """Return the settings of a backbone as of OWSM v3.1."""
    return {
        "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160},
        "encoder": "e_branchformer",
        "encoder_conf": {
            "output_size": dim,
            "attention_heads": dim // 64,
            "attention_layer_type": "selfattn",
            "pos_enc_layer_type": "abs_pos",
            "cgmlp_linear_units": 4 * dim,
            "cgmlp_conv_kernel": 31,
            "num_blocks": num_blocks,
            "input_layer": "conv2d",
            "linear_units": 4 * dim,
            "use_ffn": True,
            "macaron_ffn": True,
            "merge_conv_kernel": 31,
        },
    }


def asr_model() -> AsrBundle:
    """Build the large CTC Conformer that published LibriSpeech models have."""
    tokens = ["<blank>", "<unk>", *map(chr, range(256, 253 + VOCABULARY)), "<sos/eos>"]
    settings = ASRTask.get_default_config() | {
        "token_type": "char",
        "token_list": tokens,
        "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160},
        "normalize": "utterance_mvn",
        "specaug": None,
        "encoder": "conformer",
        "encoder_conf": CONFORMER,
        "decoder": None,
        "model_conf": {"ctc_weight": 1.0},
    }
    args = argparse.Namespace(**settings)
    bundle = AsrBundle(ASRTask.build_model(args).eval(), args, Path("asr"))
    bundle.__dict__["weights_sha256"] = "0" * 64  # fake tensors have no values to hash
    return bundle


def training_arguments(config: str, **changes) -> argparse.Namespace:
    """Parse a config of the recipe, for all classes of VoxCeleb2, and change some."""
    task = config.split("_")[2].removesuffix(".yaml")  # train_sv_distill_ecapa.yaml
    args = get_task(task).get_parser().parse_args(["--config", str(CONF / config)])
    vars(args).update(changes, spk_num=CLASSES, sv_task=task)
    return args


def training_network(args: argparse.Namespace) -> SpeakerModel:
    """Build the network of a task, without archives."""
    if args.sv_task == "adaptor":
        model = build_adaptor(asr_model(), args)
    elif args.sv_task == "transfer":
        bundle = asr_model()
        model = build_network(with_changes(args, backbone_settings(bundle.args)))
    else:
        model = build_network(args)
        if args.sv_task == "distill":
            model = add_teacher(model, asr_model(), args, None, None)
    return to_cuda(model)


def batch(args: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Return a batch of crops, as the loader has it."""
    size, samples = args.batch_size, round(args.target_duration * RATE)
    crops = {
        "speech": torch.empty(size, samples),
        "speech_lengths": torch.full((size,), samples),
        "spk_labels": torch.empty(size, 1, dtype=torch.long),
    }
    if args.sv_task == "distill":
        crops["speech_clean"] = torch.empty(size, samples)
    return crops
