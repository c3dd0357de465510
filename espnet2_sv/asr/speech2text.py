"""ESPnet's own recogniser for a pretrained model whose training files are gone."""

import argparse
import inspect
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_sv.asr.build import buildable
from espnet2_sv.asr.supported import check_supported
from espnet2_sv.asr.task import ASR, AsrTask, task_of
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.checkpoint import load_state_dict
from espnet2_sv.zoo.files import ModelFiles

if TYPE_CHECKING:
    from espnet2.bin.asr_inference import Speech2Text

# Arguments of Speech2Text that cannot be chosen: they name the model, or would change
# its encoder or the meaning of its results.
_NOT_OPTIONS = {
    "asr_train_config",
    "asr_model_file",
    "s2t_train_config",
    "s2t_model_file",
    "batch_size",
    "device",
    "dtype",
    "enh_s2t_task",
    "generate_interctc_outputs",
    "hugging_face_decoder",
    "hugging_face_decoder_conf",
    "lid_prompt",
    "multi_asr",
    "quantize_asr_model",
    "quantize_s2t_model",
    "quantize_dtype",
    "quantize_lm",
    "quantize_modules",
    "streaming",
    "use_flash_attn",
}


def decoding_options(task: AsrTask = ASR) -> list[str]:
    """Return the names of ESPnet's decoding options that can be chosen."""
    known = inspect.signature(task.recogniser_class()).parameters
    return [name for name in known if name not in _NOT_OPTIONS]


def load_speech2text(
    files: ModelFiles, args: argparse.Namespace, device: str = "cpu", **options: Any
) -> "Speech2Text":
    """Build ESPnet's ``Speech2Text`` from a pretrained ASR model.

    The model may have been moved since training, its statistics file may be lost, and a
    transducer's training loss need not be installed.

    Args:
        files: The model.
        args: Its settings, as :func:`~espnet2_sv.asr.bundle.read_asr_args` reads them.
        device: Where it goes.
        options: Decoding options of ``Speech2Text``, such as ``beam_size``; see
            :func:`decoding_options`.

    Raises:
        SVError: The model is not supported or lacks a file, or ESPnet cannot decode
            with it.
    """
    from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

    check_supported(args)
    _check_tokenizer(args)
    recogniser_class = task_of(vars(args)).recogniser_class()
    with (
        tempfile.TemporaryDirectory() as folder,
        buildable(args, load_state_dict(files.weights)) as build_args,
    ):
        config = Path(folder, "config.yaml")
        with open(config, "w", encoding="utf-8") as stream:
            yaml_no_alias_safe_dump(vars(build_args), stream)
        try:
            return recogniser_class(config, files.weights, device=device, **options)
        # Speech2Text and the classes that it builds raise all kinds of errors
        except Exception as e:
            reason = " ".join(str(e).split())[:200] or type(e).__name__
            raise SVError(f"ESPnet cannot decode with {files.config}: {reason}") from e


def check_options(options: dict[str, Any], task: AsrTask = ASR) -> None:
    """Refuse unknown decoding options.

    Args:
        options: The options.
        task: The task of the ASR model.

    Raises:
        SVError: One line that names the option.
    """
    known = decoding_options(task)
    for name in options:
        if name not in known:
            raise SVError(
                f"decoding option {name!r} is unknown; known are {', '.join(known)}"
            )


def _check_tokenizer(args) -> None:
    if args.token_type == "bpe" and not (
        args.bpemodel and Path(args.bpemodel).is_file()
    ):
        raise SVError(
            f"the BPE model {args.bpemodel} of the ASR model is missing, so text cannot"
            " be decoded; put it in place or pack it with the ASR model"
        )
