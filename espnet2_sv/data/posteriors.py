"""A teacher's posteriors of whole utterances, kept on disk.

The folder holds ``posteriors.ark`` and ``posteriors.scp``, Kaldi float matrices (T, 2K + 1) of a
frame's K likeliest classes, their probabilities and that of all others together, and
``teacher.json``, which says whose and of what they are.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import kaldiio
import numpy as np

from espnet2_sv.data.table import KaldiTable
from espnet2_sv.errors import SVError

SCP, ARK, TEACHER = "posteriors.scp", "posteriors.ark", "teacher.json"


@dataclass(frozen=True)
class PosteriorInfo:
    """Whose posteriors these are, and of what.

    Attributes:
        weights_sha256: The teacher's weights.
        wav_scp_sha256: The list of utterances.
        temperature: Softens the posteriors.
        top_k: K.
        vocab: Classes of the teacher.
        blank: The blank among them.
        sample_rate: Hz.
        shift: Samples from one frame to the next.
    """

    weights_sha256: str
    wav_scp_sha256: str
    temperature: float
    top_k: int
    vocab: int
    blank: int
    sample_rate: int
    shift: int

    def save(self, folder: Path) -> None:
        """Write ``teacher.json``."""
        (folder / TEACHER).write_text(json.dumps(asdict(self), indent=1) + "\n")


class PosteriorTable:
    """Looks up a teacher's posteriors of crops.

    Args:
        folder: What ``sv_teacher_posteriors`` made.

    Raises:
        SVError: It is incomplete.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        try:
            found = json.loads((folder / TEACHER).read_text())
            self.info = PosteriorInfo(**{f.name: found[f.name] for f in fields(PosteriorInfo)})
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise SVError(f"{folder}: no finished posteriors; run sv_teacher_posteriors") from e
        self.table = KaldiTable.read(folder / SCP)

    @property
    def shift(self) -> int:
        """Samples from one frame to the next."""
        return self.info.shift

    def crop(self, utterance: str, start: int, length: int) -> dict[str, np.ndarray]:
        """Return the posteriors of a crop.

        Frame t of an utterance stands for samples t x shift to (t + 1) x shift. Frames of the crop
        that the utterance has not, at its end or where a short one is repeated, are zero and not
        counted in ``kd_lengths``.

        Args:
            utterance: Its name.
            start: Where the crop begins, a multiple of :attr:`shift` samples.
            length: Samples of the crop.

        Returns:
            ``kd_classes`` (T, K) int64, ``kd_probs`` (T, K + 1) float32, ``kd_lengths`` () int64,
            with T = length // shift.

        Raises:
            SVError: There are none of this utterance.
        """
        index = int(self.table.find(np.array([utterance.encode()]))[0])
        if index < 0:
            raise SVError(f"{self.table.name}: has no posteriors; run sv_teacher_posteriors again")
        k, first, wanted = self.info.top_k, start // self.shift, length // self.shift
        found = kaldiio.load_mat(self.table.value(index))[first : first + wanted]
        frames = np.zeros((wanted, 2 * k + 1), np.float32)
        frames[: len(found)] = found
        return {
            "kd_classes": frames[:, :k].astype(np.int64),
            "kd_probs": frames[:, k:].copy(),
            "kd_lengths": np.array(len(found), np.int64),
        }
