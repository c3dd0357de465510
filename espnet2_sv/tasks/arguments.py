"""Command-line options that all speaker tasks share."""

import argparse

from espnet2.torch_utils.initialize import INITIALIZATIONS
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import int_or_none, str2bool, str_or_none

# AAM-softmax as in Cai & Li (2024), margin in radians; ESPnet's default is scale 15,
# margin 0.3
DEFAULT_LOSS_CONF = {"scale": 32, "margin": 0.2}
# What the symbols are if they are not given
_DEFAULT_SYMBOLS = {"lang": "that of an unknown language", "task": "<asr>"}


def add_sv_arguments(parser: argparse.ArgumentParser, class_choices) -> None:
    """Add the options for speaker training to ESPnet's parser."""
    data = parser.add_argument_group("Speaker data")
    data.add_argument(
        "--spk2utt", type=str, default="", help="Kaldi spk2utt of the training set"
    )
    data.add_argument(
        "--valid_trials",
        type=str,
        default="",
        help=(
            "Validation trials of held-out speakers, lines of 'enroll_utt test_utt"
            " target|nontarget'"
        ),
    )
    data.add_argument(
        "--sample_rate", type=int, default=16000, help="Sampling rate in Hz"
    )
    data.add_argument(
        "--target_duration", type=float, default=3.0, help="Crop length in seconds"
    )
    data.add_argument(
        "--speed_perturb_factors",
        type=float,
        nargs="+",
        default=[1.0],
        help=(
            "Speed perturbation factors, e.g. 0.9 1.0 1.1. Each speed of a speaker is a"
            " separate class, and an epoch contains every utterance at all speeds"
        ),
    )
    data.add_argument(
        "--noise_scp",
        type=str_or_none,
        default=None,
        help="wav.scp of noise recordings",
    )
    data.add_argument(
        "--rir_scp",
        type=str_or_none,
        default=None,
        help="wav.scp of room impulse responses",
    )
    data.add_argument(
        "--augment_conf",
        action=NestedDictAction,
        default={},
        help="apply_prob, noise: list of {scp, snr, num, weight}, rir: {scp, weight}",
    )

    model = parser.add_argument_group("Speaker model")
    model.add_argument(
        "--init",
        type=str_or_none,
        default=None,
        choices=[*INITIALIZATIONS, None],
        help="Initialisation of the random weights",
    )
    model.add_argument(
        "--spk_num",
        type=int_or_none,
        default=None,
        help="Number of classes; set from --spk2utt and the speeds",
    )
    model.add_argument(
        "--conditioning_vocab",
        type=int_or_none,
        default=None,
        help=(
            "Vocabulary size of a self-conditioned CTC encoder; set from the ASR model"
        ),
    )
    for symbol, meaning in (("lang", "language"), ("task", "task")):
        model.add_argument(
            f"--{symbol}_sym",
            type=str_or_none,
            default=None,
            help=(
                f"Symbol for the {meaning} that the encoder of an OWSM-CTC model reads,"
                f" of --asr; default: {_DEFAULT_SYMBOLS[symbol]}"
            ),
        )
    model.add_argument(
        "--init_sv",
        type=str_or_none,
        default=None,
        help=(
            "Fine-tune this trained speaker model (exp directory, zip or tag), on the"
            " same or on other speakers. Front end and network are the model's"
        ),
    )
    for choices in class_choices:
        choices.add_arguments(model)

    train = parser.add_argument_group("Speaker training")
    train.add_argument(
        "--freeze_encoder_epochs",
        type=int,
        default=0,
        help="Freeze the encoder (eval mode, no gradients) in the first N epochs",
    )
    train.add_argument(
        "--encoder_lr_factor",
        type=float,
        default=1.0,
        help="Learning rate of the encoder relative to the head's",
    )
    train.add_argument(
        "--layer_decay",
        type=float,
        default=1.0,
        help="Learning rate of an encoder block relative to that of the block above",
    )
    train.add_argument(
        "--grad_checkpointing",
        type=str2bool,
        default=False,
        help=(
            "Keep only the outputs of encoder blocks for the backward pass, and compute"
            " the rest again: less memory, the same gradients, about a third more time"
        ),
    )
    # Select checkpoints by the EER on held-out speakers.
    parser.set_defaults(
        loss_conf=dict(DEFAULT_LOSS_CONF),
        best_model_criterion=[("valid", "eer", "min")],
        early_stopping_criterion=("valid", "eer", "min"),
        val_scheduler_criterion=("valid", "eer"),
        keep_nbest_models=[1],
        num_att_plot=0,
        unused_parameters=False,
    )
