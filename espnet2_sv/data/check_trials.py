"""Checking a trial list against the utterances that there are."""

from collections import Counter
from collections.abc import Container, Mapping
from pathlib import Path

from espnet2_sv.data.findings import ValidationReport

_LABELS = {"target": True, "nontarget": False}


def check_trials(
    path: str | Path,
    enroll: Container[str],
    test: Container[str],
    speaker_of: Mapping[str, str],
    findings: ValidationReport,
) -> None:
    """Check ``enroll_utt test_utt target|nontarget`` lines.

    Args:
        path: The list.
        enroll: Names allowed on the enrolment side: utterances or models.
        test: Names allowed on the test side.
        speaker_of: Speaker of each name, as far as known; labels are held against it.
        findings: Where problems and warnings go.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as f:
            lines = f.readlines()
    except (OSError, UnicodeDecodeError) as e:
        findings.problem("trials", f"{path}: cannot be read ({e})")
        return
    seen: dict[tuple[str, str], bool] = {}
    unknown: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        match line.split():
            case [a, b, label] if label in _LABELS:
                same = _LABELS[label]
            case [_, _, label]:
                findings.problem(
                    "trial labels",
                    f"{where} has label {label}; write target or nontarget",
                )
                continue
            case fields:
                findings.problem(
                    "trial lines",
                    f"{where} has {len(fields)} fields; write enroll_utt test_utt"
                    " label",
                )
                continue
        unknown.update(x for x, known in ((a, enroll), (b, test)) if x not in known)
        if (a, b) in seen and seen[a, b] != same:
            findings.problem(
                "repeated trials",
                f"{where} lists {a} {b} with both labels; keep one line",
            )
        elif (a, b) in seen:  # published lists do so, and their figures count it
            findings.warning(
                "trials listed again", f"{where} lists {a} {b} again; each counts"
            )
        seen.setdefault((a, b), same)
        if (
            a in speaker_of
            and b in speaker_of
            and (speaker_of[a] == speaker_of[b]) != same
        ):
            findings.problem(
                "wrong trial labels",
                f"{where} says {label}, but {a} is of speaker {speaker_of[a]} and {b}"
                f" of {speaker_of[b]}",
            )
        if a == b:
            findings.warning("trials", f"{where} compares {a} with itself")
    for utt, count in unknown.items():
        findings.problem(
            "unknown trial utterances",
            f"{path}: utterance {utt} of {count} trials is not in wav.scp; add it or"
            " remove them",
        )
    missing = [label for label, same in _LABELS.items() if same not in seen.values()]
    for label in missing:
        findings.problem(
            "trials", f"{path}: has no {label} trials; error rates need both classes"
        )
