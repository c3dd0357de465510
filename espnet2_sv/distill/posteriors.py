"""A teacher's posteriors of whole utterances, kept on disk.

The folder holds ``posteriors.ark`` and ``posteriors.scp``, Kaldi float matrices (T, 2K
+ 1) of a frame's K likeliest classes, their probabilities and that of all others
together, and ``teacher.json``, which says whose and of what they are.
"""

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import kaldiio
import numpy as np
import torch

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.distill.kd_loss import DistillationLoss, Targets
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.unpacking import fresh_folder

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
            self.info = PosteriorInfo(
                **{f.name: found[f.name] for f in fields(PosteriorInfo)}
            )
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise SVError(
                f"{folder}: no finished posteriors; run sv_teacher_posteriors"
            ) from e
        self.table = KaldiTable.read(folder / SCP)

    @property
    def shift(self) -> int:
        """Samples from one frame to the next."""
        return self.info.shift

    def crop(self, utterance: str, start: int, length: int) -> dict[str, np.ndarray]:
        """Return the posteriors of a crop.

        Frame t of an utterance stands for samples t x shift to (t + 1) x shift. Frames
        of the crop that the utterance has not, at its end or where a short one is
        repeated, are zero and not counted in ``kd_lengths``.

        Args:
            utterance: Its name.
            start: Where the crop begins, a multiple of :attr:`shift` samples.
            length: Samples of the crop.

        Returns:
            ``kd_classes`` (T, K) int64, ``kd_probs`` (T, K + 1) float32, ``kd_lengths``
            () int64, with T = length // shift.

        Raises:
            SVError: There are none of this utterance.
        """
        index = int(self.table.find(np.array([utterance.encode()]))[0])
        if index < 0:
            raise SVError(
                f"{self.table.name}: has no posteriors; run sv_teacher_posteriors again"
            )
        k, first, wanted = self.info.top_k, start // self.shift, length // self.shift
        found = kaldiio.load_mat(self.table.value(index))[first : first + wanted]
        frames = np.zeros((wanted, 2 * k + 1), np.float32)
        frames[: len(found)] = found
        return {
            "kd_classes": frames[:, :k].astype(np.int64),
            "kd_probs": frames[:, k:].copy(),
            "kd_lengths": np.array(len(found), np.int64),
        }


class CachedTeacher(torch.nn.Module):
    """Teacher backed by precomputed posteriors, which come with the batches.

    Args:
        info: Whose posteriors these are.
    """

    def __init__(self, info: PosteriorInfo):
        super().__init__()
        self.vocab = info.vocab
        self.blank = info.blank
        self.sample_rate = info.sample_rate
        self.frame_rate_hz = info.sample_rate / info.shift

    def targets(self, probs: torch.Tensor, classes: torch.Tensor) -> Targets:
        """Targets of probabilities (B, T, K + 1) and classes (B, T, K), likeliest first.

        A blank that is not among the likeliest classes counts as impossible.
        """
        is_blank = classes == self.blank
        blank = (probs[..., :-1] * is_blank).sum(dim=-1)
        return Targets(probs, classes, blank, classes[..., 0])


def describe(
    teacher: Teacher, wavs: KaldiTable, loss: DistillationLoss
) -> PosteriorInfo:
    """Say what the posteriors that a training needs would be of."""
    if loss.top_k is None:
        raise SVError("kd_conf: posteriors on disk need a top_k, e.g. 32")
    backbone = teacher.frozen_module.backbone
    return PosteriorInfo(
        weights_sha256=teacher.weights_sha256,
        wav_scp_sha256=wavs.sha256,
        temperature=float(loss.temperature),
        top_k=min(loss.top_k, teacher.vocab - 1),
        vocab=teacher.vocab,
        blank=teacher.blank,
        sample_rate=teacher.sample_rate,
        shift=backbone.hop_length * backbone.subsampling,
    )


def write_posteriors(
    teacher: Teacher,
    wav_scp: str | Path,
    output_dir: str | Path,
    loss: DistillationLoss,
) -> int:
    """Write the posteriors of each utterance, heard as a whole and without augmentation.

    Args:
        teacher: The ASR model.
        wav_scp: The training's audio.
        output_dir: The folder to make, see :mod:`espnet2_sv.distill.posteriors`.
        loss: Its temperature and top_k say what is kept.

    Returns:
        The number of utterances.

    Raises:
        SVError: An utterance cannot be read or is too short; nothing is left then.
    """
    wavs = KaldiTable.of(wav_scp, "wav.scp")
    info = describe(teacher, wavs, loss)
    short = DistillationLoss(loss.temperature, info.top_k, info.blank)
    device = next(teacher.frozen_module.parameters()).device
    with fresh_folder(output_dir) as part, open(part / ARK, "wb") as ark:
        lines = []
        for utt, value in wavs.items():
            try:
                speech = read_audio(value, info.sample_rate)
                frames = top_posteriors(teacher, speech, short, device)
            except SVError as e:
                raise SVError(f"utterance {utt}: {e}") from e
            ark.write(utt.encode() + b" ")
            lines.append(f"{utt} {Path(output_dir) / ARK}:{ark.tell()}\n")
            kaldiio.matio.write_array(ark, frames)
        (part / SCP).write_text("".join(lines), encoding="utf-8")
        info.save(part)
    logging.info(f"{output_dir}: posteriors of {len(wavs)} utterances")
    return len(wavs)


def top_posteriors(
    teacher: Teacher, speech: np.ndarray, loss: DistillationLoss, device: torch.device
) -> np.ndarray:
    """Return the frames (T, 2K + 1) of one utterance (S,), as they are kept."""
    audio = torch.from_numpy(speech)[None].to(device)
    hidden, lengths = teacher.encode(audio, torch.tensor([len(speech)], device=device))
    log_probs = teacher.log_probs(hidden, loss.temperature)
    targets = loss.targets(log_probs, None, int(lengths[0]))
    assert targets.classes is not None  # the loss has a top_k below V
    return torch.cat([targets.classes.float(), targets.probs], dim=-1)[0].cpu().numpy()


def matching_posteriors(
    folder: str | Path, teacher: Teacher, wav_scp: str | Path, loss: DistillationLoss
) -> PosteriorTable:
    """Open the posteriors of a training.

    Raises:
        SVError: They are another teacher's, of other utterances or settings.
    """
    table = PosteriorTable(folder)
    wanted = describe(teacher, KaldiTable.of(wav_scp, "wav.scp"), loss)
    for name, value in vars(wanted).items():
        found = getattr(table.info, name)
        if found != value:
            raise SVError(
                f"{folder}: was made with {name} {found}, this training has {value};"
                " run sv_teacher_posteriors again"
            )
    return table
