#!/usr/bin/env python3
"""Speed of preparing VoxCeleb: listing, writing sets, checking and converting m4a.

    python tools/bench/prepare.py                   # half a minute
    python tools/bench/prepare.py --speakers 5994   # the files of VoxCeleb2 dev, 2 min

Files are in the page cache, so the figures exclude disk and network. Seconds are CPU
seconds, so that other processes do not count.
"""

import argparse
import importlib.util
import logging
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.corpora.archives import unpack_once
from espnet2_sv.data.corpora.data_dirs import write_set
from espnet2_sv.data.corpora.speaker_tree import scan_speakers
from espnet2_sv.data.corpora.voxceleb.plan import Plan
from espnet2_sv.data.corpora.voxceleb.prepare import prepare_voxceleb
from espnet2_sv.data.formatting import format_data_dir

VIDEOS, UTTERANCES = 24, 7.6  # per speaker and per video of VoxCeleb2
SECONDS = 7.8  # VoxCeleb2's mean: 2,360 hours in 1,092,009 utterances
ALL = 1_092_009 + 153_516  # files of VoxCeleb2 dev and VoxCeleb1
DIFFERENT = 16  # distinct recordings; the others are copies


def make_names(root: Path, speakers: int) -> int:
    """Make empty files with names as in VoxCeleb2, and return their number."""
    count = 0
    for speaker in range(speakers):
        for video in range(VIDEOS):
            folder = root / f"id{speaker:05d}" / f"{video:011d}"
            folder.mkdir(parents=True)
            for utterance in range(7 + (video % 5 < 3)):
                (folder / f"{utterance:05d}.m4a").touch()
                count += 1
    return count


def make_recordings(root: Path, count: int) -> None:
    """Write m4a files of VoxCeleb2's mean duration, ten per speaker."""
    path = Path(__file__).parents[2] / "test" / "voxceleb_tree.py"
    spec = importlib.util.spec_from_file_location("voxceleb_tree", path)
    tree = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tree)
    for i in range(count):
        target = root / f"id{i // 10:05d}" / "v" / f"{i % 10:05d}.m4a"
        target.parent.mkdir(parents=True, exist_ok=True)
        if i < DIFFERENT:
            tree.write_audio(target, tree.speech(i, SECONDS, i))
        else:
            source = i % DIFFERENT
            shutil.copy(
                root / f"id{source // 10:05d}" / "v" / f"{source % 10:05d}.m4a", target
            )


def seconds_of(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def without_problems(check: Callable[..., object], *args, **options) -> None:
    """Run a check and require that it finds no problems, which would distort times."""
    problems = list(check(*args, **options).problems())
    assert not problems, problems[0]


def main() -> None:
    """Print a Markdown table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--speakers", type=int, default=1000, help="speakers of the listed tree"
    )
    options.add_argument(
        "--recordings", type=int, default=400, help="m4a files to read"
    )
    args = options.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = make_names(folder / "names/dev/aac", args.speakers)
        plan = Plan(test_lists=(), allow_incomplete=True, nj=1)
        rows = {
            "list a tree": (
                names,
                seconds_of(lambda: scan_speakers(folder / "names/dev/aac", nj=1)),
            ),
            "list it, choose and write all sets": (
                names,
                seconds_of(
                    lambda: prepare_voxceleb(
                        "", folder / "names", folder / "data", plan
                    )
                ),
            ),
        }
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        make_recordings(folder / "audio", args.recordings)
        archive = shutil.make_archive(
            str(folder / "vox2_dev_aac"), "zip", folder / "audio"
        )
        rows["unpack an archive"] = (
            args.recordings,
            seconds_of(lambda: unpack_once([archive], folder / "unpacked")),
        )
        data = folder / "d"
        write_set(data, scan_speakers(folder / "audio"))
        for title, work in {
            "check headers": lambda: without_problems(check_data_dir, data),
            "decode all": lambda: without_problems(check_data_dir, data, audio="full"),
            "format, m4a read directly": lambda: without_problems(
                format_data_dir, data, folder / "a"
            ),
            "format, m4a converted to flac": lambda: without_problems(
                format_data_dir, data, folder / "b", convert_containers=True
            ),
        }.items():
            rows[title] = (args.recordings, seconds_of(work))
    from networks import machine  # imports torch, which would add to the peak

    print(
        f"{machine(1)}; recordings of {SECONDS} s; {ALL:,} files are VoxCeleb1 and 2"
        " dev\n"
    )
    print(
        "| step | files | files per second and core | core hours for all"
        " |\n|---|---|---|---|"
    )
    for title, (files, seconds) in rows.items():
        hours = ALL * seconds / files / 3600
        print(f"| {title} | {files:,} | {files / seconds:,.0f} | {hours:.3f} |")
    print(f"\nPeak memory of listing and writing {names:,} files: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
