"""Options of the preparation of VoxCeleb."""

from collections.abc import Sequence
from dataclasses import dataclass

from espnet2_sv.data.corpora.voxceleb.splits import VOXCELEB1_DEV, VOXCELEB2_DEV

TRAIN_ON = {"voxceleb2": VOXCELEB2_DEV, "voxceleb1": VOXCELEB1_DEV}


@dataclass(frozen=True)
class Plan:
    """Options of the data preparation; those that name a file or folder may be empty.

    Attributes:
        train_on: Training split, a key of :data:`TRAIN_ON`.
        voxceleb12_devs: Whether to make ``voxceleb12_devs``, too: the training set of
            VoxCeleb2 and all of VoxCeleb1 dev, for tests on ``o`` only.
        test_lists: Published trial lists: ``o``, ``e``, ``h``.
        cleaned: Whether to use the cleaned lists.
        trial_lists: Folder with the lists; if empty, they are downloaded to
            ``unpack_dir``.
        valid_speakers: Number of training speakers held out for validation.
        valid_utterances: Maximum utterances of each of them.
        calib_speakers: Number of training speakers held out for calibration.
        calib_utterances: Maximum utterances of each of them.
        held_out: Folder with lists ``valid_speakers`` and ``calib_speakers`` to use
            instead of choosing speakers.
        cohort_utterances: Maximum utterances per VoxCeleb training speaker in the
            cohort for score normalisation.
        extra: Folder of further training speakers, see ``read_extra``.
        extra_prefix: Prefix of their names.
        exclude: File with one utterance per line to leave out of all sets except the
            test sets.
        seed: Seed of all random selections.
        allow_incomplete: Continue if counts are not as published.
        unpack_dir: Folder to unpack archives into.
        nj: Number of threads that list files.
    """

    train_on: str = "voxceleb2"
    voxceleb12_devs: bool = False
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
