"""Precomputed teacher posteriors of whole utterances.

A directory contains ``posteriors.ark`` and ``posteriors.scp``, Kaldi float matrices (T,
2K + 1) with the top K classes of each frame, their probabilities and the total
probability of all other classes, and ``teacher.json``, which records the teacher, the
utterances and the settings.
"""

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from espnet2_sv.data.arks import ArkReader, write_record
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import KaldiTable, encode_keys
from espnet2_sv.distill.kd_loss import DistillationLoss, Targets
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import fresh_folder, locked, read_json

SCP, ARK, TEACHER = "posteriors.scp", "posteriors.ark", "teacher.json"


@dataclass(frozen=True)
class PosteriorInfo:
    """Contents of ``teacher.json``.

    Attributes:
        weights_sha256: Hash of the teacher's weights.
        wav_scp_sha256: Hash of the wav.scp.
        temperature: Temperature of the softmax.
        top_k: K, number of classes stored per frame.
        vocab: Vocabulary size of the teacher.
        blank: Index of the blank.
        sample_rate: Sampling rate in Hz.
        shift: Frame shift in samples.
        prompt: Symbols for language and task that an OWSM-CTC teacher read, such as
            ``<eng> <asr>``; empty for others.
    """

    weights_sha256: str
    wav_scp_sha256: str
    temperature: float
    top_k: int
    vocab: int
    blank: int
    sample_rate: int
    shift: int
    prompt: str = ""

    def save(self, folder: Path) -> None:
        """Write ``teacher.json``."""
        info = {key: value for key, value in asdict(self).items() if value != ""}
        text = json.dumps(info, indent=1) + "\n"
        (folder / TEACHER).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PosteriorInfo":
        """Read ``teacher.json``.

        Raises:
            SVError: It is not one that :meth:`save` wrote.
        """
        found = read_json(folder / TEACHER)
        if isinstance(found, dict):
            found = {"prompt": ""} | found
        good = isinstance(found, dict) and all(
            type(found.get(f.name)) is f.type for f in fields(cls)
        )
        if not good or min(found["top_k"], found["shift"], found["sample_rate"]) < 1:
            raise SVError(
                f"{folder / TEACHER}: does not describe posteriors; run"
                " sv_teacher_posteriors again"
            )
        return cls(**{f.name: found[f.name] for f in fields(cls)})


