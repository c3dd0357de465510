"""Speaker models of ESPnet's own task with the settings of published ones, narrower.

The settings are those of egs2/voxceleb/spk1/conf/tuning of ESPnet 202611; only widths
differ.
"""

import copy
from pathlib import Path

import torch
import yaml

from espnet2.tasks.spk import SpeakerTask

MELSPEC = {
    "preemp": True,
    "n_fft": 512,
    "log": True,
    "win_length": 400,
    "hop_length": 160,
    "n_mels": 80,
    "normalize": "mn",
}
MFA_CONFORMER = {
    "output_size": 32,
    "attention_heads": 8,
    "linear_units": 64,
    "num_blocks": 2,
    "input_layer": "conv2d2",
    "normalize_before": True,
    "macaron_style": True,
    "rel_pos_type": "latest",
    "pos_enc_layer_type": "rel_pos",
    "selfattention_layer_type": "rel_selfattn",
    "activation_type": "swish",
    "use_cnn_module": True,
    "cnn_module_kernel": 15,
}
TOPK = {"margin": 0.3, "scale": 30, "K": 3, "mp": 0.06, "k_top": 5}
TDNN = {"model_scale": 8, "ndim": 64, "output_size": 48}
COMMON = {
    "frontend": "melspec_torch",
    "frontend_conf": MELSPEC,
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 24},
    "preprocessor_conf": {"sample_rate": 16000, "target_duration": 3.0},
    "loss": "aamsoftmax_sc_topk",
    "loss_conf": TOPK,
    "spk_num": 6,
}
MODELS = {
    "ecapa": {"encoder": "ecapa_tdnn", "encoder_conf": TDNN},
    "mfa_conformer": {"encoder": "mfaconformer", "encoder_conf": MFA_CONFORMER},
    "rawnet3": {
        "frontend": "asteroid_frontend",
        "frontend_conf": {"sinc_stride": 16, "sinc_kernel_size": 251},
        "encoder": "rawnet3",
        "encoder_conf": TDNN,
    },
    "ska": {
        "encoder": "ska_tdnn",
        "encoder_conf": TDNN | {"ska_dim": 16},
        "projector": "ska_tdnn",
    },
    "xvector": {
        "encoder": "xvector",
        "encoder_conf": {"ndim": 32, "output_size": 40},
        "pooling": "stats",
        "projector": "xvector",
    },
    "resnet": {
        "encoder": "resnet",
        "encoder_conf": {"resnet_type": "resnet18", "m_channels": 4},
        "pooling": "stats",
    },
    "mean_of_normalised": {
        "frontend": "default",
        "frontend_conf": {"fs": "16k", "hop_length": 160},
        "normalize": "global_mvn",
        "encoder": "identity",
        "encoder_conf": {},
        "pooling": "mean",
        "loss": "aamsoftmax",
        "loss_conf": {},
    },
}


# As train_ecapa_Vox12_emb192_torchmelspec_subcentertopk_wavlm.yaml, WavLM smaller
WAVLM = {
    "frontend": "s3prl",
    "frontend_conf": {
        "frontend_conf": {"upstream": "wavlm_base"},
        "multilayer_feature": True,
    },
    "freeze_param": ["frontend.upstream"],
    "normalize": "utterance_mvn",
    "normalize_conf": {"norm_vars": False},
}
WAVLM_URL = "https://huggingface.co/s3prl/converted_ckpts/resolve/main/wavlm_base.pt"


def write_wavlm(path: Path) -> None:
    """Write a small random WavLM as s3prl keeps downloaded ones."""
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    settings = vars(WavLMConfig()) | {
        "encoder_layers": 3,
        "encoder_embed_dim": 48,
        "encoder_ffn_embed_dim": 64,
        "encoder_attention_heads": 4,
        "relative_position_embedding": True,
        "num_buckets": 32,
        "max_distance": 80,
        "gru_rel_pos": True,
        "normalize": True,
        "extractor_mode": "layer_norm",
        "layer_norm_first": True,
        "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2",
    }
    torch.manual_seed(0)
    network = WavLM(WavLMConfig(settings))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"cfg": settings, "model": network.state_dict()}, path)


def make_stock_exp(folder: Path, name: str, **settings) -> Path:
    """Write what ESPnet's spk_train writes: config.yaml and the best weights."""
    folder.mkdir(parents=True)
    args = SpeakerTask.get_parser().parse_args(["--output_dir", str(folder)])
    chosen = copy.deepcopy(COMMON | MODELS[name] | settings)
    if chosen.get("normalize") == "global_mvn":
        stats = folder / "feats_stats.npz"
        _write_stats(stats)
        chosen["normalize_conf"] = {"stats_file": str(stats)}
    vars(args).update(chosen)
    torch.manual_seed(0)
    network = SpeakerTask.build_model(args)
    for buffer_name, buffer in network.named_buffers():
        if "running" in buffer_name:
            buffer.add_(torch.rand_like(buffer))
    torch.save(network.state_dict(), folder / "valid.eer.best.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(vars(args)))
    return folder


def _write_stats(path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=80), rng.uniform(1, 2, 80)
    np.savez(path, count=7, sum=7 * mean, sum_square=7 * (std**2 + mean**2))
