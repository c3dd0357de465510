"""The console script ``espnet2-sv VERB ...``: one verb per command of this package."""

import ast
import difflib
import importlib
import importlib.util
import sys
from pathlib import Path

import espnet2_sv
from espnet2_sv.bin.cli import run
from espnet2_sv.bin.interrupts import check_interrupted
from espnet2_sv.errors import SVError

PROGRAM = "espnet2-sv"
COMMANDS = {
    "Prepare data": (
        "sv_prep_voxceleb",
        "sv_prep_folder",
        "sv_prep_noises",
        "sv_check_data",
        "sv_format_wav",
        "sv_pack_audio",
        "sv_make_trials",
    ),
    "Train": (
        "asr_resolve",
        "sv_train",
        "sv_transfer_train",
        "sv_distill_train",
        "sv_adaptor_train",
        "sv_teacher_posteriors",
    ),
    "Embed and score": (
        "sv_resolve",
        "sv_embed",
        "sv_score",
        "sv_score_norm",
        "sv_calibrate",
        "sv_metrics",
        "sv_compare",
        "sv_describe",
        "sv_results",
        "sv_layer_probe",
    ),
    "Use a model": ("sv_verify", "sv_enroll", "sv_identify", "sv_joint"),
    "Publish": ("sv_pack", "sv_upload", "sv_export"),
}
USAGE = f"""\
usage: {PROGRAM} VERB [OPTION ...]
       {PROGRAM} VERB --help
       {PROGRAM} --version

Speaker verification from ASR-pretrained ESPnet Conformers.
"""


def verb(command: str) -> str:
    """Return the verb of a command, e.g. ``score-norm`` for ``sv_score_norm``."""
    return command.removeprefix("sv_").replace("_", "-")


VERBS = {verb(name): name for names in COMMANDS.values() for name in names}


def main(cmd: list[str] | None = None) -> None:
    """Run the command that a verb names.

    Args:
        cmd: The verb and its options; None for those of this process.
    """
    words = sys.argv[1:] if cmd is None else cmd
    name = words[0].replace("_", "-") if words else "--help"
    # ESPnet's tasks set up logging themselves, by rank
    run(
        lambda: run_verb(name, words[1:]),
        configure_logging=not name.endswith("train"),
    )


def run_verb(name: str, options: list[str]) -> None:
    """Import the command of a verb and run it.

    Raises:
        SVError: There is no such verb, or the command fails.
    """
    if name in ("-h", "--help"):
        print(help_text())
        return
    if name == "--version":
        print(f"{PROGRAM} {espnet2_sv.__version__}")
        return
    if name not in VERBS:
        nearest = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise SVError(f"unknown verb '{name}': {hint}{PROGRAM} --help lists all verbs")
    sys.argv = [f"{PROGRAM} {name}", *options]  # the program name in help and errors
    module = importlib.import_module(f"espnet2_sv.bin.{VERBS[name]}")
    check_interrupted()
    module.main()


def help_text() -> str:
    """Return the verbs by purpose, each with the first line of its docstring."""
    width = max(map(len, VERBS))
    lines = [USAGE]
    for purpose, names in COMMANDS.items():
        lines.append(f"{purpose}:")
        lines += [f"  {verb(name):<{width}}  {summary(name)}" for name in names]
        lines.append("")
    return "\n".join(lines).rstrip()


def summary(command: str) -> str:
    """Return what a command does, read from its source so that nothing is imported."""
    source = Path(__file__).with_name(f"{command}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0].rstrip(".")


if __name__ == "__main__":
    main()
