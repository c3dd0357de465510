"""Datasets: augmented training crops with speaker classes, and whole utterances."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from espnet2_sv.data.audio import draw_start, length_at, read_audio, read_crop_at
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError, require_integer, require_positive

# why precomputed posteriors exclude speed perturbation
NO_POSTERIORS = "precomputed posteriors are of the original speed; use only one of them"

_EXAMPLE = 2  # separates the dataset's random numbers from the sampler's

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Example = tuple[str, dict[str, np.ndarray]]


class CropPosteriors(Protocol):
    """Precomputed teacher posteriors; see :mod:`espnet2_sv.distill.posteriors`."""

    shift: int  # samples per frame

    def crop(self, utterance: str, start: int, length: int) -> dict[str, np.ndarray]:
        """Return the posteriors of ``length`` samples from ``start`` on."""


class TrainDataset(torch.utils.data.Dataset):
    """Crops of the training utterances, each at each speed.

    Entry ``u + N * k`` is utterance u of N at the k-th speed, see
    :class:`espnet2_sv.data.labels.Speeds`.

    Item ``(entry, pass, position)`` draws everything random (position of the crop,
    augmentation) from a generator seeded by (seed, pass, position). So it is the same
    in every worker and rank, and differs between any two positions of a training.

    Attributes:
        labels: Class of each entry, int32 (N * speeds,), utterances in the order of
            ``wav.scp``.
    """

    def __init__(
        self,
        wav_scp: str | Path | Mapping[str, str] | KaldiTable,
        utt2spk: str | Path | Mapping[str, str] | KaldiTable,
        speakers: SpeakerLabels,
        *,
        sample_rate: int,
        crop_seconds: float,
        seed: int = 0,
        augment: Augmentation | None = None,
        keep_clean: bool = False,
        posteriors: CropPosteriors | None = None,
        speeds: Speeds | None = None,
    ):
        """Match audio with speakers.

        Args:
            wav_scp: Audio of each utterance.
            utt2spk: Speaker of each utterance, for the same utterances as ``wav_scp``.
            speakers: Class of each speaker at the original speed.
            sample_rate: Sampling rate in Hz.
            crop_seconds: Duration of a crop in seconds.
            seed: Seed of all random choices.
            augment: Maps a crop (S,) to an augmented one of the same length and timing.
            keep_clean: Also return the crop before augmentation, as ``speech_clean``.
            posteriors: Also return the teacher's posteriors of the crop; crops then
                begin at teacher frames.
            speeds: Speeds; by default the original only.

        Raises:
            SVError: An utterance has audio but no speaker, or vice versa; posteriors
                are combined with other speeds; a number is out of range.
        """
        require_integer("sample_rate", sample_rate, 1)
        require_positive("crop_seconds", crop_seconds)
        require_integer("seed", seed, 0)
        self.speeds = speeds or Speeds()
        if posteriors:
            self.speeds.require_original_only(NO_POSTERIORS)
        self.wavs = KaldiTable.of(wav_scp, "wav.scp")
        speaker_of = KaldiTable.of(utt2spk, "utt2spk")
        labels = speakers.classes_of(self.wavs.keys(), speaker_of)
        self.labels = self.speeds.labels(labels, len(speakers))
        if len(speaker_of) > len(self.wavs):
            listed = speaker_of.keys()
            utt = listed[int(np.argmin(self.wavs.find(listed)))].decode()
            raise SVError(
                f"{self.wavs.name}: utterance {utt} of {speaker_of.name} has no audio"
                f" ({len(speaker_of) - len(self.wavs)} such utterances in all); add or"
                " remove it"
            )
        self.sample_rate = sample_rate
        self.crop_length = round(crop_seconds * sample_rate)
        if self.crop_length < 1:
            raise SVError(f"crops of {crop_seconds} s at {sample_rate} Hz are empty")
        self.seed = seed
        self.augment = augment
        self.keep_clean = keep_clean
        self.posteriors = posteriors

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: tuple[int, int, int]) -> Example | SVError:
        """Return the example of ``key``, or the error as a value, for CheckedLoader."""
        entry, number, position = key
        at, index = divmod(entry, len(self.wavs))
        speed = self.speeds.factors[at]
        utt = self.wavs.key(index)
        rng = np.random.default_rng((_EXAMPLE, self.seed, number, position))
        try:
            with open_audio(self.wavs.value(index)) as source:
                step = self.posteriors.shift if self.posteriors else 1
                total = length_at(source, self.sample_rate, speed)
                start = draw_start(total, self.crop_length, rng, step)
                clean = read_crop_at(
                    source, self.sample_rate, start, self.crop_length, speed
                )
            speech = clean if self.augment is None else self.augment(clean, rng)
            example = {"speech": speech, "spk_labels": self.labels[entry : entry + 1]}
            if self.posteriors:
                example |= self.posteriors.crop(utt, start, self.crop_length)
        except SVError as e:
            return SVError(f"utterance {utt}: {e}")
        name = self.speeds.name(at, utt)
        return name, example | ({"speech_clean": clean} if self.keep_clean else {})


class EmbedDataset(torch.utils.data.Dataset):
    """Whole utterances; item ``i`` is entry ``i`` of the table."""

    def __init__(self, wavs: KaldiTable, sample_rate: int):
        """Read from ``wavs`` at ``sample_rate`` Hz."""
        require_integer("sample_rate", sample_rate, 1)
        self.wavs = wavs
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.wavs)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray] | SVError:
        """Return utterance and speech (S,) float32, or the error, as a value."""
        utt = self.wavs.key(index)
        try:
            return utt, read_audio(self.wavs.value(index), self.sample_rate)
        except SVError as e:
            return SVError(f"utterance {utt}: {e}")


def collate_train(examples: Sequence[Example | SVError]):
    """Batch crops of equal length.

    Returns:
        Utterance ids, and a dictionary of speech (B, S), speech_lengths (B,),
        spk_labels (B, 1) and, if the examples have them, speech_clean (B, S),
        kd_classes, kd_probs and kd_lengths. The first error of the examples, if any.
    """
    read: list[Example] = []
    for example in examples:
        if isinstance(example, SVError):
            return example
        read.append(example)
    batch = {
        name: torch.from_numpy(np.stack([data[name] for _, data in read]))
        for name in read[0][1]
    }
    speech = batch["speech"]
    return [utt for utt, _ in read], batch | {
        "speech_lengths": torch.full((len(speech),), speech.shape[1], dtype=torch.long),
        "spk_labels": batch["spk_labels"].long(),
    }


def collate_embed(examples: Sequence[tuple[str, np.ndarray] | SVError]):
    """Zero-pad utterances.

    Returns:
        Utterance ids, and a dictionary of speech (B, S) and speech_lengths (B,). The
        first error of the examples, if any.
    """
    read: list[tuple[str, np.ndarray]] = []
    for example in examples:
        if isinstance(example, SVError):
            return example
        read.append(example)
    lengths = [len(x) for _, x in read]
    speech = np.zeros((len(read), max(lengths)), np.float32)
    for row, (_, x) in zip(speech, read, strict=True):
        row[: len(x)] = x
    return [utt for utt, _ in read], {
        "speech": torch.from_numpy(speech),
        "speech_lengths": torch.tensor(lengths, dtype=torch.long),
    }
