#!/usr/bin/env python3
"""List the trainings of conf/systems.yaml, and select the best of several.

systems.py jobs --folds F --seeds 0 1 2      one line per training
systems.py choose --folds 1 2 3 --seeds 0   resolves best_of by validation EER
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
UNTRAINED = ("none", "random")  # kinds of ASR models that need no training


@dataclass(frozen=True)
class System:
    """A row of conf/systems.yaml, where its keys are explained."""

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
        SVError: The file cannot be read, a row has unknown keys, or refers to a
            system that does not exist.
    """
    try:
        rows = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["systems"]
        systems = {row["name"]: System(**row) for row in rows}
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e
    except (yaml.YAMLError, KeyError, TypeError) as e:
        raise SVError(
            f"{path}: is not a list of systems: {str(e).splitlines()[0]}"
        ) from e
    for system in systems.values():
        for name in (*system.best_of, *([system.like] if system.like else [])):
            if name not in systems:
                raise SVError(
                    f"{path}: {system.name} refers to {name}, which does not exist"
                )
    return systems


def exp_dir(expdir: str | Path, fold: str, name: str, seed: str) -> Path:
    """Return the folder of a training."""
    return Path(expdir) / f"fold{fold}" / f"sv_{name}_seed{seed}"


def settings(
    systems: dict[str, System], name: str, expdir: str, fold: str, seed: str
) -> System:
    """Return a system with ``best_of`` and ``like`` resolved for the selection seed.

    Raises:
        SVError: No candidate has been selected yet.
    """
    system = systems[name]
    if system.best_of:
        chosen = exp_dir(expdir, fold, name, seed)
        if not chosen.is_symlink():
            raise SVError(
                f"{chosen}: does not exist; train {', '.join(system.best_of)} first"
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
    """Yield trainings of a fold as ``SEED NAME TASK CONFIG ASR ARGUMENT...``.

    Args:
        systems: All systems by name.
        only: Names of the systems to train.
        expdir: Folder of experiments.
        fold: Number of the fold.
        seeds: Seeds; selection uses the first.
        kind: ``first``: trainings that depend on no selection; ``early``: those of them
            that need no trained ASR model; ``chosen``: the rest; ``release``: models to
            pack, first seed only.
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
    folds: list[str],
    seed: str,
    trials: str,
) -> None:
    """Link each ``best_of`` to one candidate, the same in all folds.

    It is the one with the lowest mean over the folds of the EER on their validation
    trials. Candidates are those among ``only``; all of them if there is none, since
    they were trained before.

    Args:
        systems: All systems by name.
        only: Names of the systems to train.
        expdir: Folder of experiments.
        folds: Numbers of the folds.
        seed: Seed of the trainings that are compared.
        trials: Path of a fold's validation trials, with ``{fold}``.

    Raises:
        SVError: A candidate is not trained yet, or a fold that is not among these was
            given another one.
    """
    for system in (systems[name] for name in only if systems[name].best_of):
        candidates = [c for c in system.best_of if c in only] or system.best_of
        rates = {
            candidate: [
                validation_eer(
                    Path(trials.format(fold=fold)),
                    exp_dir(expdir, fold, candidate, seed),
                )
                for fold in folds
            ]
            for candidate in candidates
        }
        means = {name: sum(found) / len(found) for name, found in rates.items()}
        best = min(means, key=means.get)
        for link in Path(expdir).glob(f"fold*/sv_{system.name}_seed{seed}"):
            other = link.parent.name.removeprefix("fold") not in folds
            if other and os.readlink(link) != exp_dir("", "", best, seed).name:
                raise SVError(
                    f"{link}: is another than {best}, which is best in folds"
                    f" {' '.join(folds)}; give all folds at once (--folds)"
                )
        for fold in folds:
            link = exp_dir(expdir, fold, system.name, seed)
            part = link.with_name(link.name + ".part")
            part.unlink(missing_ok=True)
            part.symlink_to(exp_dir(expdir, fold, best, seed).name)
            part.replace(link)
        listed = ", ".join(f"{name} {mean:.2f} %" for name, mean in means.items())
        print(f"{system.name} is {best} (mean validation EER: {listed})")


def validation_eer(trials: Path, folder: Path) -> float:
    """Return the EER in percent of a training on its fold's validation trials."""
    path = folder / "inference" / trials.parent.name / "cosine/scores"
    valid = read_trials(trials)
    scores = align_scores(valid, read_scores(path), path)
    return describe(scores, valid.labels, roc_points(scores, valid.labels))["eer"]


def main(cmd: list[str] | None = None) -> None:
    """Print names or jobs, or select the best systems."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("names", "jobs", "choose"))
    parser.add_argument("--systems", default="conf/systems.yaml")
    parser.add_argument(
        "--only", nargs="*", default=[], help="names of the systems to train"
    )
    parser.add_argument("--expdir", default="exp")
    parser.add_argument("--folds", nargs="+", help="jobs takes one")
    parser.add_argument("--seeds", nargs="+", help="seeds; selection uses the first")
    parser.add_argument("--kind", default="first", choices=KINDS)
    parser.add_argument(
        "--quick",
        default="false",
        choices=("true", "false"),
        help="with names: only systems of the quick check",
    )
    parser.add_argument(
        "--trials", help="validation trials for the selection, with {fold}"
    )
    args = parser.parse_args(cmd)
    systems = read_systems(args.systems)
    if unknown := set(args.only) - set(systems):
        raise SVError(
            f"{min(unknown)}: is not a system of {args.systems}: {', '.join(systems)}"
        )
    if args.what == "names":  # those that need nothing from outside
        rows = [row for row in systems.values() if row.quick or args.quick == "false"]
        print(*(row.name for row in rows if row.asr != "given"))
    elif args.what == "choose":
        choose(systems, args.only, args.expdir, args.folds, args.seeds[0], args.trials)
    else:
        [fold] = args.folds
        for job in jobs(systems, args.only, args.expdir, fold, args.seeds, args.kind):
            print(f"{fold} {job}".rstrip())


if __name__ == "__main__":
    run(main)
