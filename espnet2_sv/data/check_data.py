"""Checking a Kaldi data directory before anything is computed from it."""

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from espnet2_sv.data.check_audio import LEVELS, check_audio
from espnet2_sv.data.kaldi import KaldiTable, read_spk2utt, write_two_column
from espnet2_sv.data.segments import Utterances
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError


def check_data_dir(
    folder: str | os.PathLike,
    *,
    train: bool = False,
    trials: Sequence[str | os.PathLike] = (),
    against: Sequence[str | os.PathLike] = (),
    audio: str = "header",
    sample_rate: int = 16000,
    allow_pipes: bool = False,
    nj: int = 1,
    listed: int = 50,
    utt2dur: str | os.PathLike | None = None,
    shard: str | None = None,
) -> ValidationReport:
    """Look for everything that would stop or spoil later stages.

    Args:
        folder: Holds ``wav.scp``, ``utt2spk``, ``spk2utt``; optionally ``segments``
            (then the utterances are those, and ``wav.scp`` lists recordings) and
            ``enroll_spk2utt`` (models that the enrolment side of trials may name).
            Without ``train``, a folder may come without speakers.
        train: Whether it is to be trained on: speakers are then needed, and a speaker
            with one utterance is worth a warning.
        trials: Trial lists over its utterances.
        against: Folders that must share no speaker and no utterance with it.
        audio: ``"none"``, ``"header"`` or ``"full"``, see :func:`check_audio`.
        sample_rate: Rate in Hz that recordings are meant to have; others are a warning.
        allow_pipes: Whether ``wav.scp`` may hold commands; they are run.
        nj: Processes that look at audio.
        listed: Most problems of one kind that are told in full.
        utt2dur: A file to write with each recording's seconds, if there are no
            problems.
        shard: ``"i/n"`` looks at the i-th of n shares of the audio, and at nothing
            else.

    Returns:
        Problems and warnings.

    Raises:
        SVError: A wrong option; data are never wrong enough for that.
    """
    if audio not in LEVELS:
        raise SVError(f"check_audio is {audio}; choose {', '.join(LEVELS)}")
    if utt2dur is not None and audio == "none":
        raise SVError("check_audio none: utt2dur needs header or full")
    folder, findings = Path(folder), ValidationReport(listed)
    if shard is not None and (audio == "none" or utt2dur is not None):
        raise SVError(
            "a shard is of audio: check_audio none and utt2dur do not go with it"
        )
    wavs = _table(folder / "wav.scp", findings)
    if shard is not None:
        if wavs is not None:
            check_audio(wavs, audio, allow_pipes, nj, sample_rate, findings, shard)
        return findings
    utts = _utterances(folder, wavs, findings)
    utt2spk = _speakers(folder, utts, train, findings)
    speaker_of = dict(utt2spk.items()) if utt2spk is not None else {}
    if train:
        _check_counts(folder, speaker_of, findings)
    models = _models(folder, speaker_of, findings)
    known = speaker_of | {
        model: speaker for model, speaker in models.items() if speaker
    }
    for path in trials:
        names = set(utts.names().tolist()) if utts is not None else set()
        check_trials(path, names | set(models), names, known, findings)
    for other in against:
        _check_disjoint(folder, speaker_of, Path(other), findings)
    if audio != "none" and wavs is not None:
        seconds = check_audio(wavs, audio, allow_pipes, nj, sample_rate, findings)
        if utt2dur is not None and not findings.num_problems:
            write_two_column(utt2dur, {utt: f"{seconds[utt]:.3f}" for utt in seconds})
    return findings


def _table(
    path: Path, findings: ValidationReport, needed: bool = True
) -> KaldiTable | None:
    """Read a two-column file; every malformed or misplaced line becomes a problem."""
    if not path.exists():
        if needed:
            findings.problem("files", f"{path}: is missing")
        return None
    try:
        table = KaldiTable.read(path)
    except SVError as e:
        if not _explain(path, findings):
            findings.problem("files", str(e))
        return None
    if not len(table):
        findings.problem("files", f"{path}: is empty")
    elif (place := table.first_unsorted) is not None:
        findings.problem(
            "order",
            f"{path}: is not sorted, {table.key(place)} (line {place + 1}) comes after "
            f"{table.key(place - 1)}; run LC_ALL=C sort -o {path} {path}",
        )
    return table


