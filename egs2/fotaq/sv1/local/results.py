#!/usr/bin/env python3
"""Write RESULTS.md: tables of results over the pooled folds.

Systems that lack a fold or a seed are left out of the tables and listed.
"""

import argparse
import json
import re
from pathlib import Path

import yaml
from plot_curves import read_curve
from plot_doses import write_doses
from systems import System, exp_dir, read_systems

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.inference.description import describe
from espnet2_sv.scoring.comparison import compare
from espnet2_sv.scoring.comparison_plan import Pair, Part, Plan
from espnet2_sv.scoring.comparison_plan import System as Row
from espnet2_sv.scoring.intervals import Resampling
from espnet2_sv.scoring.report import comparison_markdown, markdown_table
from espnet2_sv.train.checkpoint import read_epochs

RESEMBLYZER = "Resemblyzer 0.1.4, trained on thousands of other speakers"
HEAD = """# Transfer, adaptor and distillation on fotaq

{folds} of 3 folds, {seeds} of 3 seeds. In each fold no model is trained on the test
characters, and every choice is made on validation characters. The protocol is in
README.md.
"""
PICTURES = (
    ("Speaker verification by quality of the ASR model", "doses"),
    ("Learning curves", "curves"),
    ("Speaker information by block", "probes"),
)
# suffix of the trial lists' names, kind of scores: heading; the first one is reported
# in full
TABLES = {
    ("test", "cosine"): "cosine",
    ("test", "asnorm"): "AS-norm",
    ("test4", "cosine"): "enrolled by 4, cosine",
    ("test4", "asnorm"): "enrolled by 4, AS-norm",
}


def training_minutes(folder: Path) -> float:
    """Return the minutes of all epochs, validation included."""
    phases = (
        phase for epoch in read_epochs(folder).values() for phase in epoch.values()
    )
    return sum(phase["time"]["__timedelta_seconds__"] for phase in phases) / 60


