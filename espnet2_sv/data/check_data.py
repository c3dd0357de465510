"""Check a Kaldi data directory before anything is computed from it."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from espnet2_sv.data.check_audio import LEVELS, check_audio
from espnet2_sv.data.check_overlap import ALLOWED, Overlap, Policy, Reading
from espnet2_sv.data.check_tables import SimilarKeys, check_table
from espnet2_sv.data.kaldi import KaldiTable, read_spk2utt, write_two_column
from espnet2_sv.data.repeated_audio import read_recordings
from espnet2_sv.data.segments import Utterances
from espnet2_sv.data.spk1_trials import (
    has_spk1_trials,
    read_joined_spk2utt,
    read_trial_lines,
)
from espnet2_sv.data.validation_report import LISTED, ValidationReport, name_first
from espnet2_sv.errors import SVError, require_integer

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
    listed: int = LISTED,
    utt2dur: str | os.PathLike | None = None,
    shard: str | None = None,
    policy: Policy | None = None,
    repeated: bool = True,
    overlap_only: bool = False,
    notes: str | os.PathLike | None = None,
    report_file: str | os.PathLike | None = None,
) -> ValidationReport:
    """Check for everything that would break or invalidate later stages.

    Args:
        folder: Data directory with ``wav.scp``, ``utt2spk``, ``spk2utt``; optionally
            ``segments`` (which then lists the utterances, and ``wav.scp`` recordings)
            and ``enroll_spk2utt`` (enrolment models that trials may name). Speakers are
            optional without ``train``.
        train: Whether the data are for training: speakers are then required, and a
            speaker with one utterance is a warning.
        trials: Trial lists over its utterances; a missing ``trials`` may be in the
            files of ESPnet's ``spk1`` recipes beside it.
        against: Data directories that must share no speaker, utterance and recording
            with it.
        audio: ``"none"``, ``"header"`` or ``"full"``, see :func:`check_audio`.
        sample_rate: Expected sampling rate in Hz; others are a warning.
        allow_pipes: Whether ``wav.scp`` may contain commands; they are run.
        nj: Number of processes that check audio.
        listed: Maximum messages per kind of problem.
        utt2dur: File to write with the seconds of each recording, if there are no
            problems.
        shard: ``"i/n"`` checks the i-th of n splits of the audio, and nothing else.
        policy: What ``against`` may share all the same, with a warning.
        repeated: Whether recordings with equal samples are looked for, within the
            directory and in ``against``; see :mod:`espnet2_sv.data.repeated_audio`.
        overlap_only: Check only what is shared or repeated, of directories that are
            checked otherwise.
        notes: File to write with one plain sentence for each thing that is shared or
            repeated, for readers of results; removed if there is none.
        report_file: File for all messages, which the report writes when it is saved.

    Returns:
        Problems and warnings. Problems of the data never raise.

    Raises:
        SVError: An invalid option or combination of options.
    """
    if audio not in LEVELS:
        raise SVError(f"check_audio is {audio}; choose {', '.join(LEVELS)}")
    if utt2dur is not None and audio == "none":
        raise SVError("check_audio none: utt2dur needs header or full")
    for name, value, least in (
        ("sample_rate", sample_rate, 1),
        ("nj", nj, 1),
        ("listed", listed, 0),
    ):
        require_integer(name, value, least)
    policy = policy or Policy()
    if policy.allowed not in ALLOWED:
        raise SVError(f"allow_overlap is {policy.allowed}; choose {', '.join(ALLOWED)}")
    folder, report = Path(folder), ValidationReport(listed, report_file)
    if shard is not None and (audio == "none" or utt2dur is not None):
        raise SVError("shard checks audio only; leave out check_audio none and utt2dur")
    wavs = check_table(folder / "wav.scp", report)
    if shard is not None:
        if wavs is not None:
            check_audio(wavs, audio, allow_pipes, nj, sample_rate, report, shard)
        return report
    seconds: dict[str, float] | None = None
    if overlap_only:
        utts, speaker_of = _known_speakers(folder, wavs, report)
    else:
        utts, speaker_of = _check_tables(folder, wavs, train, trials, report)
        if audio != "none" and wavs is not None:
            seconds = check_audio(wavs, audio, allow_pipes, nj, sample_rate, report)
            if utts is not None and utts is not wavs:
                Utterances(folder).check_ends(seconds, report)
    overlap = Overlap(folder, speaker_of, report, policy)
    for number, other in enumerate(against):
        names = set(utts.names().tolist()) if utts is not None else set()
        overlap.with_tables(names, Path(other), number)
    readable = wavs is not None and utts is not None
    if repeated and readable and (overlap_only or seconds is not None):
        reading = Reading(sample_rate, allow_pipes, nj)
        recordings = read_recordings(folder, *reading, seconds)
        overlap.with_samples(recordings, [Path(o) for o in against], trials, reading)
    if notes is not None:
        overlap.write_notes(notes)
    if utt2dur is not None and seconds is not None and not report.num_problems:
        write_two_column(utt2dur, {utt: f"{seconds[utt]:.3f}" for utt in seconds})
    return report


def _check_tables(
    folder: Path,
    wavs: KaldiTable | None,
    train: bool,
    trials: Sequence[str | os.PathLike],
    report: ValidationReport,
) -> tuple[KaldiTable | None, dict[str, str]]:
    """Check tables and trials; return the utterances and their speakers."""
    utts = _utterances(folder, wavs, report)
    joined = not train and has_spk1_trials(folder)
    utt2spk = _speakers(folder, utts, train, report, joined)
    speaker_of = dict(utt2spk.items()) if utt2spk is not None else {}
    if train:
        _check_counts(folder, speaker_of, report)
    models = _models(folder, speaker_of, report)
    known = speaker_of | {
        model: speaker for model, speaker in models.items() if speaker
    }
    if trials and speaker_of and all(u == s for u, s in speaker_of.items()):
        # as Kaldi's tools ask for where speakers are unknown, e.g. asvspoof/spk1
        known = {}
        report.warning(
            "speakers",
            f"{folder / 'utt2spk'}: every utterance is its own speaker; the labels of"
            " trials are not compared with the speakers",
        )
    for path in trials:
        names = set(utts.names().tolist()) if utts is not None else set()
        check_trials(path, names | set(models), names, known, report)
    return utts, speaker_of


def _known_speakers(
    folder: Path, wavs: KaldiTable | None, report: ValidationReport
) -> tuple[KaldiTable | None, dict[str, str]]:
    """Return the utterances and their speakers, without checking tables further."""
    utt2spk = check_table(folder / "utt2spk", report, needed=False)
    speaker_of = dict(utt2spk.items()) if utt2spk is not None else {}
    return _utterances(folder, wavs, report), speaker_of


def _utterances(
    folder: Path, wavs: KaldiTable | None, report: ValidationReport
) -> KaldiTable | None:
    """Return the table of utterances: ``segments`` if it exists, else ``wav.scp``."""
    if not os.path.lexists(folder / "segments"):
        return wavs
    table = check_table(folder / "segments", report)
    if table is not None and wavs is not None:
        pieces = Utterances(folder)
        for i in range(len(pieces)):
            try:
                pieces[i]
            except SVError as e:
                report.problem("segments", str(e))
    return table


def _speakers(
    folder: Path,
    utts: KaldiTable | None,
    needed: bool,
    report: ValidationReport,
    joined: bool,
) -> KaldiTable | None:
    """Check utt2spk and spk2utt against the utterances and each other.

    With ``joined``, a speaker may have several lines in spk2utt.
    """
    needed = needed or any(
        os.path.lexists(folder / name) for name in ("utt2spk", "spk2utt")
    )
    utt2spk = check_table(folder / "utt2spk", report, needed)
    if utt2spk is not None and utts is not None:
        for a, b in ((utts, utt2spk), (utt2spk, utts)):
            missing = a.names()[b.find(a.keys()) < 0].tolist()
            similar = SimilarKeys(b.names().tolist() if missing else ())
            for utt in missing:
                report.problem(
                    "utterances",
                    f"{b.name}: utterance {utt} of {a.name} is missing"
                    f"{similar.hint(utt)}",
                )
    path = folder / "spk2utt"
    joined = joined and os.path.lexists(path)
    if not joined and check_table(path, report, needed) is None:
        return utt2spk
    try:
        turned = (
            set(read_joined_spk2utt(path))
            if joined
            else {(u, spk) for spk, utts in read_spk2utt(path).items() for u in utts}
        )
    except SVError as e:
        report.problem("spk2utt", str(e))
        return utt2spk
    if utt2spk is None:
        return None
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
    single = [speaker for speaker, count in counts.items() if count == 1]
    if single:
        verb = "has" if len(single) == 1 else "have"
        start = f"{folder / 'utt2spk'}: "
        report.summary(
            "speakers",
            f"{start}{len(single):,} of {len(counts):,} training speakers {verb} one"
            f" utterance: {name_first(single)}",
            (f"{start}training speaker {name} has one utterance" for name in single),
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
    if not os.path.lexists(path):
        return {}
    table = check_table(path, report)
    models = {}
    similar = SimilarKeys(speaker_of)
    for model, utts in table.items() if table is not None else ():
        missing = [utt for utt in utts.split() if speaker_of and utt not in speaker_of]
        for utt in missing:
            report.problem(
                "models",
                f"{path}: utterance {utt} of model {model} is unknown"
                f"{similar.hint(utt)}",
            )
        speakers = {speaker_of[utt] for utt in utts.split() if utt in speaker_of}
        if len(speakers) > 1:
            report.problem(
                "models", f"{path}: model {model} has utterances of several speakers"
            )
        models[model] = speakers.pop() if len(speakers) == 1 else ""
    return models


def check_trials(
    path: str | os.PathLike,
    enroll: Collection[str],
    test: Collection[str],
    speaker_of: Mapping[str, str],
    report: ValidationReport,
) -> None:
    """Check a list of ``enroll_utt test_utt target|nontarget`` lines.

    Args:
        path: Path of the list; if it is the missing ``trials`` of a directory of a
            ``spk1`` recipe, its files are read, see :mod:`espnet2_sv.data.spk1_trials`.
        enroll: Names allowed on the enrolment side: utterances or models.
        test: Names allowed on the test side.
        speaker_of: Speaker of each name, as far as known; labels must agree with it.
        report: Collects problems and warnings.
    """
    try:
        source, lines = read_trial_lines(path)
    except SVError as e:
        report.problem("trials", str(e))
        return
    seen: dict[tuple[str, str], bool] = {}
    again: list[str] = []
    itself: list[str] = []
    unknown: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        where = f"{source}: line {number}"
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
            again.append(f"line {number} lists {a} {b} again")
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
            itself.append(f"line {number} compares {a} with itself")
    for kind, lines_of, meaning in (
        ("trials listed again", again, "are listed again, and each counts"),
        ("trials", itself, "compare an utterance with itself"),
    ):
        if lines_of:
            report.summary(
                kind,
                f"{source}: {len(lines_of):,} of {number:,} trials {meaning}:"
                f" {name_first(lines_of)}",
                (f"{source}: {line}" for line in lines_of),
            )
    similar = SimilarKeys({*enroll, *test} if unknown else ())
    for utt, count in unknown.items():
        report.problem(
            "unknown trial utterances",
            f"{source}: utterance {utt} of {count} trials is not in wav.scp; add it or"
            f" remove the trials{similar.hint(utt)}",
        )
    missing = [label for label, same in _LABELS.items() if same not in seen.values()]
    for label in missing:
        report.problem(
            "trials", f"{source}: has no {label} trials; error rates need both classes"
        )
