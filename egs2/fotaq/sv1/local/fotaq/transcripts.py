"""Transcripts for speech recognition: normalised, checked against durations, split."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.corpora.corpus import rank

from .clips import Clip

_NO_SPEECH = {"DOG"}  # barks
# texts that differ from the spoken words: "(gulp)" is a noise, "24 Hours" and "^_"
# (a trade mark) are read aloud
_SOUND = re.compile(r"[(<][^)>]*[)>]")
_SYMBOL = re.compile(r"[^A-Za-z\s.,;:!?'\"-]")
_NO_LETTER = re.compile(r"[^A-Z']+")
_FEWEST = 20  # clips needed to fit a character's own speaking rate
_MOST_OFF = 4.0  # standard deviations of the residual durations


class Transcripts(NamedTuple):
    """Transcripts that match their audio.

    Attributes:
        texts: Text of each utterance: capital letters, apostrophes and single spaces.
        dropped: Reason for each clip whose text is not used.
        correlation: Correlation between number of letters and seconds over ``texts``.
    """

    texts: dict[str, str]
    dropped: dict[str, str]
    correlation: float


def normalise(text: str) -> str:
    """Keep capital letters, apostrophes and single spaces, e.g. ``Who?`` is ``WHO``."""
    words = _NO_LETTER.sub(" ", text.upper()).split()
    return " ".join(stripped for word in words if (stripped := word.strip("'")))


def check_transcripts(
    clips: Sequence[Clip], seconds: Mapping[str, float]
) -> Transcripts:
    """Normalise the texts and drop those that do not match their audio.

    Duration is regressed linearly on text length for each character, since some speak
    slowly. Outliers are dropped: a text of another clip, a long laugh, a drawn-out
    word.

    Args:
        clips: Clips with and without texts.
        seconds: Duration of each utterance in seconds.
    """
    texts, dropped = {}, {}
    for clip in clips:
        if reason := _unfit(clip):
            dropped[clip.utt] = reason
        elif clip.text:
            texts[clip.utt] = normalise(clip.text)
    off = _residuals({clip.utt: clip.character for clip in clips}, texts, seconds)
    spread = float(np.std(list(off.values()))) if off else 0.0
    for utt, residual in off.items():
        if abs(residual) > _MOST_OFF * spread:
            how = "longer" if residual > 0 else "shorter"
            dropped[utt] = (
                f"{abs(residual):.1f} s {how} than its text: {texts.pop(utt)}"
            )
    return Transcripts(texts, dropped, correlate(texts, seconds))


def correlate(texts: Mapping[str, str], seconds: Mapping[str, float]) -> float:
    """Correlation between length and duration; NaN for fewer than two texts."""
    if len(texts) < 2:
        return float("nan")
    return float(
        np.corrcoef(
            [(len(text), seconds[utt]) for utt, text in texts.items()], None, 0
        )[0, 1]
    )


def _unfit(clip: Clip) -> str:
    if clip.text and clip.character in _NO_SPEECH:
        return f"no speech: {clip.text}"
    if _SOUND.search(clip.text):
        return f"a sound, not words: {clip.text}"
    if _SYMBOL.search(clip.text):
        return f"figures or symbols: {clip.text}"
    return f"no words: {clip.text}" if clip.text and not normalise(clip.text) else ""


def _residuals(
    character_of: Mapping[str, str],
    texts: Mapping[str, str],
    seconds: Mapping[str, float],
) -> dict[str, float]:
    """Seconds by which each utterance is longer than the regression predicts."""
    groups = defaultdict(list)
    for utt in texts:
        groups[character_of[utt]].append(utt)
    few = [utt for utts in groups.values() if len(utts) < _FEWEST for utt in utts]
    off = {}
    for utts in [*(utts for utts in groups.values() if len(utts) >= _FEWEST), few]:
        lengths = np.array([len(texts[utt]) for utt in utts])
        durations = np.array([seconds[utt] for utt in utts])
        if len(np.unique(lengths)) > 1:
            line = np.polyfit(lengths, durations, 1)
            off |= dict(
                zip(utts, (durations - np.polyval(line, lengths)).tolist(), strict=True)
            )
    return off


class ASRSets(NamedTuple):
    """Texts of each set's utterances; no text of ``train`` is in another set.

    Attributes:
        train: Training characters of the fold.
        dev: The same characters, for early stopping.
        test_seen: The same characters, for testing.
        test_unseen: Test characters of the fold.
    """

    train: dict[str, str]
    dev: dict[str, str]
    test_seen: dict[str, str]
    test_unseen: dict[str, str]


def split_texts(
    texts: Mapping[str, str],
    character_of: Mapping[str, str],
    train: Iterable[str],
    test: Iterable[str],
    share: float,
    seed: int,
) -> ASRSets:
    """Split utterances by text, since characters repeat many sentences.

    Args:
        texts: Normalised text of all utterances.
        character_of: Character of each utterance.
        train: Training characters.
        test: Test characters.
        share: Fraction of the training characters' distinct texts that goes to each of
            ``dev`` and ``test_seen``.
        seed: Seed of the selection.
    """
    train, test = set(train), set(test)
    pool = {utt: text for utt, text in texts.items() if character_of[utt] in train}
    order = rank(set(pool.values()), seed)
    size = max(1, round(share * len(order)))
    dev, seen = set(order[:size]), set(order[size : 2 * size])
    learnt = set(order[2 * size :])
    return ASRSets(
        {utt: text for utt, text in pool.items() if text in learnt},
        {utt: text for utt, text in pool.items() if text in dev},
        {utt: text for utt, text in pool.items() if text in seen},
        {u: t for u, t in texts.items() if character_of[u] in test and t not in learnt},
    )
