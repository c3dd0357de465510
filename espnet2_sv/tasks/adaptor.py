"""A speaker adaptor on a frozen ASR model."""

import argparse
import logging
from pathlib import Path

from espnet2.train.class_choices import ClassChoices
from espnet2.utils.types import str_or_none
from torch.nn import Module

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.archive import (
    ModelFiles,
    find_model_files,
    find_package,
    holds_kind,
    load_state_dict,
)
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.asr.bundle import load_from_files as load_asr_files
from espnet2_sv.asr.checkpoint import load_config
from espnet2_sv.asr.frozen import FrozenBackbone
from espnet2_sv.asr.resolve import original_source
from espnet2_sv.errors import SVError
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.nets.adaptor import SpeakerAdaptor
from espnet2_sv.tasks.build import assemble, load_strictly
from espnet2_sv.tasks.choices import loss_choices
from espnet2_sv.tasks.class_centres import keep_class_centres
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
        logging.info(f"Frozen ASR model {args.asr}: {bundle.summary()}")
        args.asr_init = {
            "source": original_source(args.asr),
            "weights_sha256": bundle.weights_sha256,
        }
        return build_on(bundle, args)

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
        files = find_asr(config_file, asr)
        return load_on(load_asr_files(files, str(files.root)), config_file, model_file, device)


def build_on(bundle: AsrBundle, args: argparse.Namespace) -> SpeakerModel:
    """Build an adaptor with random weights on an ASR model, whose modules are shared."""
    backbone = FrozenBackbone(bundle.backbone(), bundle.weights_sha256)
    return assemble(args, backbone, adaptor_choices)


def load_on(
    bundle: AsrBundle, config: str | Path, weights: str | Path | None, device: str = "cpu"
) -> tuple[SpeakerModel, argparse.Namespace]:
    """Load a trained adaptor onto an ASR model that is in memory; the ASR model is shared.

    Args:
        bundle: The ASR model.
        config: The adaptor's config.yaml.
        weights: The adaptor's weights; random ones if not given.
        device: Where both go.

    Returns:
        (model, training arguments).

    Raises:
        SVError: The weights do not fit the config, or belong to another ASR model.
    """
    args = argparse.Namespace(**load_config(config))
    args.init = None  # the weights come from the file
    model = build_on(bundle, args)
    if weights is not None:
        load_strictly(model, load_state_dict(weights), where=str(weights))
    return model.to(device), args


def find_asr(config: str | Path, asr: str | Path | None = None) -> ModelFiles:
    """Find the ASR model that a trained adaptor reads.

    Args:
        config: The adaptor's config.yaml.
        asr: The ASR model, if the user names one. Otherwise it is the one in the same package,
            or else the one that training started from, at the same place as seen from the current
            folder or from a folder above the config.

    Raises:
        SVError: There is none.
    """
    if asr:
        return find_model_files(asr, kinds="asr")
    config = Path(config)
    package = find_package(config)
    if package is not None and holds_kind(package, "asr"):
        return find_model_files(package, kinds="asr")
    conf = load_config(config)
    recorded = conf.get("asr")
    try:
        if not recorded:
            raise SVError("the package holds the adaptor alone")
        return find_model_files(_seen_from(config, recorded), kinds="asr")
    except SVError as e:
        name = (conf.get("asr_init") or {}).get("source") or recorded
        raise SVError(
            f"{config}: give the ASR model that this adaptor reads (--asr or asr=); it was {name} "
            f"in training ({e})"
        ) from e


def _seen_from(config: Path, recorded: str) -> str:
    """Return the path of a recorded source as it is now; the source itself where it is a tag."""
    starts = [Path(), *config.resolve().parents]
    found = (start / recorded for start in starts if (start / recorded).exists())
    return str(next(found, recorded))


def start_from_adaptor(task: type[SVAdaptorTask], args: argparse.Namespace) -> SpeakerModel:
    """Build the adaptor of ``--init_sv``, load its weights, keep this run's loss settings."""
    source, args.init_sv = args.init_sv, None
    files = find_model_files(source, kinds="sv")
    trained = load_config(files.config)
    if trained.get("loss") is None:
        raise SVError(f"{source}: was packed without its classes; give the training run instead")
    args.head_conf = trained["head_conf"]
    args.init_sv_source = str(source)
    model = task.build_model(args)
    state = keep_class_centres(load_state_dict(files.weights), trained, files, args)
    load_strictly(model, state, where=str(files.weights))
    return model
