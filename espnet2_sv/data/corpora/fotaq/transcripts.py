"""Texts for speech recognition, held against how long their clips last."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.corpora.fotaq.clips import Clip

_NO_SPEECH = {"DOG"}  # barks
# what is heard differs from what is written: "(gulp)" is a noise, "24 Hours" and "^_"
# (a trade mark) are read out
_SOUND = re.compile(r"[(<][^)>]*[)>]")
_SYMBOL = re.compile(r"[^A-Za-z\s.,;:!?'\"-]")
_NO_LETTER = re.compile(r"[^A-Z']+")
_FEWEST = 20  # clips that make a speaking rate of a character's own
_MOST_OFF = 4.0  # standard deviations of what a text's length leaves open


class Transcripts(NamedTuple):
    """What to recognise.

    Attributes:
        texts: Of each utterance: capital letters, apostrophes and single spaces.
        dropped: Why a clip with a text is not among them.
        correlation: Of the number of letters and the seconds of ``texts``.
    """

    texts: dict[str, str]
    dropped: dict[str, str]
    correlation: float


def normalise(text: str) -> str:
    """Leave capital letters, apostrophes and single spaces, e.g. ``"Who?" -> "WHO"``."""
    words = _NO_LETTER.sub(" ", text.upper()).split()
    return " ".join(stripped for word in words if (stripped := word.strip("'")))


def check_transcripts(
    clips: Sequence[Clip], seconds: Mapping[str, float]
) -> Transcripts:
    """Normalise the texts and drop those that do not tell what is heard.

    A clip's duration should follow from the length of its text. A straight line is laid
    through each character's clips, for some speak slowly; what lies far off it is
    dropped: a text of another clip, a long laugh, a word drawn out.

    Args:
        clips: With and without texts.
        seconds: How long they last.
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
    """Correlation of the texts' lengths and their durations; NaN if there are none."""
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
    """Seconds by which each utterance is longer than a straight line says."""
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
