"""Writing a teacher's posteriors of whole utterances to disk, and matching them to a training."""

import logging
from pathlib import Path

import kaldiio
import numpy as np
import torch

from espnet2_sv.asr.teacher import Teacher
from espnet2_sv.asr.unpacking import fresh_folder
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.posteriors import ARK, SCP, PosteriorInfo, PosteriorTable
from espnet2_sv.data.table import KaldiTable
from espnet2_sv.errors import SVError
from espnet2_sv.nets.kd_loss import DistillationLoss


def describe(teacher: Teacher, wavs: KaldiTable, loss: DistillationLoss) -> PosteriorInfo:
    """Say what the posteriors that a training needs would be of."""
    if loss.top_k is None:
        raise SVError("kd_conf: posteriors on disk need a top_k, e.g. 32")
    backbone = teacher.held["backbone"]
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
    teacher: Teacher, wav_scp: str | Path, output_dir: str | Path, loss: DistillationLoss
) -> int:
    """Write the posteriors of each utterance, heard as a whole and without augmentation.

    Args:
        teacher: The ASR model.
        wav_scp: The training's audio.
        output_dir: The folder to make, see :mod:`espnet2_sv.data.posteriors`.
        loss: Its temperature and top_k say what is kept.

    Returns:
        The number of utterances.

    Raises:
        SVError: An utterance cannot be read or is too short; nothing is left then.
    """
    wavs = KaldiTable.of(wav_scp, "wav.scp")
    info = describe(teacher, wavs, loss)
    short = DistillationLoss(loss.temperature, info.top_k, info.blank)
    device = next(teacher.held.parameters()).device
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
                f"{folder}: was made with {name} {found}, this training has {value}; run "
                "sv_teacher_posteriors again"
            )
    return table
