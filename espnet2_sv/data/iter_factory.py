"""ESPnet iterator factories for training and for embedding."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory

from espnet2_sv.data.augment import Augmenter
from espnet2_sv.data.dataset import (
    CropPosteriors,
    EmbedDataset,
    TrainDataset,
    collate_embed,
    collate_train,
)
from espnet2_sv.data.labels import SpeakerLabels
from espnet2_sv.data.lengths import bucket, measure
from espnet2_sv.data.loader import CheckedLoader
from espnet2_sv.data.sampler import SpeakerBatchSampler
from espnet2_sv.data.speeds import Speeds
from espnet2_sv.data.table import KaldiTable
from espnet2_sv.errors import SVError

Table = str | Path | Mapping[str, str] | KaldiTable


class TrainIterFactory(AbsIterFactory):
    """Speaker-balanced batches of augmented crops.

    Each item is ``(utterance ids, {"speech": (B, S) float32, "speech_lengths": (B,)
    int64, "spk_labels": (B, 1) int64})``, B = ``batch_size / world_size``. What an
    epoch holds depends on the seed and the epoch only, so a resumed training goes on
    with the batches it would have had.
    """

    def __init__(
        self,
        wav_scp: Table,
        spk2utt_labels: SpeakerLabels,
        utt2spk: Table,
        *,
        sample_rate: int,
        crop_seconds: float,
        batch_size: int,
        seed: int,
        augment_conf: dict | None = None,
        num_workers: int = 0,
        num_iters_per_epoch: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
        keep_clean: bool = False,
        posteriors: CropPosteriors | None = None,
        speeds: Speeds | None = None,
    ):
        """Set up dataset and sampler.

        Args:
            wav_scp: Audio per utterance; give a path (not a dictionary) where it is
                large.
            spk2utt_labels: Class per speaker at the original speed.
            utt2spk: Speaker per utterance; give a path where it is large.
            sample_rate: Hz.
            crop_seconds: Length of a training example.
            batch_size: Utterances per step over all ranks.
            seed: Seed of everything random.
            augment_conf: See :class:`espnet2_sv.data.augment.Augmenter`; empty means
                none.
            num_workers: Loading processes.
            num_iters_per_epoch: Steps per epoch; None means once through the corpus at
                all speeds.
            rank: This process.
            world_size: Number of processes.
            pin_memory: As in ``DataLoader``.
            keep_clean: Give the crops before augmentation, too, as ``"speech_clean":
                (B, S)``.
            posteriors: Give a teacher's posteriors of the crops, too, see
                :meth:`espnet2_sv.distill.posteriors.PosteriorTable.crop`.
            speeds: Speeds of every utterance, each with its own classes; by default the
                original.

        Raises:
            SVError: Audio and speakers that do not match, or an impossible batch size.
        """
        self.dataset = TrainDataset(
            wav_scp,
            utt2spk,
            spk2utt_labels,
            sample_rate=sample_rate,
            crop_seconds=crop_seconds,
            seed=seed,
            augment=Augmenter(augment_conf, sample_rate) if augment_conf else None,
            keep_clean=keep_clean,
            posteriors=posteriors,
            speeds=speeds,
        )
        self.sampler = SpeakerBatchSampler(
            self.dataset.labels, batch_size, seed, rank, world_size, num_iters_per_epoch
        )
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> CheckedLoader:
        """Batches of ``epoch`` (from 1); ``shuffle`` changes nothing, order is always random."""
        return CheckedLoader(
            self.dataset,
            self.sampler.generate(epoch),
            collate_train,
            self.num_workers,
            self.pin_memory,
        )


class EmbedIterFactory(AbsIterFactory):
    """Every utterance once, in full, batched with others of about its length.

    Each item is ``(utterance ids, {"speech": (B, S) float32 zero-padded,
    "speech_lengths": (B,) int64})``. Batches come longest first and are the same in
    every run; rank r takes every W-th batch, from the r-th on, so ranks get about the
    same amount of speech, in numbers of batches that can differ by one.

    What cannot be read raises an SVError naming the utterance. With
    ``on_error="collect"`` it is reported instead: the dictionary then always has the
    key ``"failed"``, a list of ``(utterance, reason)``; utterance ids and tensors leave
    these out and can be empty (B = 0).
    """

    def __init__(
        self,
        wav_scp: Table,
        utterances: Iterable[str] | None = None,
        *,
        sample_rate: int,
        batch_size: int,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        equal_lengths_only: bool = False,
        pin_memory: bool = False,
        max_seconds: float | None = None,
        batch_seconds: float | None = None,
        utt2dur: Table | None = None,
        allow_pipes: bool = False,
        on_error: str = "raise",
    ):
        """Plan the batches; reads the header of each file unless ``utt2dur`` is given.

        Args:
            wav_scp: Audio per utterance.
            utterances: Which to read, repetitions counting once; None means all.
            sample_rate: Hz.
            batch_size: Most utterances per batch.
            num_workers: Loading processes.
            rank: This process.
            world_size: Number of processes.
            equal_lengths_only: Batch only utterances of exactly equal length, so that
                nothing is padded (for models whose output depends on padding).
                Recordings whose header does not tell the exact length (m4a, pipes) then
                come alone.
            pin_memory: As in ``DataLoader``.
            max_seconds: Read at most this much of each utterance, from its beginning.
            batch_seconds: Most seconds per batch, padding included; a longer utterance
                is alone.
            utt2dur: Seconds per utterance, to save reading headers; for utterances that
                it does not hold, and with ``equal_lengths_only``, headers are read all
                the same.
            allow_pipes: Whether ``wav_scp`` may hold commands.
            on_error: ``"raise"`` or ``"collect"``.

        Raises:
            SVError: An utterance that ``wav_scp`` does not have; with ``"raise"`` also
                what is wrong with a header.
        """
        if on_error not in ("raise", "collect"):
            raise SVError(f"on_error is {on_error}; choose raise or collect")
        wavs = KaldiTable.of(wav_scp, "wav.scp")
        chosen = _entries(wavs, utterances)
        self.dataset = EmbedDataset(
            wavs,
            sample_rate=sample_rate,
            max_seconds=max_seconds,
            allow_pipes=allow_pipes,
        )
        durations = (
            None if utt2dur is None or equal_lengths_only else KaldiTable.of(utt2dur)
        )
        lengths = measure(
            wavs, chosen, sample_rate, durations, on_error == "raise", allow_pipes
        )
        if max_seconds is not None:
            lengths = lengths.clipped(round(max_seconds * sample_rate))
        most = None if batch_seconds is None else round(batch_seconds * sample_rate)
        batches = bucket(lengths, batch_size, most, equal_lengths_only)
        self.batches = [chosen[batch].tolist() for batch in batches[rank::world_size]]
        self.on_error = on_error
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    def build_iter(
        self, epoch: int = 1, shuffle: bool | None = None
    ) -> "_EmbedIterator":
        """All batches of this rank; the arguments change nothing."""
        loader = CheckedLoader(
            self.dataset, self.batches, collate_embed, self.num_workers, self.pin_memory
        )
        return _EmbedIterator(loader, collect=self.on_error == "collect")


class _EmbedIterator:
    """Raises the first failure, or leaves failures in the batches."""

    def __init__(self, loader: CheckedLoader, collect: bool):
        self._loader = loader
        self._collect = collect

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[list[str], dict]]:
        for utts, batch in self._loader:
            if not self._collect and (failed := batch.pop("failed")):
                raise SVError(failed[0][1])
            yield utts, batch


def _entries(wavs: KaldiTable, utterances: Iterable[str] | None) -> np.ndarray:
    """Entries of the wanted utterances, each once, ascending."""
    if utterances is None:
        return np.arange(len(wavs))
    names = list(dict.fromkeys(utterances))
    entries = wavs.find(np.array([name.encode() for name in names], dtype=bytes))
    if len(names) and (missing := entries < 0).any():
        raise SVError(
            f"{wavs.name}: has no utterance {names[int(np.argmax(missing))]} "
            f"({int(missing.sum())} wanted utterances are missing in all); add them"
        )
    return np.sort(entries)
