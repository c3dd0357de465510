#!/usr/bin/env python3
"""Upload a packed speaker model to the Hugging Face Hub."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Upload a packed speaker model to the Hugging Face Hub. Needs a token: run"
        " 'hf auth login' or set HF_TOKEN."
    )
    parser.add_argument(
        "--zip", required=True, metavar="FILE", help="Archive made by sv_pack"
    )
    parser.add_argument(
        "--repo", required=True, metavar="ORG/NAME", help="Hub repository to upload to"
    )
    options.add_switch(
        parser, "--private", "Make the repository private if it does not exist yet"
    )
    options.add_switch(parser, "--dry_run", "List the files without uploading them")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Upload the archive and list its files."""
    args = get_parser().parse_args(cmd)
    options.require_files(args, "zip")
    from espnet2_sv.packaging.upload import upload_model

    sent = upload_model(args.zip, args.repo, dry_run=args.dry_run, private=args.private)
    for name, size in sent.files:
        print(f"{size:12d} {name}")
    verb = "would be sent to" if args.dry_run else "sent to"
    print(f"{len(sent.files)} files {verb} {sent.url or args.repo}")


if __name__ == "__main__":
    run(main)
