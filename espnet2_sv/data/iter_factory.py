"""ESPnet iterator factories for training and for validation."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2_sv.data.augment import Augmenter
from espnet2_sv.data.batches import measure, plan_batches
from espnet2_sv.data.dataset import (
    CropPosteriors,
    EmbedDataset,
    TrainDataset,
    collate_embed,
    collate_train,
)
from espnet2_sv.data.kaldi import KaldiTable, encode_keys
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.data.sampler import SpeakerBatchSampler
from espnet2_sv.errors import SVError, require_integer

Table = str | Path | Mapping[str, str] | KaldiTable


class TrainIterFactory(AbsIterFactory):
    """Speaker-balanced batches of augmented crops.

    Each item is ``(utterance ids, {"speech": (B, S) float32, "speech_lengths": (B,)
    int64, "spk_labels": (B, 1) int64})``, B = ``batch_size / world_size``. The content
    of an epoch depends only on seed and epoch, so a resumed training continues with the
    batches it would have had.
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
            wav_scp: Audio of each utterance; for large lists a path, not a dictionary.
            spk2utt_labels: Class of each speaker at the original speed.
            utt2spk: Speaker of each utterance; for large lists a path.
            sample_rate: Sampling rate in Hz.
            crop_seconds: Duration of a training crop in seconds.
            batch_size: Utterances per step over all ranks.
            seed: Seed of all random choices.
            augment_conf: See :class:`espnet2_sv.data.augment.Augmenter`; empty for no
                augmentation.
            num_workers: Loading processes.
            num_iters_per_epoch: Steps per epoch; None means one pass over the corpus at
                all speeds.
            rank: Index of this process.
            world_size: Number of processes.
            pin_memory: As in ``DataLoader``.
            keep_clean: Also return the crops before augmentation, as ``"speech_clean":
                (B, S)``.
            posteriors: Also return the teacher's posteriors of the crops, see
                :meth:`espnet2_sv.distill.posteriors.PosteriorTable.crop`.
            speeds: Speeds of every utterance, each with its own classes; by default the
                original only.

        Raises:
            SVError: Audio and speakers do not match, or the batch size is impossible.
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

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> "CheckedLoader":
        """Return the batches of ``epoch`` (from 1), always in random order."""
        return CheckedLoader(
            self.dataset,
            self.sampler.generate(epoch),
            collate_train,
            self.num_workers,
            self.pin_memory,
        )


class EmbedIterFactory(AbsIterFactory):
    """Every wanted utterance once, in full, batched with others of similar length.

    Each item is ``(utterance ids, {"speech": (B, S) float32 zero-padded,
    "speech_lengths": (B,) int64})``. Batches come longest first and are the same in
    every run; rank r takes every W-th batch, from the r-th on, so ranks get about the
    same amount of speech, in numbers of batches that can differ by one.

    Attributes:
        shortest: The shortest utterance, and its samples.
    """

    def __init__(
        self,
        wav_scp: Table,
        utterances: Iterable[str],
        *,
        sample_rate: int,
        batch_size: int,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        equal_lengths_only: bool = False,
        pin_memory: bool = False,
        batch_seconds: float = 240.0,
    ):
        """Read the headers of the recordings and plan the batches.

        Args:
            wav_scp: Audio of each utterance.
            utterances: Utterances to read; repetitions count once.
            sample_rate: Sampling rate in Hz.
            batch_size: Maximum number of utterances per batch.
            num_workers: Loading processes.
            rank: Index of this process.
            world_size: Number of processes.
            equal_lengths_only: Batch only utterances of exactly equal length, so that
                nothing is padded (for models whose output depends on padding).
                Recordings whose header does not give the exact length (m4a) then get a
                batch of their own.
            pin_memory: As in ``DataLoader``.
            batch_seconds: Bound on a batch's padded duration, in seconds, as in
                inference: without it, 256 utterances of 25 s would not fit on a GPU.

        Raises:
            SVError: An utterance that ``wav_scp`` does not have, or a header that
                cannot be read.
        """
        require_integer("batch_size", batch_size, 1)
        require_integer("world_size", world_size, 1)
        require_integer("rank", rank, 0)
        wavs = KaldiTable.of(wav_scp, "wav.scp")
        chosen = _entries(wavs, utterances)
        if not len(chosen):
            raise SVError(f"{wavs.name}: no utterances of it are wanted; name some")
        self.dataset = EmbedDataset(wavs, sample_rate)
        lengths = measure(wavs, chosen, sample_rate)
        batches = plan_batches(
            lengths.samples,
            max_padded_length=batch_seconds * sample_rate,
            max_rows=batch_size,
            equal_lengths_only=equal_lengths_only,
            alone=~lengths.exact if equal_lengths_only else None,
        )
        last = int(np.argmin(lengths.samples))
        self.shortest = wavs.key(chosen[last]), int(lengths.samples[last])
        self.batches = [chosen[batch].tolist() for batch in batches[rank::world_size]]
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    def build_iter(
        self, epoch: int = 1, shuffle: bool | None = None
    ) -> "CheckedLoader":
        """Return all batches of this rank; the arguments have no effect."""
        return CheckedLoader(
            self.dataset, self.batches, collate_embed, self.num_workers, self.pin_memory
        )


class CheckedLoader:
    """A ``DataLoader`` over given batches of keys, with errors of one line.

    The datasets return an :class:`SVError` as a value instead of raising it, because an
    error raised in a worker reaches the main process wrapped in a traceback. It is
    raised here.
    """

    def __init__(
        self,
        dataset: torch.utils.data.Dataset,
        batches: Iterable[list],
        collate: Callable,
        num_workers: int,
        pin_memory: bool = False,
    ):
        """Wrap ``DataLoader(dataset, batch_sampler=batches, ...)``."""
        require_integer("num_workers", num_workers, 0)
        self._loader = torch.utils.data.DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[list[str], dict]]:
        """Yield ``(utterance ids, batch)``.

        Raises:
            SVError: An utterance cannot be read; names it.
        """
        for item in self._loader:
            if isinstance(item, SVError):
                raise item
            yield item


def _entries(wavs: KaldiTable, utterances: Iterable[str]) -> np.ndarray:
    """Entries of the wanted utterances, each once, ascending."""
    names = list(dict.fromkeys(utterances))
    entries = wavs.find(encode_keys(names))
    if len(names) and (missing := entries < 0).any():
        raise SVError(
            f"{wavs.name}: has no utterance {names[int(np.argmax(missing))]} "
            f"({int(missing.sum())} wanted utterances are missing in all); add them"
        )
    return np.sort(entries)
