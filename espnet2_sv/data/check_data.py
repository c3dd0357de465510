"""Check a Kaldi data directory before anything is computed from it."""

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from espnet2_sv.data.check_audio import LEVELS, check_audio
from espnet2_sv.data.kaldi import KaldiTable, read_spk2utt, write_two_column
from espnet2_sv.data.segments import Utterances
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError

_LABELS = {"target": True, "nontarget": False}


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
    """Check for everything that would break or invalidate later stages.

    Args:
        folder: Data directory with ``wav.scp``, ``utt2spk``, ``spk2utt``; optionally
            ``segments`` (which then lists the utterances, and ``wav.scp`` recordings)
            and ``enroll_spk2utt`` (enrolment models that trials may name). Speakers are
            optional without ``train``.
        train: Whether the data are for training: speakers are then required, and a
            speaker with one utterance is a warning.
        trials: Trial lists over its utterances.
        against: Data directories that must share no speaker and no utterance with it.
        audio: ``"none"``, ``"header"`` or ``"full"``, see :func:`check_audio`.
        sample_rate: Expected sampling rate in Hz; others are a warning.
        allow_pipes: Whether ``wav.scp`` may contain commands; they are run.
        nj: Number of processes that check audio.
        listed: Maximum messages per kind of problem.
        utt2dur: File to write with the seconds of each recording, if there are no
            problems.
        shard: ``"i/n"`` checks the i-th of n splits of the audio, and nothing else.

    Returns:
        Problems and warnings. Problems of the data never raise.

    Raises:
        SVError: An invalid combination of options.
    """
    if audio not in LEVELS:
        raise SVError(f"check_audio is {audio}; choose {', '.join(LEVELS)}")
    if utt2dur is not None and audio == "none":
        raise SVError("check_audio none: utt2dur needs header or full")
    folder, report = Path(folder), ValidationReport(listed)
    if shard is not None and (audio == "none" or utt2dur is not None):
        raise SVError("shard checks audio only; leave out check_audio none and utt2dur")
    wavs = _table(folder / "wav.scp", report)
    if shard is not None:
        if wavs is not None:
            check_audio(wavs, audio, allow_pipes, nj, sample_rate, report, shard)
        return report
    utts = _utterances(folder, wavs, report)
    utt2spk = _speakers(folder, utts, train, report)
    speaker_of = dict(utt2spk.items()) if utt2spk is not None else {}
    if train:
        _check_counts(folder, speaker_of, report)
    models = _models(folder, speaker_of, report)
    known = speaker_of | {
        model: speaker for model, speaker in models.items() if speaker
    }
    for path in trials:
        names = set(utts.names().tolist()) if utts is not None else set()
        check_trials(path, names | set(models), names, known, report)
    for other in against:
        _check_disjoint(folder, speaker_of, Path(other), report)
    if audio != "none" and wavs is not None:
        seconds = check_audio(wavs, audio, allow_pipes, nj, sample_rate, report)
        if utt2dur is not None and not report.num_problems:
            write_two_column(utt2dur, {utt: f"{seconds[utt]:.3f}" for utt in seconds})
    return report


def _table(
    path: Path, report: ValidationReport, needed: bool = True
) -> KaldiTable | None:
    """Read a two-column file; report malformed and unsorted lines."""
    if not path.exists():
        if needed:
            report.problem("files", f"{path}: is missing")
        return None
    try:
        table = KaldiTable.read(path)
    except SVError as e:
        if not _explain(path, report):
            report.problem("files", str(e))
        return None
    if not len(table):
        report.problem("files", f"{path}: is empty")
    elif (place := table.first_unsorted) is not None:
        report.problem(
            "order",
            f"{path}: is not sorted, {table.key(place)} (line {place + 1}) comes after "
            f"{table.key(place - 1)}; run LC_ALL=C sort -o {path} {path}",
        )
    return table


def _explain(path: Path, report: ValidationReport) -> bool:
    """Report all malformed lines of a file; return whether there are any."""
    seen: dict[str, int] = {}
    before = report.num_problems
    with open(path, encoding="utf-8", errors="replace", newline="\n") as f:
        lines = f.readlines()
    for number, line in enumerate(lines, 1):
        fields = line.split(maxsplit=1)
        where = f"{path}: line {number}"
        if not fields:
            report.problem(f"{path}: lines", f"{where} is empty; remove it")
        elif line[0].isspace():
            report.problem(
                f"{path}: lines", f"{where} starts with white space; remove it"
            )
        elif len(fields) < 2:
            report.problem(
                f"{path}: lines", f"{where} has a key but no value: {fields[0]}"
            )
        elif fields[0] in seen:
            report.problem(
                f"{path}: repeated keys",
                f"{where} repeats key {fields[0]} of line {seen[fields[0]]}; keep one",
            )
        else:
            seen[fields[0]] = number
    return report.num_problems > before


def _utterances(
    folder: Path, wavs: KaldiTable | None, report: ValidationReport
) -> KaldiTable | None:
    """Return the table of utterances: ``segments`` if it exists, else ``wav.scp``."""
    if not (folder / "segments").exists():
        return wavs
    table = _table(folder / "segments", report)
    if table is not None and wavs is not None:
        pieces = Utterances(folder)
        for i in range(len(pieces)):
            try:
                pieces[i]
            except SVError as e:
                report.problem("segments", str(e))
    return table


