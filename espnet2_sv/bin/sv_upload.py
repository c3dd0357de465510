#!/usr/bin/env python3
"""Upload a packed speaker model to the Hugging Face Hub."""

import argparse

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Upload a packed speaker model to the Hugging Face Hub. Needs a token: "
            "'hf auth login' or HF_TOKEN."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--zip", required=True, metavar="ZIP", help="archive made by sv_pack"
    )
    parser.add_argument(
        "--repo", required=True, metavar="ORG/NAME", help="where to send it"
    )
    parser.add_argument(
        "--private",
        type=str2bool,
        default=False,
        help="visibility of a repository that is made",
    )
    parser.add_argument(
        "--dry_run", type=str2bool, default=False, help="only list what would be sent"
    )
    return parser


def main(cmd=None):
    """Upload as the command line says."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.packaging.upload import upload_model

    sent = upload_model(args.zip, args.repo, dry_run=args.dry_run, private=args.private)
    for name, size in sent.files:
        print(f"{size:12d} {name}")
    verb = "would be sent to" if args.dry_run else "sent to"
    print(f"{len(sent.files)} files {verb} {sent.url or args.repo}")


if __name__ == "__main__":
    run(main)
