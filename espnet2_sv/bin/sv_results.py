#!/usr/bin/env python3
"""Collect many metrics.json into one table."""

import argparse

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.layout import Layout, layout_markdown
from espnet2_sv.scoring.report import results_markdown


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=(
            "A system.json beside a metrics.json adds columns; sv_describe writes it."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--outpath", required=True, help="Markdown file to write or replace"
    )
    parser.add_argument("--title", default="Results", help="heading of the page")
    parser.add_argument(
        "--layout",
        metavar="F",
        help=(
            "YAML file with sets (headings by name), protocols (title, kind, suffix),"
            " systems (description, name, published) and notes: a table a protocol,"
            " sets side by side; NAME is then EXPERIMENT/SET/KIND. Without it: one"
            " table, a line each"
        ),
    )
    parser.add_argument(
        "systems", nargs="*", metavar="NAME=metrics.json", help="rows, in order"
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
    if args.layout:
        page = layout_markdown(args.title, Layout.read(args.layout), systems)
    elif systems:
        page = results_markdown(args.title, systems)
    else:
        raise SVError("give at least one NAME=DIR/metrics.json")
    with atomic_write(args.outpath) as f:
        f.write(page)


if __name__ == "__main__":
    run(main)
