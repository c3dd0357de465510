"""Data directories of the corpus: for each fold speaker and ASR sets."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_sv.data.corpora.corpus import Corpus, require_complete
from espnet2_sv.data.corpora.data_dirs import Trial, write_set
from espnet2_sv.data.kaldi import write_spk2utt, write_two_column
from espnet2_sv.errors import SVError

from .archive import QueenArchive
from .audio import Recording, extract_clips
from .clips import Clip, list_clips
from .folds import FOLDS, Fold
from .speech import Speech
from .transcripts import Transcripts, check_transcripts, split_texts
from .trials import (
    Sizes,
    make_models,
    pair_models,
    pair_utterances,
)

# counts of Debian's package, version 1.0.0-9
KNOWN = {"characters": 30, "clips": 4548, "clips with a text": 3753}
_LEAST_CORRELATION = 0.7  # lower: texts and clips do not match; 0.84 is expected


@dataclass(frozen=True)
class Plan:
    """Options of the data preparation.

    Attributes:
        sample_rate: Sampling rate of the clips in Hz.
        shortest: Minimum seconds of a speaker utterance; shorter clips are joined.
        most_minutes: Maximum minutes per voice in speaker training.
        test_utterances: Maximum utterances per character in a validation or test set.
        target_trials: Maximum target trials per character.
        nontarget_trials: Maximum nontarget trials per pair of characters.
        enroll_utterances: Enrolment utterances per model of the second test set.
        enroll_models: Maximum models per character.
        asr_share: Fraction of the training characters' texts that goes to each of the
            two held-out ASR sets.
        seed: Seed of all random selections.
        allow_incomplete: Continue if the archive differs from the known one.
        nj: Number of decoding processes.
    """

    sample_rate: int = 16000
    shortest: float = 2.0
    most_minutes: float = 10.0
    test_utterances: int = 60
    target_trials: int = 500
    nontarget_trials: int = 300
    enroll_utterances: int = 4
    enroll_models: int = 5
    asr_share: float = 0.06
    seed: int = 0
    allow_incomplete: bool = False
    nj: int = 2


def prepare_fotaq(
    queen: str | os.PathLike, output_dir: str | os.PathLike, plan: Plan
) -> None:
    """Write all sets of all folds, and log their sizes.

    For each fold F these are ``foldF_train``, ``foldF_valid``, ``foldF_test``
    (utterance against utterance), ``foldF_test4`` (models of several utterances), and
    with a file ``text`` ``foldF_asr_train``, ``foldF_asr_dev``,
    ``foldF_asr_test_seen``, ``foldF_asr_test_unseen``. Audio goes to ``clips``;
    ``about/dropped`` lists unused texts with the reason; ``about/characters`` is
    written last. The output is determined by plan and archive.

    Args:
        queen: Path of ``queen.1c``.
        output_dir: Output folder.
        plan: Options.

    Raises:
        SVError: The archive is damaged or, unless that is allowed, differs from the
            known one.
    """
    archive, output_dir = QueenArchive(queen), Path(output_dir)
    clips = list_clips(archive)
    characters = sorted({clip.character for clip in clips})
    counts = (len(characters), len(clips), sum(bool(clip.text) for clip in clips))
    found = dict(zip(KNOWN, counts, strict=True))
    logging.info(
        f"{queen}: " + ", ".join(f"{number:,} {what}" for what, number in found.items())
    )
    require_complete(
        [
            f"{queen}: {found[what]:,} {what}, not {known:,}"
            for what, known in KNOWN.items()
            if found[what] != known
        ],
        plan.allow_incomplete,
    )
    recordings = extract_clips(
        archive, clips, output_dir / "clips", plan.sample_rate, plan.nj
    )
    transcripts = _check_texts(clips, recordings, plan)
    write_two_column(output_dir / "about" / "dropped", transcripts.dropped)
    # inside the clips' folder, so that both are removed together
    joined = output_dir / "clips" / f"joined_{plan.shortest:g}s"
    speech = Speech(clips, recordings, joined, plan.shortest)
    for number, fold in FOLDS.items():
        _write_speaker_sets(
            output_dir / f"fold{number}", fold, characters, speech, plan
        )
        _write_asr_sets(
            output_dir / f"fold{number}_asr", fold, clips, recordings, transcripts, plan
        )
    _write_characters(
        output_dir / "about" / "characters", clips, recordings, transcripts
    )


def _check_texts(
    clips: Sequence[Clip], recordings: Mapping[str, Recording], plan: Plan
) -> Transcripts:
    seconds = {utt: recording.seconds for utt, recording in recordings.items()}
    transcripts = check_transcripts(clips, seconds)
    logging.info(
        f"{sum(seconds.values()) / 3600:.2f} hours; {len(transcripts.texts):,} texts, "
        f"{len(transcripts.dropped)} dropped; their lengths and durations correlate at "
        f"{transcripts.correlation:.2f}"
    )
    if not transcripts.correlation >= _LEAST_CORRELATION:
        require_complete(
            [
                f"texts and durations correlate at {transcripts.correlation:.2f}, less"
                f" than {_LEAST_CORRELATION}: texts do not match their clips"
            ],
            plan.allow_incomplete,
        )
    return transcripts


def _write_speaker_sets(
    prefix: Path, fold: Fold, characters: Sequence[str], speech: Speech, plan: Plan
) -> None:
    sizes = Sizes(plan.target_trials, plan.nontarget_trials)
    for kind, members in (("valid", fold.valid), ("test", fold.test)):
        chosen = speech.choose(members, plan.test_utterances, plan.seed)
        said = speech.said(chosen)
        trials = pair_utterances(said, sizes, plan.seed)
        _write(f"{prefix}_{kind}", speech.corpus(chosen), trials)
        if kind == "test":
            models = make_models(
                said, plan.enroll_utterances, plan.enroll_models, plan.seed
            )
            folder = Path(f"{prefix}_test{plan.enroll_utterances}")
            write_spk2utt(folder / "enroll_spk2utt", models.members)
            write_two_column(folder / "enroll_utt2spk", models.character_of)
            trials = pair_models(models, said, sizes, plan.seed)
            _write(folder, speech.corpus(chosen), trials)
    train = speech.training_corpus(fold.train(characters), plan.most_minutes, plan.seed)
    _write(f"{prefix}_train", train)


def _write_asr_sets(
    prefix: Path,
    fold: Fold,
    clips: Sequence[Clip],
    recordings: Mapping[str, Recording],
    transcripts: Transcripts,
    plan: Plan,
) -> None:
    character_of = {clip.utt: clip.character for clip in clips}
    train = fold.train(set(character_of.values()))
    sets = split_texts(
        transcripts.texts, character_of, train, fold.test, plan.asr_share, plan.seed
    )
    for kind, texts in sets._asdict().items():
        corpus: Corpus = {}
        for utt in texts:
            corpus.setdefault(character_of[utt], []).append((utt, recordings[utt].path))
        write_two_column(f"{prefix}_{kind}/text", texts)
        _write(f"{prefix}_{kind}", corpus)


def _write(
    folder: str | os.PathLike, corpus: Corpus, trials: list[Trial] | None = None
) -> None:
    """Write a set and log its size; SVError if speakers or trials are missing."""
    if not corpus or (
        trials is not None and len({trial.label for trial in trials}) < 2
    ):
        raise SVError(
            f"{folder}: the archive has too little speech for it; complete the archive"
        )
    write_set(folder, corpus, trials)
    line = (
        f"{folder}: {len(corpus)} speakers, {sum(map(len, corpus.values())):,}"
        " utterances"
    )
    if trials is not None:
        targets = sum(trial.label == "target" for trial in trials)
        line += f", {targets:,} target and {len(trials) - targets:,} nontarget trials"
    logging.info(line)


def _write_characters(
    path: Path,
    clips: Sequence[Clip],
    recordings: Mapping[str, Recording],
    transcripts: Transcripts,
) -> None:
    """Write per character: clips, seconds, clips with a usable text, and test fold."""
    table: dict[str, list[float]] = {}
    for clip in clips:
        row = table.setdefault(clip.character, [0, 0.0, 0])
        row[0] += 1
        row[1] += recordings[clip.utt].seconds
        row[2] += clip.utt in transcripts.texts
    tested = {character: str(n) for n, fold in FOLDS.items() for character in fold.test}
    write_two_column(
        path,
        {
            character: f"{count} {seconds:.1f} {texts} {tested.get(character, '-')}"
            for character, (count, seconds, texts) in table.items()
        },
    )
