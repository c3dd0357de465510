"""What is to be made of VoxCeleb."""

from collections.abc import Sequence
from dataclasses import dataclass

from espnet2_sv.data.corpora.voxceleb.splits import VOXCELEB1_DEV, VOXCELEB2_DEV

TRAIN_ON = {"voxceleb2": VOXCELEB2_DEV, "voxceleb1": VOXCELEB1_DEV}


@dataclass(frozen=True)
class Plan:
    """The choices that a recipe's data preparation leaves open.

    Attributes:
        train_on: A key of :data:`TRAIN_ON`.
        test_lists: Of ``o``, ``e``, ``h``.
        cleaned: Whether of the cleaned lists.
        trial_lists: Folder that holds the lists; empty: they are fetched into
            ``unpack_dir``.
        valid_speakers: FrozenModuleRef out for validation.
        valid_utterances: Kept of each of them, at most.
        calib_speakers: FrozenModuleRef out for calibration.
        calib_utterances: Kept of each of them, at most.
        held_out: Folder with lists ``valid_speakers`` and ``calib_speakers`` to take
            instead of choosing them; or empty.
        cohort_utterances: Of each training speaker of VoxCeleb, for score
            normalisation.
        extra: Folder of further training speakers, as ``read_extra`` takes it; or
            empty.
        extra_prefix: Put before their names.
        exclude: File with an utterance a line to leave out of all but the test sets; or
            empty.
        seed: Of all choices.
        allow_incomplete: Go on where numbers are not as published.
        unpack_dir: Where archives are unpacked to.
        nj: Threads that list files.
    """

    train_on: str = "voxceleb2"
    test_lists: Sequence[str] = ("o", "e", "h")
    cleaned: bool = True
    trial_lists: str = ""
    valid_speakers: int = 50
    valid_utterances: int = 20
    calib_speakers: int = 100
    calib_utterances: int = 30
    held_out: str = ""
    cohort_utterances: int = 20
    extra: str = ""
    extra_prefix: str = ""
    exclude: str = ""
    seed: int = 0
    allow_incomplete: bool = False
    unpack_dir: str = "downloads"
    nj: int = 8