def write_descriptions(folders: list[Path]) -> list[str]:
    """Write system.json into trainings of one system; return the paths of the files.

    Parameters and operations are counted once, training time in each.
    """
    sizes = None
    paths = [folder / "system.json" for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        if not path.exists():
            sizes = sizes or describe(folder)
            found = sizes | {"training_minutes": training_minutes(folder)}
            with atomic_write(path) as f:
                f.write(json.dumps(found, indent=2) + "\n")
    return list(map(str, paths))


def score_files(folders: dict[str, Path], ending: str, kind: str) -> dict[str, str]:
    """Return the score file of each fold, by its part of the plan."""
    return {
        f"fold{fold}": str(folder / f"fold{fold}_{ending}" / kind / "scores")
        for fold, folder in folders.items()
    }


def system_runs(
    system: System,
    expdir: str,
    folds: list[str],
    seeds: list[str],
    ending: str,
    kind: str,
) -> list[dict[str, str]]:
    """Return the score files of each seed; AS-norm has the first seed only."""
    runs = []
    for seed in seeds[: 1 if kind == "asnorm" else system.seeds]:
        folders = {
            f: exp_dir(expdir, f, system.name, seed) / "inference" for f in folds
        }
        runs.append(score_files(folders, ending, kind))
    return runs


def missing(runs: list[dict[str, str]]) -> list[str]:
    """Return the files that do not exist."""
    return [
        path for scores in runs for path in scores.values() if not Path(path).exists()
    ]


def make_rows(
    systems: dict[str, System], expdir: str, folds: list[str], seeds: list[str], table
) -> tuple[list[Row], dict[str, str]]:
    """Return complete systems, and a missing file for each of the others."""
    rows, lacks = [], {}
    for system in systems.values():
        runs = system_runs(system, expdir, folds, seeds, *table)
        if absent := missing(runs):
            lacks[system.name] = absent[0]
            continue
        descriptions = write_descriptions(
            [
                exp_dir(expdir, fold, system.name, s)
                for fold in folds
                for s in seeds[: len(runs)]
            ]
        )
        rows.append(Row(system.name, system.description, runs, descriptions))
    folders = {fold: Path(expdir) / f"fold{fold}" / "resemblyzer" for fold in folds}
    runs = [score_files(folders, *table)]
    if not missing(runs):
        system = folders[folds[0]] / "system.json"
        rows.append(Row("resemblyzer", RESEMBLYZER, runs, [str(system)]))
    return rows, lacks


# folder of an ASR model: its name in tables
ASR_MODELS = {
    "asr": "ASR model",
    "asr_real": "real speech only",
    "asr_early": "early in that",
    "asr_synthetic": "synthetic speech only",
    "asr_random": "untrained",
}


def asr_table(expdir: str, folds: list[str]) -> str:
    """Return a table of the ASR models: training time, CER and WER."""
    rows = []
    for fold in folds:
        folder = Path(expdir) / f"fold{fold}"
        dev = 100 * min(read_curve(folder / "asr/train", "cer_ctc"))
        path = folder / "recognition/recognition.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        row = [f"fold {fold}, {ASR_MODELS['asr']}", f"{dev:.1f}"]
        row.insert(1, f"{training_minutes(folder / 'asr/train'):.0f}")
        for dset in ("asr_test_seen", "asr_test_unseen"):
            for decode in ("greedy", "beam"):
                rate = found.get(dset, {}).get(decode)
                row.append(_rates(rate) if rate else "")
        rows.append(row)
        for name, rate in found.get("others", {}).items():
            greedy = "{cer:.1f} / {wer:.1f}".format(**rate)
            label = f"fold {fold}, {ASR_MODELS.get(name, name)}"
            rows.append([label, "", "", "", "", greedy, ""])
    head = ["", "training (min)", "dev CER (%)"]
    for name in ("seen characters", "unseen characters"):
        head += [f"{name}: CER / WER (%), greedy", f"{name}: CER / WER (%), beam"]
    used = [i for i in range(len(head)) if any(row[i] for row in rows) or i == 0]
    return markdown_table(
        [head[i] for i in used], [[row[i] for i in used] for row in rows]
    )


def _rates(found: dict) -> str:
    alone, joint = (
        "{cer:.1f} / {wer:.1f}".format(**found[side]) for side in ("alone", "joint")
    )
    same = "the same" if alone == joint else joint
    return (
        f"{alone}; beside the adaptor {same} ({found['equal_texts']} of"
        f" {found['texts']} texts)"
    )


def hours(expdir: str, folds: list[str]) -> str:
    """Return a sentence on the total training time of all current trainings."""
    asr, speakers = (
        sum(training_minutes(path.parent) for path in found) / 60
        for found in (
            [
                path
                for path in (
                    Path(expdir) / "asr_synthetic/train/checkpoint.pth",
                    *(
                        Path(expdir) / f"fold{fold}/{name}/train/checkpoint.pth"
                        for fold in folds
                        for name in ("asr", "asr_real")
                    ),
                )
                if path.exists()
            ],
            [
                path
                for fold in folds
                for path in Path(expdir).glob(f"fold{fold}/sv_*/checkpoint.pth")
                if not path.parent.is_symlink()
            ],
        )
    )
    return (
        f"Training took {asr + speakers:.1f} hours of one core each: {asr:.1f} for the"
        f" ASR models, {speakers:.1f} for the speaker networks.\n"
    )


def eer_table(found: dict[str, dict]) -> str:
    """Return EERs in percent by system and table."""
    names = {
        n: s["description"]
        for table in found.values()
        for n, s in table["systems"].items()
    }
    rows = []
    for name, description in names.items():
        systems = [table["systems"].get(name) for table in found.values()]
        rows.append(
            [description, *(_eer(system) if system else "" for system in systems)]
        )
    return markdown_table(["system", *found], rows)


def _eer(system: dict) -> str:
    ends = system["eer_ci95"]
    return f"{system['eer']:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")


