#!/usr/bin/env python3
"""Collect the results of several systems into one table."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.results import Layout, layout_markdown, results_markdown


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        __doc__,
        epilog=(
            "A system.json beside a metrics.json adds columns; sv_describe writes it."
        ),
    )
    options.add_output(parser, "Markdown file to write or replace", "--outpath")
    parser.add_argument("--title", default="Results", help="Heading of the page")
    parser.add_argument(
        "--layout",
        metavar="FILE",
        help=(
            "YAML file with sets (headings by name), protocols (title, kind, suffix),"
            " systems (description, name, published) and notes: one table per protocol"
            " with the sets side by side. NAME is then EXPERIMENT/SET/KIND. Without it:"
            " one table, one row per NAME"
        ),
    )
    parser.add_argument(
        "systems", nargs="*", metavar="NAME=metrics.json", help="Rows, in order"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the table."""
    args = get_parser().parse_args(cmd)
    systems: dict[str, str] = {}
    for item in args.systems:
        name, _, path = item.partition("=")
        if not name or not path:
            raise SVError(f"'{item}': give NAME=DIR/metrics.json")
        if name in systems:
            raise SVError(f"'{item}': the name {name} is given twice")
        systems[name] = path
    args.metrics = list(systems.values())
    options.keep_inputs(args, ("layout", "metrics"), [args.output])
    if args.layout:
        page = layout_markdown(args.title, Layout.read(args.layout), systems)
    elif systems:
        page = results_markdown(args.title, systems)
    else:
        raise SVError("give at least one NAME=DIR/metrics.json")
    with atomic_write(args.output) as f:
        f.write(page)


if __name__ == "__main__":
    run(main)