def _explain(path: Path, findings: ValidationReport) -> bool:
    """List all malformed lines of a file; whether there were any."""
    seen: dict[str, int] = {}
    before = findings.num_problems
    with open(path, encoding="utf-8", errors="replace", newline="\n") as f:
        lines = f.readlines()
    for number, line in enumerate(lines, 1):
        fields = line.split(maxsplit=1)
        where = f"{path}: line {number}"
        if not fields:
            findings.problem(f"{path}: lines", f"{where} is empty; remove it")
        elif line[0].isspace():
            findings.problem(
                f"{path}: lines", f"{where} starts with white space; remove it"
            )
        elif len(fields) < 2:
            findings.problem(
                f"{path}: lines", f"{where} has a key but no value: {fields[0]}"
            )
        elif fields[0] in seen:
            findings.problem(
                f"{path}: repeated keys",
                f"{where} repeats key {fields[0]} of line {seen[fields[0]]}; keep one",
            )
        else:
            seen[fields[0]] = number
    return findings.num_problems > before


def _utterances(
    folder: Path, wavs: KaldiTable | None, findings: ValidationReport
) -> KaldiTable | None:
    """The table whose keys are the utterances: ``segments`` if there is one, or ``wav.scp``."""
    if not (folder / "segments").exists():
        return wavs
    table = _table(folder / "segments", findings)
    if table is not None and wavs is not None:
        pieces = Utterances(folder)
        for i in range(len(pieces)):
            try:
                pieces[i]
            except SVError as e:
                findings.problem("segments", str(e))
    return table


def _speakers(
    folder: Path, utts: KaldiTable | None, needed: bool, findings: ValidationReport
) -> KaldiTable | None:
    """Check utt2spk and spk2utt against the utterances and each other."""
    needed = needed or (folder / "utt2spk").exists() or (folder / "spk2utt").exists()
    utt2spk = _table(folder / "utt2spk", findings, needed)
    if utt2spk is not None and utts is not None:
        for a, b in ((utts, utt2spk), (utt2spk, utts)):
            for utt in a.names()[b.find(a.keys()) < 0]:
                findings.problem(
                    "utterances", f"{b.name}: utterance {utt} of {a.name} is missing"
                )
    if _table(folder / "spk2utt", findings, needed) is None or utt2spk is None:
        return utt2spk
    try:
        spk2utt = read_spk2utt(folder / "spk2utt")
    except SVError as e:
        findings.problem("spk2utt", str(e))
        return utt2spk
    turned = {(utt, spk) for spk, members in spk2utt.items() for utt in members}
    for utt, spk in sorted(turned ^ set(utt2spk.items())):
        where, other = (
            ("spk2utt", "utt2spk") if (utt, spk) in turned else ("utt2spk", "spk2utt")
        )
        findings.problem(
            "spk2utt",
            f"{folder / where}: utterance {utt} is of speaker {spk}, unlike in {other}",
        )
    return utt2spk


def _check_counts(
    folder: Path, speaker_of: dict[str, str], findings: ValidationReport
) -> None:
    counts: dict[str, int] = {}
    for speaker in speaker_of.values():
        counts[speaker] = counts.get(speaker, 0) + 1
    for speaker, count in counts.items():
        if count == 1:
            findings.warning(
                "speakers",
                f"{folder / 'utt2spk'}: training speaker {speaker} has one utterance",
            )
    if len(counts) == 1:
        findings.problem(
            "speakers", f"{folder / 'utt2spk'}: has one speaker; training needs several"
        )


def _models(
    folder: Path, speaker_of: dict[str, str], findings: ValidationReport
) -> dict[str, str]:
    """Speaker of each enrolment model; "" where that is not known."""
    path = folder / "enroll_spk2utt"
    if not path.exists():
        return {}
    table = _table(path, findings)
    models = {}
    for model, utts in table.items() if table is not None else ():
        missing = [utt for utt in utts.split() if speaker_of and utt not in speaker_of]
        for utt in missing:
            findings.problem(
                "models", f"{path}: utterance {utt} of model {model} is unknown"
            )
        speakers = {speaker_of[utt] for utt in utts.split() if utt in speaker_of}
        if len(speakers) > 1:
            findings.problem(
                "models", f"{path}: model {model} has utterances of several speakers"
            )
        models[model] = speakers.pop() if len(speakers) == 1 else ""
    return models


def _check_disjoint(
    folder: Path, speaker_of: dict[str, str], other: Path, findings: ValidationReport
) -> None:
    theirs = _table(other / "utt2spk", findings)
    if theirs is None:
        return
    for what, ours, shared in (
        (
            "speaker",
            set(speaker_of.values()),
            {s.decode() for s in set(theirs.values().tolist())},
        ),
        ("utterance", set(speaker_of), set(theirs.names().tolist())),
    ):
        for name in sorted(ours & shared):
            findings.problem(
                f"shared {what}s",
                f"{folder / 'utt2spk'}: {what} {name} is in {other / 'utt2spk'}, too;"
                " results would flatter, hold it out",
            )


_LABELS = {"target": True, "nontarget": False}


def check_trials(
    path: str | os.PathLike,
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