def main(cmd: list[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", default="conf/systems.yaml")
    parser.add_argument("--expdir", default="exp")
    parser.add_argument("--folds", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", required=True)
    parser.add_argument(
        "--only", nargs="*", default=[], help="names of the systems to report"
    )
    parser.add_argument("--score_norm", default="true", choices=("true", "false"))
    parser.add_argument("--bootstrap_samples", type=int, default=1000)
    args = parser.parse_args(cmd)
    known = read_systems(args.systems)
    systems = {name: system for name, system in known.items() if name in args.only}
    waiting = [
        s.description
        for n, s in known.items()
        if s.asr == "given" and n not in args.only
    ]
    wanted = yaml.safe_load(Path(args.systems).read_text(encoding="utf-8"))[
        "comparisons"
    ]
    (Path(args.expdir) / "results").mkdir(exist_ok=True)
    page = [HEAD.format(folds=len(args.folds), seeds=len(args.seeds))]
    found, lacking = {}, {}
    for (ending, kind), title in TABLES.items():
        if kind == "asnorm" and args.score_norm == "false":
            continue
        rows, lacks = make_rows(
            systems, args.expdir, args.folds, args.seeds, (ending, kind)
        )
        lacking = lacks | lacking
        names = {row.name for row in rows}
        if not names & set(systems):
            raise SVError(f"{args.expdir}: no system is complete; run stage 3 first")
        pairs = [
            Pair(**pair)
            for pair in wanted
            if {pair["system"], pair["against"]} <= names
        ]
        parts = [
            Part(
                f"fold{fold}", f"{dump}/trials", sorted(map(str, dump.glob("*utt2spk")))
            )
            for fold in args.folds
            for dump in [Path(f"dump/raw/fold{fold}_{ending}")]
        ]
        found[title] = compare(
            Plan(parts, rows, pairs), Resampling(args.bootstrap_samples)
        )
        with atomic_write(Path(args.expdir) / "results" / f"{ending}_{kind}.json") as f:
            f.write(json.dumps(found[title], indent=2) + "\n")
        if len(found) == 1:
            text = comparison_markdown(
                found[title], "Utterance against utterance, cosine"
            )
            page.append(re.sub("^#", "##", text, flags=re.MULTILINE))
    page += ["## EER (%) by scores and enrolment\n", eer_table(found)]
    if waiting:
        page.append(f"Not measured: {'; '.join(waiting)}.\n")
    if args.score_norm == "true":
        page.append("AS-norm: the first seed, 200 training utterances as cohort.\n")
    if lacking:
        listed = "; ".join(f"{name} lacks {path}" for name, path in lacking.items())
        page.append(f"Not in the tables: {listed}.\n")
    if (Path(args.expdir) / f"fold{args.folds[0]}/asr/train").exists():
        page += ["## ASR models\n", asr_table(args.expdir, args.folds)]
        page.append(hours(args.expdir, args.folds))
    if any(system.asr in ("real", "early") for system in systems.values()):
        write_doses(
            Path(args.expdir), args.folds, Path(args.expdir, "results/doses.png")
        )
    page += [text for name in PICTURES for text in _picture(Path(args.expdir), *name)]
    with atomic_write(Path(args.expdir) / "RESULTS.md") as f:
        f.write("\n".join(page))
    print("\n".join(page))


def _picture(expdir: Path, title: str, name: str) -> list[str]:
    text = expdir / f"results/{name}.md"
    picture = expdir / f"results/{name}.png"
    return [
        *([f"## {title}\n"] if text.exists() or picture.exists() else []),
        *([f"![{title}](results/{name}.png)\n"] if picture.exists() else []),
        *([text.read_text(encoding="utf-8")] if text.exists() else []),
    ]


if __name__ == "__main__":
    run(main)
