"""The characters' utterances for speaker verification: long clips, and short ones joined."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import Corpus, rank
from espnet2_sv.data.corpora.fotaq.audio import Recording, join_short
from espnet2_sv.data.corpora.fotaq.clips import Clip
from espnet2_sv.data.corpora.fotaq.folds import voice_of
from espnet2_sv.data.corpora.fotaq.transcripts import normalise


class Utterance(NamedTuple):
    """A long clip, or joined ones.

    Attributes:
        recording: The audio.
        said: What is said in it, as far as known, for telling repetitions.
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
        """Join short clips of each character, in the order of their names.

        Args:
            clips: What there is.
            recordings: Their audio.
            outdir: Where joined audio goes.
            shortest: Seconds that an utterance must last.
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
        """A character's utterances, by name."""
        return self._utterances[character]

    def choose(
        self, characters: Iterable[str], most: int, seed: int
    ) -> dict[str, list[str]]:
        """Choose utterances of those characters that are there, at most ``most`` of each."""
        return {c: sorted(rank(self[c], seed)[:most]) for c in characters if c in self}

    def said(
        self, chosen: Mapping[str, Iterable[str]]
    ) -> dict[str, dict[str, frozenset[str]]]:
        """What is said in chosen utterances of characters."""
        return {
            c: {utt: self[c][utt].said for utt in utts} for c, utts in chosen.items()
        }

    def corpus(self, chosen: Mapping[str, Iterable[str]]) -> Corpus:
        """Utterances and files of characters, for writing a data directory."""
        return {
            c: [(u, self[c][u].recording.path) for u in utts]
            for c, utts in chosen.items()
        }

    def training_corpus(
        self, characters: Iterable[str], most_minutes: float, seed: int
    ) -> Corpus:
        """Utterances to train on: those who sound alike are one class, and nobody says too much.

        Args:
            characters: Whom to train on.
            most_minutes: What a class may contribute.
            seed: Of the choice, where there is more.
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
