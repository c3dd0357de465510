"""Utterances for speaker verification: long clips, and short ones joined."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import Corpus, rank

from .audio import Recording, join_short
from .clips import Clip
from .folds import voice_of
from .transcripts import normalise


class Utterance(NamedTuple):
    """A long clip, or several short ones joined.

    Attributes:
        recording: Audio of the utterance.
        said: Texts of its clips, as far as known, to detect repetitions.
    """

    recording: Recording
    said: frozenset[str]


class Speech:
    """All utterances of all characters."""

    def __init__(
        self,
        clips: Sequence[Clip],
        recordings: Mapping[str, Recording],
        outdir: str | os.PathLike,
        shortest: float,
    ):
        """Join short clips of each character, sorted by name.

        Args:
            clips: All clips.
            recordings: Audio of each clip.
            outdir: Folder for joined audio.
            shortest: Minimum duration of an utterance in seconds.
        """
        said = {clip.utt: normalise(clip.text) for clip in clips}
        own: dict[str, dict[str, Recording]] = {}
        for clip in clips:
            own.setdefault(clip.character, {})[clip.utt] = recordings[clip.utt]
        self._utterances: dict[str, dict[str, Utterance]] = {}
        for character, parts in own.items():
            kept, members = join_short(parts, Path(outdir), shortest)
            self._utterances[character] = {
                utt: Utterance(
                    kept[utt], frozenset(said[u] for u in members[utt] if said[u])
                )
                for utt in sorted(kept)
            }

    def __contains__(self, character: str) -> bool:
        return character in self._utterances

    def __getitem__(self, character: str) -> dict[str, Utterance]:
        """Return a character's utterances by name."""
        return self._utterances[character]

    def choose(
        self, characters: Iterable[str], most: int, seed: int
    ) -> dict[str, list[str]]:
        """Choose at most ``most`` utterances of each character that has any."""
        return {c: sorted(rank(self[c], seed)[:most]) for c in characters if c in self}

    def said(
        self, chosen: Mapping[str, Iterable[str]]
    ) -> dict[str, dict[str, frozenset[str]]]:
        """Return the texts of chosen utterances of characters."""
        return {
            c: {utt: self[c][utt].said for utt in utts} for c, utts in chosen.items()
        }

    def corpus(self, chosen: Mapping[str, Iterable[str]]) -> Corpus:
        """Return utterances and their files, for writing a data directory."""
        return {
            c: [(u, self[c][u].recording.path) for u in utts]
            for c, utts in chosen.items()
        }

    def training_corpus(
        self, characters: Iterable[str], most_minutes: float, seed: int
    ) -> Corpus:
        """Return training utterances of each class, up to a maximum duration.

        Args:
            characters: Training characters; those who sound alike are one class.
            most_minutes: Maximum minutes per class.
            seed: Seed of the selection in classes that have more.
        """
        classes: dict[str, dict[str, Recording]] = {}
        for character in characters:
            found = classes.setdefault(voice_of(character), {})
            found |= {
                utt: utterance.recording for utt, utterance in self[character].items()
            }
        corpus: Corpus = {}
        for voice, recordings in classes.items():
            left, corpus[voice] = 60 * most_minutes, []
            for utt in rank(recordings, seed):
                if recordings[utt].seconds <= left:
                    left -= recordings[utt].seconds
                    corpus[voice].append((utt, recordings[utt].path))
        return {voice: utts for voice, utts in corpus.items() if utts}
