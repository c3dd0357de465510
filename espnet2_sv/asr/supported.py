"""Which ASR models are supported, and the settings that rebuild their encoder."""

import argparse
import copy
import inspect
from typing import Any

from espnet2_sv.asr.prompt import prompt_symbols
from espnet2_sv.asr.task import S2T_CTC, task_of
from espnet2_sv.backbones.blocks import BLOCK_ENCODERS
from espnet2_sv.backbones.build import FRONTENDS, PREENCODERS
from espnet2_sv.backbones.front_ends import s3prl_options
from espnet2_sv.errors import SVError

_STREAMING = (
    "a streaming encoder works on overlapping blocks of frames, not on whole utterances"
)
_WAVE_SSL = "a wave-level self-supervised model has no log-mel front end to share"
_OWN_DOWNLOAD = (
    "a wave-level self-supervised model, whose settings are in a checkpoint of its own"
    " and not in this one; take a model on log-mel features"
)
_WHISPER = "Whisper brings its own features and decoder, not a stack of ESPnet blocks"
_RECURRENT = "a recurrent encoder has no blocks to read"

REFUSED_ENCODERS = {
    "contextual_block_conformer": _STREAMING,
    "contextual_block_transformer": _STREAMING,
    "rnn": _RECURRENT,
    "vgg_rnn": _RECURRENT,
    "whisper": _WHISPER,
    "wav2vec2": _WAVE_SSL,
    "hubert": _WAVE_SSL,
    "hubert_pretrain": _WAVE_SSL,
    "torchaudiohubert": _WAVE_SSL,
    "beats": _WAVE_SSL,
    "avhubert": "it reads video",
    "longformer": "its attention windows pad the frames to other lengths",
    "transformer_multispkr": "it separates several speakers",
}
REFUSED_FRONTENDS = {
    "espnet_ssl": _OWN_DOWNLOAD,
    "huggingface": _OWN_DOWNLOAD,
    "wav2vec_cnn": _WAVE_SSL,
    "fused": "it joins several front ends",
    "whisper": _WHISPER,
    "sliding_window": "it cuts the raw wave without log-mel features",
}
# input layers that read something other than feature frames
_REFUSED_INPUT_LAYERS = {"embed": "it reads tokens", "wav2vec": _WAVE_SSL}
_PER_BLOCK_LISTS = (
    "stochastic_depth_rate",
    "cgmlp_weight",
    "attn_branch_drop_rate",
    "use_cross_attention",
)


def check_supported(asr_args: argparse.Namespace) -> None:
    """Check that an ASR model's encoder is a stack of blocks whose outputs can be read.

    Args:
        asr_args: The training arguments of the ASR model.

    Raises:
        SVError: It is not; the message says why in one line.
    """
    reason = _refusal(vars(asr_args))
    if reason is not None:
        raise SVError(f"this ASR model cannot be used: {reason}")


def _refusal(conf: dict[str, Any]) -> str | None:
    encoder, frontend = conf.get("encoder"), conf.get("frontend", "default")
    encoder_conf = conf.get("encoder_conf") or {}
    input_layer = encoder_conf.get("input_layer")
    if encoder in REFUSED_ENCODERS:
        return f"encoder {encoder!r}: {REFUSED_ENCODERS[encoder]}"
    if encoder not in BLOCK_ENCODERS:
        known = ", ".join(BLOCK_ENCODERS)
        return (
            f"encoder {encoder!r} is not supported; its blocks cannot be read (known:"
            f" {known})"
        )
    if frontend in REFUSED_FRONTENDS:
        return f"frontend {frontend!r}: {REFUSED_FRONTENDS[frontend]}"
    if conf.get("input_size") is not None or frontend is None:
        return (
            "it was trained on features made outside the model, not on audio"
            " (input_size is set)"
        )
    if frontend not in FRONTENDS:
        return f"frontend {frontend!r} is unknown"
    if (conf.get("frontend_conf") or {}).get("apply_stft") is False:
        return "its front end expects a spectrum, not audio (apply_stft is false)"
    if conf.get("preencoder") not in (None, *PREENCODERS):
        return (
            f"preencoder {conf['preencoder']!r} changes the features before the encoder"
        )
    if input_layer in _REFUSED_INPUT_LAYERS:
        return f"input_layer {input_layer!r}: {_REFUSED_INPUT_LAYERS[input_layer]}"
    if encoder_conf.get("ctc_trim") and encoder_conf.get("interctc_layer_idx"):
        return "ctc_trim drops frames between blocks"
    return (
        _refusal_of_s3prl(conf)
        or _refusal_of_prompt(conf)
        or _refusal_of_other_parts(conf)
    )


def _refusal_of_s3prl(conf: dict[str, Any]) -> str | None:
    if conf.get("frontend") != "s3prl":
        return None
    options = (conf.get("frontend_conf") or {}).get("frontend_conf") or {}
    if options.get("tile_factor", 1) != 1:  # ESPnet counts the frames before tiling
        return "its front end repeats frames (tile_factor)"
    if conf.get("normalize") == "global_mvn":
        return "it normalises a self-supervised model's features by global_mvn"
    return None


def _refusal_of_prompt(conf: dict[str, Any]) -> str | None:
    prompted = task_of(conf) is S2T_CTC
    if prompted != (conf["encoder"] == "e_branchformer_ctc"):
        return (
            f"encoder {conf['encoder']!r} and model {conf.get('model')!r} do not belong"
            " together: OWSM-CTC (espnet_ctc) has e_branchformer_ctc"
        )
    input_layer = (conf.get("encoder_conf") or {}).get("input_layer", "conv2d8")
    if prompted and not str(input_layer).startswith("conv"):
        return (
            f"input_layer {input_layer!r} leaves out the symbols for language and task"
        )
    return None


