"""A speaker adaptor on a frozen ASR model."""

import argparse
import logging
from pathlib import Path

from espnet2.utils.types import str_or_none

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.resolve import original_source
from espnet2_sv.errors import SVError
from espnet2_sv.models.adaptor_model import adaptor_choices, build_on
from espnet2_sv.models.build import load_strictly
from espnet2_sv.models.choices import loss_choices
from espnet2_sv.models.class_centres import keep_class_centres
from espnet2_sv.models.load import rebuild_adaptor
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.tasks.sv import SVTask
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict
from espnet2_sv.zoo.source import find_model_files

ADAPTOR_CHOICES = [adaptor_choices, loss_choices]  # the rest is the ASR model's


class SVAdaptorTask(SVTask):
    """Train a small network that reads the blocks of an ASR model, which is left as it is.

    The trained model is the adaptor alone, with the hash of the ASR weights that it
    belongs to; the ASR model is needed beside it, in training, resuming and use.
    """

    sv_task = "adaptor"
    class_choices_list = ADAPTOR_CHOICES

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of adaptor training."""
        super().add_task_arguments(parser)
        parser.add_argument_group("Adaptor").add_argument(
            "--asr",
            type=str_or_none,
            default=None,
            help="Pretrained ASR model (asr_resolve's)",
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
        logging.info(f"Frozen ASR model {args.asr}: {bundle.summary()}")
        args.asr_init = {
            "source": original_source(args.asr),
            "weights_sha256": bundle.weights_sha256,
        }
        return build_on(bundle, args)

    @classmethod
    def build_model_from_file(
        cls,
        config_file=None,
        model_file=None,
        device: str = "cpu",
        asr: str | None = None,
    ):
        """Rebuild a trained adaptor on its ASR model, see :func:`rebuild_adaptor`."""
        config_file = Path(config_file or Path(model_file).parent / "config.yaml")
        return rebuild_adaptor(config_file, model_file, device, asr)


def start_from_adaptor(
    task: type[SVAdaptorTask], args: argparse.Namespace
) -> SpeakerModel:
    """Build the adaptor of ``--init_sv``, load its weights, keep this run's loss settings."""
    source, args.init_sv = args.init_sv, None
    files = find_model_files(source, kinds="sv")
    trained = load_config(files.config)
    if trained.get("loss") is None:
        raise SVError(
            f"{source}: was packed without its classes; give the training run instead"
        )
    args.head_conf = trained["head_conf"]
    args.init_sv_source = str(source)
    model = task.build_model(args)
    state = keep_class_centres(load_state_dict(files.weights), trained, files, args)
    load_strictly(model, state, where=str(files.weights))
    return model
