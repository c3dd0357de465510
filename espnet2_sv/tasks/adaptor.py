"""A speaker adaptor on a frozen ASR model."""

import argparse
import logging
from pathlib import Path

from espnet2.train.class_choices import ClassChoices
from espnet2.utils.types import str_or_none
from torch.nn import Module

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.archive import find_model_files, load_state_dict
from espnet2_sv.asr.backbone import build_backbone
from espnet2_sv.asr.checkpoint import load_config
from espnet2_sv.asr.copying import copy_asr_weights
from espnet2_sv.asr.frozen import FrozenBackbone
from espnet2_sv.asr.settings import backbone_settings
from espnet2_sv.errors import SVError
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.nets.adaptor import SpeakerAdaptor
from espnet2_sv.tasks.build import assemble, load_strictly
from espnet2_sv.tasks.choices import loss_choices
from espnet2_sv.tasks.sv import SVTask

adaptor_choices = ClassChoices(
    "head", {"adaptor": SpeakerAdaptor}, type_check=Module, default="adaptor"
)
ADAPTOR_CHOICES = [adaptor_choices, loss_choices]  # the rest is the ASR model's


class SVAdaptorTask(SVTask):
    """Train a small network that reads the blocks of an ASR model, which is left as it is.

    The trained model is the adaptor alone, with the hash of the ASR weights that it belongs to;
    the ASR model is needed beside it, in training, resuming and use.
    """

    sv_task = "adaptor"
    class_choices_list = ADAPTOR_CHOICES

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of adaptor training."""
        super().add_task_arguments(parser)
        parser.add_argument_group("Adaptor").add_argument(
            "--asr", type=str_or_none, default=None, help="Pretrained ASR model (asr_resolve's)"
        )

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SpeakerModel:
        """Build the adaptor on the ASR model of ``--asr``, from ``--init_sv`` where given."""
        if not args.asr:
            raise SVError("give --asr, the pretrained ASR model that the adaptor reads")
        if getattr(args, "init_sv", None):
            return start_from_adaptor(cls, args)
        args.sv_task = cls.sv_task
        bundle = load_asr_bundle(args.asr)
        backbone = build_backbone(backbone_settings(bundle.args))
        report = copy_asr_weights(bundle, backbone)
        logging.info(f"Frozen ASR encoder {args.asr}: {report}")
        args.asr_init = {"source": str(args.asr), "weights_sha256": bundle.weights_sha256}
        return assemble(args, FrozenBackbone(backbone, bundle.weights_sha256), adaptor_choices)

    @classmethod
    def build_model_from_file(
        cls, config_file=None, model_file=None, device: str = "cpu", asr: str | None = None
    ):
        """Rebuild a trained adaptor on its ASR model.

        Args:
            config_file: The adaptor's config.yaml.
            model_file: The adaptor's weights.
            device: Where the model goes.
            asr: The ASR model. If not given, it is the one in the same package, or else the one
                that training started from.

        Raises:
            SVError: There is no ASR model, or it is another one than the adaptor was trained on.
        """
        config_file = Path(config_file or Path(model_file).parent / "config.yaml")
        recorded = load_config(config_file)["asr"]
        return super().build_model_from_file(
            config_file, model_file, device, asr=str(asr or packed_asr(config_file) or recorded)
        )


def start_from_adaptor(task: type[SVAdaptorTask], args: argparse.Namespace) -> SpeakerModel:
    """Build the adaptor of ``--init_sv``, load its weights, keep this run's loss settings."""
    source, args.init_sv = args.init_sv, None
    files = find_model_files(source, kinds="sv")
    args.head_conf = load_config(files.config)["head_conf"]
    args.init_sv_source = str(source)
    model = task.build_model(args)
    load_strictly(model, load_state_dict(files.weights), where=str(files.weights))
    return model


def packed_asr(config_file: Path) -> Path | None:
    """Return the root of the package that holds an adaptor's config and its ASR model, if any."""
    for folder in config_file.resolve().parents:
        meta = folder / "meta.yaml"
        if meta.is_file() and "asr_train_config" in meta.read_text(encoding="utf-8"):
            return folder
    return None
