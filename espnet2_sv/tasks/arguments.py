"""Command-line options that all speaker tasks share."""

import argparse

from espnet2.torch_utils.initialize import INITIALIZATIONS
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import int_or_none, str_or_none

# AAM-softmax as in Cai & Li; ESPnet's own default is scale 15, margin 0.3.
DEFAULT_LOSS_CONF = {"scale": 32, "margin": 0.2}


def add_sv_arguments(parser: argparse.ArgumentParser, class_choices) -> None:
    """Add the options of speaker training to ESPnet's."""
    data = parser.add_argument_group("Speaker data")
    data.add_argument(
        "--spk2utt", type=str, default="", help="Kaldi spk2utt of the training set"
    )
    data.add_argument(
        "--valid_trials",
        type=str,
        default="",
        help=(
            "Trials of held-out speakers: 'enroll_utt test_utt target|nontarget' per"
            " line"
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
            "Play every utterance at each of these speeds, e.g. 0.9 1.0 1.1; each speed"
            " of a speaker is a class of its own, and an epoch goes through all"
        ),
    )
    data.add_argument(
        "--noise_scp", type=str_or_none, default=None, help="wav.scp of noises"
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
        "--init", type=str_or_none, default=None, choices=[*INITIALIZATIONS, None]
    )
    model.add_argument(
        "--spk_num", type=int_or_none, default=None, help="Set from --spk2utt"
    )
    model.add_argument(
        "--conditioning_vocab",
        type=int_or_none,
        default=None,
        help="Vocabulary of a self-conditioned CTC encoder; set from the ASR model",
    )
    model.add_argument(
        "--init_sv",
        type=str_or_none,
        default=None,
        help=(
            "Start from this trained speaker model (exp directory, zip or tag) and take"
            " over its architecture, e.g. for large-margin fine-tuning"
        ),
    )
    for choices in class_choices:
        choices.add_arguments(model)

    train = parser.add_argument_group("Speaker training")
    train.add_argument(
        "--freeze_encoder_epochs",
        type=int,
        default=0,
        help=(
            "Keep the encoder frozen (evaluation mode, no gradients) in the first N"
            " epochs"
        ),
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
        help="Factor on the learning rate from an encoder block to the one below it",
    )
    # Chosen by held-out speakers, not by the loss on training speakers.
    parser.set_defaults(
        loss_conf=dict(DEFAULT_LOSS_CONF),
        best_model_criterion=[("valid", "eer", "min")],
        early_stopping_criterion=("valid", "eer", "min"),
        val_scheduler_criterion=("valid", "eer"),
        keep_nbest_models=[1],
        num_att_plot=0,
        unused_parameters=False,
    )
