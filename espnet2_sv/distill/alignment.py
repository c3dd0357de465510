"""Frames of two networks, at different rates, brought to common moments in time."""

import math
from dataclasses import dataclass

import torch

from espnet2_sv.errors import SVError

# Subsampling without padding loses up to two frames at the end of an utterance.
MAX_DIFFERENCE = 2.0  # frames of the slower network
MODES = ("pool", "interpolate")
_ROUNDING = 1.0e-6  # frames


@dataclass(frozen=True)
class Alignment:
    """How the frames of a student and of its teacher become T frames that stand side by side.

    Attributes:
        student: Weights (T, T_student) of the student's frames; None: they stay as they
            are.
        teacher: Weights (T, T_teacher) of the teacher's frames; None: they stay as they
            are.
        lengths: Valid common frames (B,).
    """

    student: torch.Tensor | None
    teacher: torch.Tensor | None
    lengths: torch.Tensor


def align(
    student_rate: float,
    teacher_rate: float,
    student_lengths: torch.Tensor,
    teacher_lengths: torch.Tensor,
    mode: str = "pool",
) -> Alignment:
    """Align frames in time: frame t of a network at r Hz stands for t / r to (t + 1) / r seconds.

    Args:
        student_rate: Frames per second of the student.
        teacher_rate: Frames per second of the teacher.
        student_lengths: Valid frames (B,) of the student.
        teacher_lengths: Valid frames (B,) of the teacher.
        mode: ``pool``: the faster network's frames are averaged, each by its share of
            the slower one's frame. ``interpolate``: the teacher's are interpolated
            linearly at the middles of the student's. At equal rates, frames stay as
            they are.

    Returns:
        The alignment. Frames at an utterance's end that only one of both has are not
        valid, and no valid one depends on padding.

    Raises:
        SVError: Unknown mode, or an utterance whose durations differ by more than two
            frames of the slower network.
    """
    if mode not in MODES:
        raise SVError(f"alignment {mode!r} is unknown; choose {' or '.join(MODES)}")
    check_durations(student_rate, teacher_rate, student_lengths, teacher_lengths)
    if math.isclose(student_rate, teacher_rate, rel_tol=1e-6):
        return Alignment(None, None, torch.minimum(student_lengths, teacher_lengths))
    if mode == "interpolate":
        weights, lengths = interpolation(student_rate, teacher_rate, teacher_lengths)
        lengths = torch.minimum(student_lengths, lengths)
        return Alignment(None, weights[: int(student_lengths.max())], lengths)
    if student_rate > teacher_rate:
        weights, lengths = pooling(student_rate, teacher_rate, student_lengths)
        return Alignment(weights, None, torch.minimum(lengths, teacher_lengths))
    weights, lengths = pooling(teacher_rate, student_rate, teacher_lengths)
    return Alignment(None, weights, torch.minimum(lengths, student_lengths))


def resample(
    frames: torch.Tensor, weights: torch.Tensor | None, length: int
) -> torch.Tensor:
    """Apply an alignment's weights to frames (B, T', D) and return the first T = length of them.

    ``length`` is at most the number of frames that the alignment has.
    """
    if weights is None:
        return frames[:, :length]
    return weights[:length].to(frames.dtype) @ frames[:, : weights.size(1)]


def check_durations(
    student_rate: float,
    teacher_rate: float,
    student_lengths: torch.Tensor,
    teacher_lengths: torch.Tensor,
) -> None:
    """Refuse utterances that are not of the same duration for student and teacher."""
    slower = min(student_rate, teacher_rate)
    seconds = (
        student_lengths.double() / student_rate,
        teacher_lengths.double() / teacher_rate,
    )
    difference = (seconds[0] - seconds[1]).abs() * slower
    if bool((difference > MAX_DIFFERENCE + _ROUNDING).any()):
        worst = int(difference.argmax())
        raise SVError(
            f"utterance {worst} of the batch lasts {float(seconds[0][worst]):.2f} s for"
            f" the student and {float(seconds[1][worst]):.2f} s for the teacher, more"
            f" than {MAX_DIFFERENCE:g} frames apart: their frame rates"
            f" ({student_rate:g} and {teacher_rate:g} Hz) or their audio do not agree"
        )


def pooling(
    fast: float, slow: float, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (T, T_fast) that average frames at ``fast`` Hz into frames at ``slow`` Hz.

    Returns:
        Weights whose rows sum to 1, and the numbers (B,) of slow frames that
        ``lengths`` (B,) fast ones fill.
    """
    ratio = fast / slow
    filled = torch.floor(lengths.double() / ratio + _ROUNDING).long()
    longest, device = int(lengths.max()), lengths.device
    start = (
        torch.arange(int(filled.max()), dtype=torch.float64, device=device)[:, None]
        * ratio
    )
    frame = torch.arange(longest, dtype=torch.float64, device=device)[None]
    overlap = torch.minimum(start + ratio, frame + 1) - torch.maximum(start, frame)
    return _without_rounding(overlap / ratio), filled


def interpolation(
    wanted: float, given: float, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (T, T_given) that interpolate frames at ``given`` Hz at ``wanted`` Hz.

    Returns:
        Weights whose rows sum to 1, and the numbers (B,) of wanted frames whose middles
        are not behind the middle of the last of ``lengths`` (B,) given ones.
    """
    ratio = given / wanted
    covered = torch.floor((lengths.double() - 0.5) / ratio + 0.5 + _ROUNDING).long()
    longest, device = int(lengths.max()), lengths.device
    middle = (
        torch.arange(int(covered.max()), dtype=torch.float64, device=device)[:, None]
        + 0.5
    )
    frame = torch.arange(longest, dtype=torch.float64, device=device)[None]
    place = (middle * ratio - 0.5).clamp(min=0.0, max=longest - 1)
    return _without_rounding(1.0 - (place - frame).abs()), covered


def _without_rounding(weights: torch.Tensor) -> torch.Tensor:
    """Weights in float32; frames that only rounding makes overlap, padding among them, get none."""
    return weights.masked_fill(weights < _ROUNDING, 0.0).float()