class PosteriorTable:
    """Reader of the posteriors of crops.

    Args:
        folder: Output directory of ``sv_teacher_posteriors``.

    Raises:
        SVError: The directory is incomplete, or ``teacher.json`` is damaged.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        if not (folder / TEACHER).exists():
            raise SVError(
                f"{folder}: no complete posteriors; run sv_teacher_posteriors"
            )
        self.info = PosteriorInfo.load(folder)
        self.table = KaldiTable.read(folder / SCP)

    @property
    def shift(self) -> int:
        """Frame shift in samples."""
        return self.info.shift

    def crop(self, utterance: str, start: int, length: int) -> dict[str, np.ndarray]:
        """Return the posteriors of a crop.

        Frame t of an utterance covers samples t * shift to (t + 1) * shift. Frames past
        the end of the utterance, where a crop repeats a short one, are zero and not
        counted in ``kd_lengths``.

        Args:
            utterance: Utterance ID.
            start: First sample of the crop, a multiple of :attr:`shift`.
            length: Length of the crop in samples.

        Returns:
            ``kd_classes`` (T, K) int64, ``kd_probs`` (T, K + 1) float32 and
            ``kd_lengths`` () int64, with T = length // shift.

        Raises:
            SVError: The directory has no posteriors of this utterance, or damaged ones.
        """
        index = int(self.table.find(encode_keys([utterance]))[0])
        if index < 0:
            raise SVError(
                f"{self.table.name}: has no posteriors of {utterance}; run"
                " sv_teacher_posteriors again"
            )
        k, first, num_frames = (
            self.info.top_k,
            start // self.shift,
            length // self.shift,
        )
        where = f"{self.table.name}: line {index + 1}"
        reader = ArkReader("teacher's posteriors")
        whole = reader.read(utterance, self.table.value(index), lambda: where)
        if whole.ndim != 2 or whole.shape[1] != 2 * k + 1:
            raise SVError(
                f"{where}: {utterance} has an array of"
                f" {' x '.join(map(str, whole.shape))}, expected frames of {2 * k + 1};"
                " run sv_teacher_posteriors again"
            )
        stored = whole[first : first + num_frames]
        classes = stored[:, :k]
        if not (
            np.isfinite(stored).all()
            and (classes >= 0).all()
            and (classes < self.info.vocab).all()
        ):
            raise SVError(
                f"{where}: {utterance} has values that are no posteriors of"
                f" {self.info.vocab} classes; run sv_teacher_posteriors again"
            )
        frames = np.zeros((num_frames, 2 * k + 1), np.float32)
        frames[: len(stored)] = stored
        return {
            "kd_classes": frames[:, :k].astype(np.int64),
            "kd_probs": frames[:, k:].copy(),
            "kd_lengths": np.array(len(stored), np.int64),
        }


class CachedTeacher(torch.nn.Module):
    """Teacher backed by precomputed posteriors, which come with the batches.

    Args:
        info: Contents of the posteriors' ``teacher.json``.
    """

    def __init__(self, info: PosteriorInfo):
        super().__init__()
        self.vocab = info.vocab
        self.blank = info.blank
        self.sample_rate = info.sample_rate
        self.frame_rate_hz = info.sample_rate / info.shift

    def targets(self, probs: torch.Tensor, classes: torch.Tensor) -> Targets:
        """Return the targets of precomputed posteriors.

        A blank that is not among the top K classes gets probability 0.

        Args:
            probs: Probabilities (B, T, K + 1) of the top K classes in descending order,
                and the total of all others.
            classes: The top K classes (B, T, K).
        """
        is_blank = classes == self.blank
        blank = (probs[..., :-1] * is_blank).sum(dim=-1)
        return Targets(probs, classes, blank, classes[..., 0])


def posterior_info(
    teacher: Teacher, wavs: KaldiTable, loss: DistillationLoss
) -> PosteriorInfo:
    """Return the ``teacher.json`` of a teacher, a wav.scp and a loss.

    Raises:
        SVError: The loss has no ``top_k``.
    """
    if loss.top_k is None:
        raise SVError("kd_conf: precomputed posteriors need a top_k, e.g. 32")
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
        prompt=" ".join(symbol for symbol in teacher.symbols.values() if symbol),
    )


def write_posteriors(
    teacher: Teacher,
    wav_scp: str | Path,
    output_dir: str | Path,
    loss: DistillationLoss,
) -> int:
    """Write the posteriors of all utterances, each whole and without augmentation.

    Args:
        teacher: The ASR teacher.
        wav_scp: Kaldi wav.scp of the training set.
        output_dir: Directory to create, see :mod:`espnet2_sv.distill.posteriors`.
        loss: Loss with the temperature and top_k to use.

    Returns:
        The number of utterances.

    Raises:
        SVError: An utterance cannot be read or is too short, or the directory holds
            something else; no output is left behind.
    """
    wavs = KaldiTable.of(wav_scp, "wav.scp")
    info = posterior_info(teacher, wavs, loss)
    top_k_loss = DistillationLoss(loss.temperature, info.top_k, info.blank)
    device = next(teacher.frozen_module.parameters()).device
    with locked(output_dir):
        if holds_posteriors(output_dir, info):
            logging.info(f"{output_dir}: up to date, nothing to do")
        else:
            _write(teacher, wavs, output_dir, info, top_k_loss, device)
    return len(wavs)


def holds_posteriors(folder: str | Path, info: PosteriorInfo) -> bool:
    """Whether a folder holds complete posteriors of this kind."""
    try:
        return PosteriorTable(folder).info == info
    except SVError:
        return False


def _write(
    teacher: Teacher,
    wavs: KaldiTable,
    output_dir: str | Path,
    info: PosteriorInfo,
    loss: DistillationLoss,
    device: torch.device,
) -> None:
    with fresh_folder(output_dir) as part, open(part / ARK, "wb") as ark:
        lines = []
        for utt, value in wavs.items():
            try:
                speech = read_audio(value, info.sample_rate)
                frames = top_posteriors(teacher, speech, loss, device)
            except SVError as e:
                raise SVError(f"utterance {utt}: {e}") from e
            offset = write_record(ark, utt, frames)
            lines.append(f"{utt} {Path(output_dir) / ARK}:{offset}\n")
        (part / SCP).write_text("".join(lines), encoding="utf-8")
        info.save(part)
    logging.info(f"Wrote the posteriors of {len(wavs)} utterances to {output_dir}")


def top_posteriors(
    teacher: Teacher, speech: np.ndarray, loss: DistillationLoss, device: torch.device
) -> np.ndarray:
    """Compute the stored frames of one utterance.

    Args:
        teacher: The ASR teacher.
        speech: Audio (S,).
        loss: Loss with the temperature and top_k to use.
        device: Device of the teacher.

    Returns:
        Top K classes, their probabilities and the total of all others (T, 2K + 1).
    """
    audio = torch.from_numpy(speech)[None].to(device)
    hidden, lengths = teacher.encode(audio, torch.tensor([len(speech)], device=device))
    log_probs = teacher.log_probs(hidden, loss.temperature)
    targets = loss.targets(log_probs, None, int(lengths[0]))
    assert targets.classes is not None  # the loss has a top_k below V
    return torch.cat([targets.classes.float(), targets.probs], dim=-1)[0].cpu().numpy()


def matching_posteriors(
    folder: str | Path, teacher: Teacher, wav_scp: str | Path, loss: DistillationLoss
) -> PosteriorTable:
    """Open precomputed posteriors and check that they match the training.

    Raises:
        SVError: They come from another teacher, other utterances or other settings.
    """
    table = PosteriorTable(folder)
    expected = posterior_info(teacher, KaldiTable.of(wav_scp, "wav.scp"), loss)
    for name, value in vars(expected).items():
        found = getattr(table.info, name)
        if found != value:
            raise SVError(
                f"{folder}: was made with {name} {found}, this training has {value};"
                " run sv_teacher_posteriors again"
            )
    return table