def _refusal_of_other_parts(conf: dict[str, Any]) -> str | None:
    if conf.get("model") == "pit_espnet":
        return "model 'pit_espnet' separates several speakers"
    if conf.get("use_adapter"):
        return "it is an adapter (LoRA) on another checkpoint; merge the weights first"
    for part in ("decoder", "postencoder"):
        if conf.get(part) in ("whisper", "hugging_face_transformers"):
            return f"{part} {conf[part]!r} downloads a model of its own"
    if conf.get("normalize") not in (None, "global_mvn", "utterance_mvn"):
        return f"normalize {conf['normalize']!r} is unknown"
    return None


def backbone_settings(
    asr_args: argparse.Namespace,
    num_blocks: int | None = None,
    lang_sym: str | None = None,
    task_sym: str | None = None,
) -> dict[str, Any]:
    """Return settings that rebuild the encoder without the ASR archive.

    They cover front end, normalisation, preencoder and encoder, and are plain data for
    a YAML file. ``global_mvn`` becomes ``stored_mvn``, whose statistics are part of the
    weights; no block is ever dropped at random (``layer_drop_rate`` 0), and Flash
    Attention, which needs a package and half precision, is off.

    Args:
        asr_args: The training arguments of the ASR model.
        num_blocks: Keep only the first blocks; all if not given.
        lang_sym: Symbol for the language that an OWSM-CTC encoder reads; see
            :func:`~espnet2_sv.asr.prompt.prompt_symbols`.
        task_sym: Symbol for the task, likewise.

    Returns:
        ``frontend``, ``frontend_conf``, ``normalize``, ``normalize_conf``,
        ``preencoder``, ``preencoder_conf``, ``encoder``, ``encoder_conf``,
        ``conditioning_vocab`` (the vocabulary size of a self-conditioned CTC encoder,
        otherwise None), ``lang_sym`` and ``task_sym``.

    Raises:
        SVError: The model is not supported, has fewer blocks, or lacks a symbol.
    """
    check_supported(asr_args)
    encoder_conf, conditioned = _encoder_conf(asr_args, num_blocks)
    frontend = getattr(asr_args, "frontend", "default")
    frontend_conf = copy.deepcopy(asr_args.frontend_conf or {})
    if frontend == "s3prl":
        frontend_conf = s3prl_options(frontend_conf)
    normalize, normalize_conf = _normalize(asr_args, frontend_conf)
    preencoder = getattr(asr_args, "preencoder", None)
    preencoder_conf = getattr(asr_args, "preencoder_conf", None) if preencoder else None
    return {
        "frontend": frontend,
        "frontend_conf": frontend_conf,
        "normalize": normalize,
        "normalize_conf": normalize_conf,
        "preencoder": preencoder,
        "preencoder_conf": copy.deepcopy(preencoder_conf or {}),
        "encoder": asr_args.encoder,
        "encoder_conf": encoder_conf,
        "conditioning_vocab": len(asr_args.token_list) if conditioned else None,
        **prompt_symbols(asr_args, lang_sym, task_sym),
    }


def _normalize(
    asr_args: argparse.Namespace, frontend_conf: dict
) -> tuple[str | None, dict]:
    normalize = getattr(asr_args, "normalize", "utterance_mvn")
    conf = copy.deepcopy(getattr(asr_args, "normalize_conf", None) or {})
    if normalize != "global_mvn":
        return normalize, conf
    switches = {key: bool(conf.get(key, True)) for key in ("norm_means", "norm_vars")}
    return "stored_mvn", {"dim": _feature_dim(frontend_conf), **switches}


def _feature_dim(frontend_conf: dict) -> int:
    from espnet2.asr.frontend.default import DefaultFrontend

    return frontend_conf.get("n_mels", _default(DefaultFrontend, "n_mels"))


def _encoder_conf(
    asr_args: argparse.Namespace, num_blocks: int | None
) -> tuple[dict, bool]:
    conf = copy.deepcopy(asr_args.encoder_conf or {})
    accepted = inspect.signature(BLOCK_ENCODERS[asr_args.encoder]).parameters
    total = conf.get(
        "num_blocks", _default(BLOCK_ENCODERS[asr_args.encoder], "num_blocks")
    )
    kept = total if num_blocks is None else num_blocks
    if not 1 <= kept <= total:
        raise SVError(f"num_blocks {kept}: this encoder has blocks 1 to {total}")
    conf["num_blocks"] = kept
    for key in _PER_BLOCK_LISTS:
        if isinstance(conf.get(key), list):
            conf[key] = conf[key][:kept]
    if "layer_drop_rate" in accepted:
        conf["layer_drop_rate"] = 0.0
    if "use_flash_attn" in accepted:  # other values in other environments
        conf["use_flash_attn"] = False
    return conf, _keep_conditioning(conf, kept)


def _keep_conditioning(conf: dict, kept: int) -> bool:
    """Keep an intermediate CTC layer only if a later block is conditioned on it."""
    layers = [i for i in conf.pop("interctc_layer_idx", None) or [] if i < kept]
    if conf.pop("interctc_use_conditioning", False) and layers:
        conf.update(interctc_layer_idx=layers, interctc_use_conditioning=True)
        return True
    return False


def _default(cls: type, name: str) -> Any:
    return inspect.signature(cls).parameters[name].default
