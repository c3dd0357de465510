"""Classes of the training loss: one per speaker and speed."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from espnet2_sv.data.kaldi import KaldiTable, read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.textfile import parse_float

LABELS_FILE = "spk2id"  # file name beside a model
ORIGINAL = Fraction(1)
_MOST_DECIMALS = 3  # speeds are ratios of small integers, for exact resampling
_SLOWEST, _FASTEST = Fraction(1, 2), Fraction(2)


class SpeakerLabels:
    """An ordered list of speakers; a speaker's class is its index.

    A new map sorts speakers by name (byte order), so it does not depend on the order of
    lines in a file. The map is saved with the model as ``speaker class`` lines.
    """

    def __init__(self, speakers: Sequence[str]):
        """Number ``speakers`` from 0 in the given order."""
        if not speakers:
            raise SVError("no speakers to train on; check spk2utt")
        self.speakers = tuple(speakers)
        self._classes = {speaker: i for i, speaker in enumerate(self.speakers)}
        if len(self._classes) != len(self.speakers):
            raise SVError("a speaker occurs twice in the speaker map; list each once")

    @classmethod
    def from_names(cls, speakers: Iterable[str]) -> "SpeakerLabels":
        """Number the distinct names in sorted order."""
        return cls(sorted(set(speakers)))

    @classmethod
    def from_spk2utt(cls, path: str | os.PathLike) -> "SpeakerLabels":
        """Take the speakers of a ``spk2utt`` file."""
        table = KaldiTable.read(path)
        if not len(table):
            raise SVError(f"{path}: lists no speakers")
        return cls.from_names(table.key(i) for i in range(len(table)))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "SpeakerLabels":
        """Read a saved map; classes must be 0, 1, 2, ... in file order."""
        classes = read_two_column(path)
        for expected, (speaker, number) in enumerate(classes.items()):
            if number != str(expected):
                raise SVError(
                    f"{path}: speaker {speaker} has class {number} instead of"
                    f" {expected}; use the file that was written with the model"
                )
        if not classes:
            raise SVError(
                f"{path}: lists no speakers; take the file that was written with the"
                " model"
            )
        return cls(list(classes))

    def save(self, path: str | os.PathLike) -> None:
        """Write ``speaker class`` lines."""
        with atomic_write(path) as f:
            f.write(self._text())

    def __len__(self) -> int:
        return len(self.speakers)

    def index(self, speaker: str) -> int:
        """Return the class of ``speaker``; SVError if it has none."""
        try:
            return self._classes[speaker]
        except KeyError:
            raise SVError(
                f"speaker {speaker} has no class; it is missing from the spk2utt or"
                " speaker map that the training started with"
            ) from None

    def classes_of(self, utterances: np.ndarray, utt2spk: KaldiTable) -> np.ndarray:
        """Return the classes of many utterances.

        Args:
            utterances: Utterance ids, NumPy bytes array (N,).
            utt2spk: Speaker of each utterance; may list further utterances.

        Returns:
            int32 (N,).

        Raises:
            SVError: An utterance without a speaker, or a speaker without a class.
        """
        places = utt2spk.find(utterances)
        if (missing := places < 0).any():
            utt = utterances[int(np.argmax(missing))].decode()
            raise SVError(
                f"{utt2spk.name}: utterance {utt} has no speaker ({int(missing.sum())}"
                " such utterances in all); add it or remove its audio"
            )
        names, which = np.unique(utt2spk.values(), return_inverse=True)
        wanted = np.unique(which[places])
        classes = np.full(len(names), -1, np.int32)
        classes[wanted] = [self.index(names[i].decode()) for i in wanted]
        return classes[which[places]]

    @property
    def sha256(self) -> str:
        """SHA-256 of the saved form, in hex."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def require_same(self, other: "SpeakerLabels", where: str) -> None:
        """Raise SVError unless ``other``, read from ``where``, is the same map."""
        if self.speakers == other.speakers:
            return
        only = sorted(set(self.speakers) ^ set(other.speakers))
        what = (
            f"they differ in {len(only)} speakers, e.g. {only[0]}"
            if only
            else "order differs"
        )
        raise SVError(
            f"{where}: has {len(other)} speakers instead of {len(self)} ({what});"
            " continue with the data and speeds that this training started with, or"
            " use another output folder"
        )

    def _text(self) -> str:
        return "".join(f"{speaker} {i}\n" for i, speaker in enumerate(self.speakers))


class Speeds:
    """Speed perturbation as by sox's ``speed``; each speed makes new speakers.

    At speed v a recording is 1 / v times as long and its frequencies are v times as
    high. The original speed comes first, the others follow in ascending order. With S
    speakers, speaker s at the k-th speed is class ``s + S * k``; with N utterances,
    utterance u at that speed is entry ``u + N * k``. So the first S classes are those
    of a training without speed perturbation.

    Attributes:
        factors: Speeds, as fractions.
    """

    def __init__(self, factors: Iterable[float] = (1.0,)):
        """Check and sort the speeds.

        Raises:
            SVError: The original speed is missing, or a speed is repeated or out of
                range.
        """
        if not isinstance(factors, Iterable):
            raise SVError(f"speed_perturb_factors is {factors!r}; give a list")
        factors = list(factors)
        exact = [_fraction(factor) for factor in factors]
        if ORIGINAL not in exact:
            raise SVError(
                f"speed_perturb_factors are {factors}; 1.0 must be among them, since"
                " tests use it"
            )
        if len(set(exact)) != len(exact):
            raise SVError(f"speed_perturb_factors are {factors}; list each speed once")
        self.factors = (ORIGINAL, *sorted(set(exact) - {ORIGINAL}))

    def __len__(self) -> int:
        return len(self.factors)

    def name(self, index: int, of: str) -> str:
        """Name utterance or speaker ``of`` at a speed: ``id1``, ``sp0.9-id1``."""
        return of if index == 0 else f"sp{float(self.factors[index]):g}-{of}"

    def classes(self, speakers: SpeakerLabels) -> SpeakerLabels:
        """Return the classes of all speakers at all speeds."""
        return SpeakerLabels(
            [
                self.name(k, speaker)
                for k in range(len(self))
                for speaker in speakers.speakers
            ]
        )

    def labels(self, labels: np.ndarray, num_speakers: int) -> np.ndarray:
        """Return the class of each entry (N * speeds,) from speakers' classes (N,)."""
        steps = num_speakers * np.arange(len(self), dtype=labels.dtype)
        return (steps[:, None] + labels).ravel()

    def require_original_only(self, why: str) -> None:
        """Raise SVError with the reason ``why`` if there are other speeds."""
        if len(self) > 1:
            others = ", ".join(f"{float(factor):g}" for factor in self.factors[1:])
            raise SVError(f"speed_perturb_factors has {others}: {why}")


def _fraction(factor: float) -> Fraction:
    try:
        parse_float(str(factor))
    except ValueError:
        raise SVError(f"speed_perturb_factors: {factor!r} is not a number") from None
    if (
        not _SLOWEST <= float(factor) <= _FASTEST
        or ((exact := Fraction(str(factor))) * 10**_MOST_DECIMALS).denominator != 1
    ):
        raise SVError(
            f"speed_perturb_factors: {factor} is not a speed from {float(_SLOWEST)} to "
            f"{float(_FASTEST)} with at most {_MOST_DECIMALS} decimals"
        )
    return exact
