"""Command-line options that several commands share."""

import argparse
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from espnet2.utils.types import str2bool
from espnet2_sv.data.validation_report import LISTED
from espnet2_sv.environment import require_gpus
from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import read_yaml
from espnet2_sv.textfile import parse_float, parse_int

SOURCE = "zoo or Hub tag, packed .zip, unpacked directory or exp/ directory"
TRIAL_LINES = "lines of 'enroll_utt test_utt target|nontarget'"
SCORE_LINES = "lines of 'enroll_utt test_utt score'"

Options = argparse.ArgumentParser | argparse._ArgumentGroup


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, except for None, empty values and flags without an argument."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default in ("", []) or action.nargs == 0:
            return action.help
        if isinstance(action.default, bool):
            return f"{action.help} (default: {str(action.default).lower()})"
        return super()._get_help_string(action)


def make_parser(
    description: str | None, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Return an empty parser whose help shows the defaults."""
    return argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=HelpFormatter
    )


def add_switch(options: Options, name: str, help: str, default: bool = False) -> None:
    """Add an option that takes true or false."""
    options.add_argument(
        name, type=str2bool, default=default, metavar="{true,false}", help=help
    )


# Options in a file


def add_config(options: Options) -> None:
    """Add ``--config``, a file of options for :func:`parse_with_config`."""
    options.add_argument(
        "--config",
        metavar="YAML",
        help=(
            "File of these options by name, e.g. 'max_seconds: 60'; those given on the"
            " command line override it"
        ),
    )


def parse_with_config(
    parser: argparse.ArgumentParser, cmd: list[str] | None
) -> argparse.Namespace:
    """Parse a command line whose ``--config`` may name a YAML file of options.

    Args:
        parser: A parser that has the option of :func:`add_config`.
        cmd: The command line; None is that of the process.

    Raises:
        SVError: The file cannot be read, or an option in it is not known or has a value
            that it does not take.
    """
    cmd = sys.argv[1:] if cmd is None else cmd
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    config = first.parse_known_args(cmd)[0].config
    words = [] if config is None else list(_words_of(config, parser))
    args = parser.parse_args([*words, *cmd])
    if args.config != config:
        parser.error("write --config in full")
    return args


def _words_of(path: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the command line that a YAML file of options stands for."""
    conf = read_yaml(path)
    if not isinstance(conf, dict):
        raise SVError(f"{path}: holds no options; write one a line, e.g. 'nj: 4'")
    known = {action.dest: action for action in parser._actions}
    for key, value in conf.items():
        if key not in known or key in ("config", "help"):
            name = printable(str(key), 100)
            raise SVError(
                f"{path}: {name} is no option of {parser.prog}; --help lists them"
            )
        if value is None:  # as if it were not there
            continue
        values = value if isinstance(value, list) else [value]
        if isinstance(value, list) and known[key].nargs is None:
            raise SVError(f"{path}: {key}: a list is given; it takes one value")
        words = [_checked(path, known[key], entry) for entry in values]
        yield from [f"--{key}={words[0]}"] if len(words) == 1 else [f"--{key}", *words]


def _checked(path: str, action: argparse.Action, value: Any) -> str:
    """Return a value of a YAML file as a word, if the option takes it."""
    word = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        converted = action.type(word) if callable(action.type) else word
        if not isinstance(value, str | int | float):
            raise ValueError("is not a single value")
        if action.choices is not None and converted not in action.choices:
            raise ValueError(f"choose one of {', '.join(action.choices)}")
    except (argparse.ArgumentTypeError, ValueError) as e:
        reason = printable(f"{word!r}: {e}", 200)
        raise SVError(f"{path}: {action.dest}: {reason}") from e
    return word


# Types of values


def positive_int(text: str) -> int:
    """Convert a whole number of at least 1."""
    return _at_least(1, text)


def non_negative_int(text: str) -> int:
    """Convert a whole number of at least 0."""
    return _at_least(0, text)


def gpus(text: str) -> int:
    """Convert a number of GPUs, which this machine must have.

    Raises:
        SVError: It has fewer.
    """
    number = non_negative_int(text)
    require_gpus(number)
    return number


def _at_least(smallest: int, text: str) -> int:
    try:
        number = parse_int(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None
    if number < smallest:
        raise argparse.ArgumentTypeError(f"{number} is less than {smallest}")
    return number


def finite_float(text: str) -> float:
    """Convert a decimal number that is not NaN or infinite."""
    try:
        return parse_float(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def positive_float(text: str) -> float:
    """Convert a finite number above 0."""
    number = finite_float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def non_negative_float(text: str) -> float:
    """Convert a finite number of at least 0."""
    number = finite_float(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def probability(text: str) -> float:
    """Convert a number above 0 and below 1."""
    number = finite_float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


# Files


def keep_inputs(
    args: argparse.Namespace,
    inputs: Iterable[str],
    outputs: Iterable[str | os.PathLike | None],
    may_be_missing: Collection[str] = (),
) -> None:
    """Refuse inputs that do not exist, and outputs that are inputs by any name or link.

    Args:
        args: Parsed options.
        inputs: Names of the options that name files to read.
        outputs: Files that will be written.
        may_be_missing: Those of ``inputs`` whose files need not exist.

    Raises:
        SVError: An input is missing or would be overwritten, or two outputs are one
            file.
    """
    inputs = list(inputs)
    written: dict[object, str] = {}
    for output in map(str, filter(None, outputs)):
        identity = _file_identity(output)
        if identity in written:
            raise SVError(f"{output}: two outputs are this file; give each its own")
        written[identity] = output
    for option in inputs:
        given = getattr(args, option)
        for path in given if isinstance(given, list) else [given]:
            place = None if path is None else written.get(_file_identity(path))
            if place is not None:
                raise SVError(
                    f"--{option} {path}: would be overwritten by {place}; choose"
                    " another output"
                )
    require_files(args, *(name for name in inputs if name not in may_be_missing))


def require_files(args: argparse.Namespace, *names: str) -> None:
    """Refuse options that name missing files, before torch is imported.

    Args:
        args: Parsed options. A value may be an offset in an archive, ``x.ark:123``. A
            ``model`` among them is checked if it is a path rather than a tag.
        names: Names of the options.

    Raises:
        SVError: There is no such file.
    """
    for option in names:
        given = getattr(args, option)
        for path in given if isinstance(given, list | tuple) else [given]:
            if path is not None and not _exists(str(path)):
                raise SVError(f"{path}: no such file (--{option}); correct the path")
    model = getattr(args, "model", None)
    is_path = isinstance(model, str) and (
        model.startswith(("/", "./", "../", "~")) or model.endswith((".zip", ".pth"))
    )
    if is_path and not os.path.exists(os.path.expanduser(str(model))):
        raise SVError(f"{model}: no such file or folder (--model); correct the path")


def _exists(path: str) -> bool:
    if os.path.exists(path):
        return True
    from espnet2_sv.data.sources import ARK_OFFSET  # imports libsndfile

    entry = ARK_OFFSET.fullmatch(path)
    return entry is not None and os.path.exists(entry["path"])


def _file_identity(path: str | os.PathLike) -> object:
    """Return what is equal for two names of one file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


# Models and recordings


def add_model(options: Options) -> None:
    """Add ``--model`` and, for speaker adaptors, ``--asr``."""
    options.add_argument(
        "--model",
        required=True,
        metavar="SOURCE",
        help=f"Speaker model: {SOURCE}",
    )
    add_adaptor_asr(options)


def add_adaptor_asr(options: Options) -> None:
    """Add ``--asr``, the ASR model of a speaker adaptor."""
    options.add_argument(
        "--asr",
        metavar="SOURCE",
        help=(
            "ASR model of a speaker adaptor. Needed only if the adaptor was packed"
            " without it and it is no longer where it was in training"
        ),
    )


def add_wav_scp(options: Options, several: bool = False) -> None:
    """Add ``--wav_scp``."""
    options.add_argument(
        "--wav_scp",
        required=True,
        nargs="+" if several else None,
        metavar="FILE",
        help="Kaldi wav.scp" + ("; several are embedded by one model" * several),
    )


def add_allow_pipes(options: Options) -> None:
    """Add ``--allow_pipes``."""
    add_switch(options, "--allow_pipes", "Run the shell commands ('cmd |') in wav.scp")


def add_channel(options: Options) -> None:
    """Add ``--channel``."""
    options.add_argument(
        "--channel",
        type=positive_int,
        metavar="N",
        help="Channel to use, counted from 1; the mean of all if not given",
    )


def add_verification(options: Options) -> None:
    """Add how recordings are read and checked before they are compared."""
    from espnet2_sv.inference.speech_limits import SpeechLimits

    add_channel(options)
    add_vad(options)
    for name, default, help in (
        ("min", SpeechLimits.refuse_below, "a recording is refused"),
        ("warn", SpeechLimits.warn_below, "there is a warning"),
    ):
        options.add_argument(
            f"--{name}_speech",
            type=non_negative_float,
            default=default,
            metavar="SECONDS",
            help=f"Seconds of speech below which {help}",
        )
    options.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")


def verification_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of :func:`add_model` and :func:`add_verification`.

    They are arguments of :meth:`SpeakerVerifier.from_pretrained`.
    """
    names = ("asr", "channel", "vad", "min_speech", "warn_speech", "device")
    return {name: getattr(args, name) for name in names}


def add_vad(options: Options) -> None:
    """Add ``--vad``."""
    options.add_argument(
        "--vad",
        type=str2bool,
        metavar="{true,false}",
        help=(
            "Look for speech in recordings; by default if silero-vad is installed (pip"
            " install silero-vad)"
        ),
    )


def add_speakers(options: Options, required: bool = True) -> None:
    """Add ``--speakers``, a store of enrolled speakers."""
    options.add_argument(
        "--speakers",
        required=required,
        metavar="STORE",
        help="File of enrolled speakers, made by sv_enroll",
    )


def add_sample_rate(options: Options, help: str = "Sampling rate in Hz") -> None:
    """Add ``--sample_rate``."""
    options.add_argument(
        "--sample_rate", type=positive_int, default=16000, metavar="HZ", help=help
    )


# Outputs


def add_output_dir(
    options: Options, help: str, *aliases: str, several: bool = False
) -> None:
    """Add ``--output_dir``, the directory to write.

    Args:
        options: A parser or a group of it.
        help: What is written there.
        aliases: Older spellings of the option.
        several: Whether several directories can be given.
    """
    options.add_argument(
        "--output_dir",
        *aliases,
        dest="output_dir",
        required=True,
        nargs="+" if several else None,
        metavar="DIR",
        help=help,
    )


def add_output(
    options: Options, help: str, *aliases: str, several: bool = False
) -> None:
    """Add ``--output``, the file to write; arguments as of :func:`add_output_dir`."""
    options.add_argument(
        "--output",
        *aliases,
        dest="output",
        required=True,
        nargs="+" if several else None,
        metavar="FILE",
        help=help,
    )


def add_json(options: Options) -> None:
    """Add ``--json`` of a command that prints a summary."""
    options.add_argument(
        "--json", action="store_true", help="Print the summary as one JSON object"
    )


# How to run


def add_gpu(options: Options) -> None:
    """Add ``--ngpu`` of a command that uses one GPU at most."""
    options.add_argument(
        "--ngpu",
        type=gpus,
        default=0,
        metavar="N",
        help="1 runs on a GPU, 0 on the CPU",
    )


def add_jobs(options: Options, help: str, default: int = 4) -> None:
    """Add ``--nj``."""
    options.add_argument(
        "--nj", type=positive_int, default=default, metavar="N", help=help
    )


def add_extraction(options: Options) -> None:
    """Add how recordings are read, batched and spread over devices."""
    options.add_argument(
        "--ngpu",
        type=gpus,
        default=0,
        metavar="N",
        help="Number of GPUs, with one worker process per device; 0 runs on the CPU",
    )
    add_jobs(options, "Number of worker processes on the CPU", default=1)
    options.add_argument(
        "--num_workers",
        type=positive_int,
        default=2,
        metavar="N",
        help="Audio-reading threads per process",
    )
    options.add_argument(
        "--batch_seconds",
        type=positive_float,
        default=240.0,
        metavar="SECONDS",
        help="Seconds of audio in a batch, padding included",
    )
    add_allow_pipes(options)


def add_shard(options: Options, help: str) -> None:
    """Add ``--shard``, which splits a command into cluster jobs."""
    options.add_argument("--shard", metavar="I/N", help=help)


def add_report(options: Options) -> None:
    """Add where problems and warnings are listed, and how many are printed."""
    options.add_argument(
        "--report",
        metavar="FILE",
        help="Also write all problems and warnings to this file, one per line",
    )
    options.add_argument(
        "--max_listed",
        type=non_negative_int,
        default=LISTED,
        help="Lines printed per kind of problem; further ones are only counted",
    )


# Trials, scores and what is computed from them


def add_trials(options: Options) -> None:
    """Add ``--trials``."""
    options.add_argument(
        "--trials", required=True, metavar="FILE", help=f"Trial list: {TRIAL_LINES}"
    )


# Those of add_trial_embeddings that name files to read
TRIAL_EMBEDDINGS = ("enroll_scp", "test_scp", "enroll_spk2utt", "mean_scp")


def add_trial_embeddings(options: Options) -> None:
    """Add the embeddings of both sides and what is done to them before scoring."""
    from espnet2_sv.scoring.cosine import ENROLL_MODES

    options.add_argument(
        "--enroll_scp",
        required=True,
        metavar="FILE",
        help="Embeddings of the enrolment side (Kaldi scp)",
    )
    options.add_argument(
        "--test_scp",
        required=True,
        metavar="FILE",
        help="Embeddings of the test side (Kaldi scp)",
    )
    options.add_argument(
        "--enroll_spk2utt",
        metavar="FILE",
        help=(
            "Lines of 'model utt1 utt2 ...': the enrolment side of the trials then"
            " names models"
        ),
    )
    options.add_argument(
        "--enroll_mode",
        choices=ENROLL_MODES,
        default=ENROLL_MODES[0],
        help="How several utterances enrol one model",
    )
    options.add_argument(
        "--mean_scp",
        metavar="FILE",
        help=(
            "Embeddings whose mean is subtracted before scoring; they must not contain"
            " test utterances"
        ),
    )


def add_resampling(options: Options) -> None:
    """Add the bootstrap's options."""
    options.add_argument(
        "--bootstrap_samples",
        type=non_negative_int,
        default=1000,
        metavar="N",
        help="Bootstrap samples for confidence intervals; 0 computes no intervals",
    )
    options.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="Random seed of the bootstrap",
    )


# Corpora


def add_unpacking(options: Options) -> None:
    """Add how archives of a corpus are unpacked and checked."""
    add_switch(
        options,
        "--allow_incomplete",
        "Go on if the counts differ from the published ones",
    )
    options.add_argument(
        "--unpack_dir",
        default="downloads",
        metavar="DIR",
        help="Where archives are unpacked",
    )