def _speakers(
    folder: Path, utts: KaldiTable | None, needed: bool, report: ValidationReport
) -> KaldiTable | None:
    """Check utt2spk and spk2utt against the utterances and each other."""
    needed = needed or (folder / "utt2spk").exists() or (folder / "spk2utt").exists()
    utt2spk = _table(folder / "utt2spk", report, needed)
    if utt2spk is not None and utts is not None:
        for a, b in ((utts, utt2spk), (utt2spk, utts)):
            for utt in a.names()[b.find(a.keys()) < 0]:
                report.problem(
                    "utterances", f"{b.name}: utterance {utt} of {a.name} is missing"
                )
    if _table(folder / "spk2utt", report, needed) is None or utt2spk is None:
        return utt2spk
    try:
        spk2utt = read_spk2utt(folder / "spk2utt")
    except SVError as e:
        report.problem("spk2utt", str(e))
        return utt2spk
    turned = {(utt, spk) for spk, members in spk2utt.items() for utt in members}
    for utt, spk in sorted(turned ^ set(utt2spk.items())):
        where, other = (
            ("spk2utt", "utt2spk") if (utt, spk) in turned else ("utt2spk", "spk2utt")
        )
        report.problem(
            "spk2utt",
            f"{folder / where}: utterance {utt} has speaker {spk}, unlike in {other}",
        )
    return utt2spk


def _check_counts(
    folder: Path, speaker_of: dict[str, str], report: ValidationReport
) -> None:
    counts: dict[str, int] = {}
    for speaker in speaker_of.values():
        counts[speaker] = counts.get(speaker, 0) + 1
    for speaker, count in counts.items():
        if count == 1:
            report.warning(
                "speakers",
                f"{folder / 'utt2spk'}: training speaker {speaker} has one utterance",
            )
    if len(counts) == 1:
        report.problem(
            "speakers", f"{folder / 'utt2spk'}: has one speaker; training needs several"
        )


def _models(
    folder: Path, speaker_of: dict[str, str], report: ValidationReport
) -> dict[str, str]:
    """Return the speaker of each enrolment model; "" if unknown."""
    path = folder / "enroll_spk2utt"
    if not path.exists():
        return {}
    table = _table(path, report)
    models = {}
    for model, utts in table.items() if table is not None else ():
        missing = [utt for utt in utts.split() if speaker_of and utt not in speaker_of]
        for utt in missing:
            report.problem(
                "models", f"{path}: utterance {utt} of model {model} is unknown"
            )
        speakers = {speaker_of[utt] for utt in utts.split() if utt in speaker_of}
        if len(speakers) > 1:
            report.problem(
                "models", f"{path}: model {model} has utterances of several speakers"
            )
        models[model] = speakers.pop() if len(speakers) == 1 else ""
    return models


def _check_disjoint(
    folder: Path, speaker_of: dict[str, str], other: Path, report: ValidationReport
) -> None:
    theirs = _table(other / "utt2spk", report)
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
            report.problem(
                f"shared {what}s",
                f"{folder / 'utt2spk'}: {what} {name} is also in {other / 'utt2spk'};"
                " overlap inflates results, hold it out",
            )


def check_trials(
    path: str | os.PathLike,
    enroll: Container[str],
    test: Container[str],
    speaker_of: Mapping[str, str],
    report: ValidationReport,
) -> None:
    """Check a list of ``enroll_utt test_utt target|nontarget`` lines.

    Args:
        path: Path of the list.
        enroll: Names allowed on the enrolment side: utterances or models.
        test: Names allowed on the test side.
        speaker_of: Speaker of each name, as far as known; labels must agree with it.
        report: Collects problems and warnings.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as f:
            lines = f.readlines()
    except (OSError, UnicodeDecodeError) as e:
        report.problem("trials", f"{path}: cannot be read ({e})")
        return
    seen: dict[tuple[str, str], bool] = {}
    unknown: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        match line.split():
            case [a, b, label] if label in _LABELS:
                same = _LABELS[label]
            case [_, _, label]:
                report.problem(
                    "trial labels",
                    f"{where} has label {label}; write target or nontarget",
                )
                continue
            case fields:
                report.problem(
                    "trial lines",
                    f"{where} has {len(fields)} fields; write enroll_utt test_utt"
                    " label",
                )
                continue
        unknown.update(x for x, known in ((a, enroll), (b, test)) if x not in known)
        if (a, b) in seen and seen[a, b] != same:
            report.problem(
                "repeated trials",
                f"{where} lists {a} {b} with both labels; keep one line",
            )
        elif (a, b) in seen:  # as in published lists, whose results count both
            report.warning(
                "trials listed again", f"{where} lists {a} {b} again; each counts"
            )
        seen.setdefault((a, b), same)
        if (
            a in speaker_of
            and b in speaker_of
            and (speaker_of[a] == speaker_of[b]) != same
        ):
            report.problem(
                "wrong trial labels",
                f"{where} has label {label}, but {a} is of speaker {speaker_of[a]}"
                f" and {b} of {speaker_of[b]}",
            )
        if a == b:
            report.warning("trials", f"{where} compares {a} with itself")
    for utt, count in unknown.items():
        report.problem(
            "unknown trial utterances",
            f"{path}: utterance {utt} of {count} trials is not in wav.scp; add it or"
            " remove the trials",
        )
    missing = [label for label, same in _LABELS.items() if same not in seen.values()]
    for label in missing:
        report.problem(
            "trials", f"{path}: has no {label} trials; error rates need both classes"
        )
