"""No command takes a number that makes no sense, whichever option it is."""

import argparse
import importlib
import math

import pytest

from espnet2_sv.bin import options
from espnet2_sv.bin.main import VERBS

# ESPnet's options, whose values its tasks check
COMMANDS = sorted(name for name in VERBS.values() if not name.endswith("train"))
BAD = ("nan", "inf", "-inf", "1_0", "0x1", "", " ", "1e400", "٣", "1" * 5000, "one")


def numbers(command):
    """The options of a command whose values are numbers."""
    parser = importlib.import_module(f"espnet2_sv.bin.{command}").get_parser()
    return parser, [
        action
        for action in parser._actions
        if action.type and getattr(action.type, "__module__", "") == options.__name__
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_takes_pythons_own_numbers(command):
    parser, _ = numbers(command)
    assert not [a.dest for a in parser._actions if a.type in (int, float)]


@pytest.mark.parametrize("command", COMMANDS)
def test_numbers_are_refused_by_the_name_of_their_option(command, capsys):
    parser, actions = numbers(command)
    for action in actions:
        for text in BAD:
            with pytest.raises(SystemExit):
                parser.parse_args([f"{action.option_strings[0]}={text}"])
            assert f"argument {action.option_strings[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind, good, bad",
    [
        (options.positive_int, ["1", "300"], ["0", "-1", "2.5"]),
        (options.non_negative_int, ["0", "7"], ["-1", "-5", "0.0"]),
        (options.finite_float, ["0", "-1.5", "1e-3", ".5"], []),
        (options.positive_float, ["0.1", "120"], ["0", "-0.0", "-3"]),
        (options.probability, ["0.5", "1e-6"], ["0", "1", "-0.1", "1.5"]),
    ],
)
def test_what_each_type_takes(kind, good, bad):
    for text in good:
        assert kind(text) == float(text)
        assert math.isfinite(kind(text))
    for text in (*bad, *BAD):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)
