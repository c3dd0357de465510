#!/usr/bin/env python3
"""Tell run.sh which trainings conf/systems.yaml asks for, and which of several is the best.

local/systems.py jobs --fold F --seeds 0 1 2      a line for each training
local/systems.py choose --fold F --seed 0         settles what best_of leaves open
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.metrics import describe
from espnet2_sv.scoring.roc import roc_points
from espnet2_sv.scoring.trials import align_scores, read_scores, read_trials

KINDS = ("early", "first", "chosen", "release")  # of trainings; see jobs
UNTRAINED = ("none", "random")  # kinds of ASR models that are there before any training


@dataclass(frozen=True)
class System:
    """A row of conf/systems.yaml; see there."""

    name: str
    description: str
    seeds: int
    task: str = ""
    config: str = ""
    asr: str = "none"
    args: str = ""
    best_of: tuple[str, ...] = ()
    like: str = ""
    release: bool = False
    quick: bool = True


def read_systems(path: str | Path) -> dict[str, System]:
    """Read the rows, by name.

    Raises:
        SVError: The file cannot be read, or a row has other keys or refers to what is
            not there.
    """
    try:
        rows = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["systems"]
        systems = {row["name"]: System(**row) for row in rows}
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e
    except (yaml.YAMLError, KeyError, TypeError) as e:
        raise SVError(f"{path}: is no list of systems: {str(e).splitlines()[0]}") from e
    for system in systems.values():
        for name in (*system.best_of, *([system.like] if system.like else [])):
            if name not in systems:
                raise SVError(
                    f"{path}: {system.name} refers to {name}, which is not there"
                )
    return systems


def exp_dir(expdir: str | Path, fold: str, name: str, seed: str) -> Path:
    """Where a training is."""
    return Path(expdir) / f"fold{fold}" / f"sv_{name}_seed{seed}"


def settings(
    systems: dict[str, System], name: str, expdir: str, fold: str, seed: str
) -> System:
    """A system with what it takes from others; ``seed`` is the one that was chosen with.

    Raises:
        SVError: Nothing has been chosen yet.
    """
    system = systems[name]
    if system.best_of:
        chosen = exp_dir(expdir, fold, name, seed)
        if not chosen.is_symlink():
            raise SVError(
                f"{chosen}: is not there; train {', '.join(system.best_of)} first"
            )
        for candidate in system.best_of:
            if os.readlink(chosen) == exp_dir(expdir, fold, candidate, seed).name:
                return systems[candidate]
        raise SVError(f"{chosen}: is none of {', '.join(system.best_of)}; remove it")
    if system.like:
        like = settings(systems, system.like, expdir, fold, seed)
        return System(
            name, "", system.seeds, like.task, like.config, system.asr, like.args
        )
    return system


def jobs(
    systems: dict[str, System],
    only: list[str],
    expdir: str,
    fold: str,
    seeds: list[str],
    kind: str,
) -> Iterator[str]:
    """Trainings of a fold as ``SEED NAME TASK CONFIG ASR ARGUMENT...``.

    Args:
        systems: All of them.
        only: The names of those that are wanted.
        expdir: Folder of experiments.
        fold: Number of the fold.
        seeds: The first is the one that is chosen with.
        kind: ``first``: what can be trained before anything is chosen; ``early``: what
            of it needs no trained ASR model; ``chosen``: the rest; ``release``: what is
            to be packed, of the first seed.
    """
    for number, seed in enumerate(seeds):
        for system in (systems[name] for name in systems if name in only):
            chosen = bool(system.best_of or system.like)
            if kind == "release":
                wanted = system.release and number == 0
            else:
                # the first seed of best_of is one of the candidates
                wanted = chosen == (kind == "chosen") and not (
                    system.best_of and number == 0
                )
                wanted = wanted and (kind != "early" or system.asr in UNTRAINED)
            if wanted and number < system.seeds:
                found = settings(systems, system.name, expdir, fold, seeds[0])
                yield (
                    f"{seed} {system.name} {found.task} {found.config} {found.asr}"
                    f" {found.args}"
                )


def choose(
    systems: dict[str, System],
    only: list[str],
    expdir: str,
    fold: str,
    seed: str,
    trials: Path,
) -> None:
    """Link each ``best_of`` to its candidate of the lowest equal error rate on ``trials``.

    Candidates are those that are wanted (``only``); all where none is, as they were
    trained before.
    """
    valid = read_trials(trials)
    for system in (systems[name] for name in only if systems[name].best_of):
        rates = {}
        for candidate in [c for c in system.best_of if c in only] or system.best_of:
            folder = exp_dir(expdir, fold, candidate, seed)
            path = folder / "inference" / trials.parent.name / "cosine/scores"
            scores = align_scores(valid, read_scores(path), path)
            rates[candidate] = describe(
                scores, valid.labels, roc_points(scores, valid.labels)
            )["eer"]
        best = min(rates, key=rates.get)
        link = exp_dir(expdir, fold, system.name, seed)
        part = link.with_name(link.name + ".part")
        part.unlink(missing_ok=True)
        part.symlink_to(exp_dir(expdir, fold, best, seed).name)
        part.replace(link)
        told = ", ".join(f"{name} {rate:.2f} %" for name, rate in rates.items())
        print(f"fold {fold}: {system.name} is {best} (validation: {told})")


def main(cmd: list[str] | None = None) -> None:
    """Answer run.sh."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("names", "jobs", "choose"))
    parser.add_argument("--systems", default="conf/systems.yaml")
    parser.add_argument(
        "--only", nargs="*", default=[], help="names of those that are wanted"
    )
    parser.add_argument("--expdir", default="exp")
    parser.add_argument("--fold")
    parser.add_argument("--seeds", nargs="+", help="the first is chosen with")
    parser.add_argument("--kind", default="first", choices=KINDS)
    parser.add_argument(
        "--quick", default="false", choices=("true", "false"), help="names only"
    )
    parser.add_argument("--trials", type=Path, help="validation trials, to choose by")
    args = parser.parse_args(cmd)
    systems = read_systems(args.systems)
    if unknown := set(args.only) - set(systems):
        raise SVError(
            f"{min(unknown)}: is no system of {args.systems}: {', '.join(systems)}"
        )
    if args.what == "names":  # those that need nothing from outside
        rows = [row for row in systems.values() if row.quick or args.quick == "false"]
        print(*(row.name for row in rows if row.asr != "given"))
    elif args.what == "choose":
        choose(systems, args.only, args.expdir, args.fold, args.seeds[0], args.trials)
    else:
        for job in jobs(
            systems, args.only, args.expdir, args.fold, args.seeds, args.kind
        ):
            print(f"{args.fold} {job}".rstrip())


if __name__ == "__main__":
    run(main)
