"""Time alignment of student and teacher frames with different frame rates."""

import math
from dataclasses import dataclass

import torch

from espnet2_sv.errors import SVError

# Subsampling without padding drops up to two frames at the end of an utterance.
MAX_DIFFERENCE = 2.0  # frames at the lower rate
MODES = ("pool", "interpolate")
_TOLERANCE = 1.0e-6  # frames


@dataclass(frozen=True)
class Alignment:
    """Linear maps that bring student and teacher frames to T common frames.

    Attributes:
        student: Weights (T, T_student) for the student's frames; None: unchanged.
        teacher: Weights (T, T_teacher) for the teacher's frames; None: unchanged.
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
    device: torch.device | None = None,
) -> Alignment:
    """Align the frames of student and teacher in time.

    Frame t at a rate of r Hz covers t / r to (t + 1) / r seconds.

    Args:
        student_rate: Frame rate of the student in Hz.
        teacher_rate: Frame rate of the teacher in Hz.
        student_lengths: Valid frames (B,) of the student.
        teacher_lengths: Valid frames (B,) of the teacher.
        mode: ``pool`` averages the frames at the higher rate within each frame at the
            lower rate, weighted by overlap. ``interpolate`` interpolates the teacher's
            frames linearly at the centres of the student's. Frames at equal rates
            remain unchanged.
        device: Where the weights are needed; that of the lengths by default. A GPU does
            not have to be waited for if the lengths are on the CPU.

    Returns:
        The alignment. Frames at the end of an utterance that only student or teacher
        has are invalid. Valid frames do not depend on padding.

    Raises:
        SVError: The mode is unknown, or the durations of an utterance differ by more
            than two frames at the lower rate.
    """
    if mode not in MODES:
        raise SVError(f"unknown alignment {mode!r}; choose {' or '.join(MODES)}")
    check_durations(student_rate, teacher_rate, student_lengths, teacher_lengths)
    if math.isclose(student_rate, teacher_rate, rel_tol=1e-6):
        return Alignment(None, None, torch.minimum(student_lengths, teacher_lengths))
    if mode == "interpolate":
        weights, lengths = interpolation(
            student_rate, teacher_rate, teacher_lengths, device
        )
        lengths = torch.minimum(student_lengths, lengths)
        return Alignment(None, weights[: int(student_lengths.max())], lengths)
    if student_rate > teacher_rate:
        weights, lengths = pooling(student_rate, teacher_rate, student_lengths, device)
        return Alignment(weights, None, torch.minimum(lengths, teacher_lengths))
    weights, lengths = pooling(teacher_rate, student_rate, teacher_lengths, device)
    return Alignment(None, weights, torch.minimum(lengths, student_lengths))


def resample(
    frames: torch.Tensor, weights: torch.Tensor | None, length: int
) -> torch.Tensor:
    """Apply alignment weights and return the first T = ``length`` aligned frames.

    Args:
        frames: Frames (B, T', D).
        weights: Alignment weights (>= T, >= T'), or None to keep the frames.
        length: T, at most the number of aligned frames.

    Returns:
        Aligned frames (B, T, D).
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
    """Check that utterances have the same duration for student and teacher.

    Raises:
        SVError: See :func:`align`.
    """
    student_seconds = student_lengths.double() / student_rate
    teacher_seconds = teacher_lengths.double() / teacher_rate
    difference = (student_seconds - teacher_seconds).abs()
    difference *= min(student_rate, teacher_rate)
    if bool((difference > MAX_DIFFERENCE + _TOLERANCE).any()):
        worst = int(difference.argmax())
        raise SVError(
            f"utterance {worst} of the batch has {float(student_seconds[worst]):.2f} s"
            f" for the student and {float(teacher_seconds[worst]):.2f} s for the"
            f" teacher, a difference of more than {MAX_DIFFERENCE:g} frames: check"
            f" their frame rates ({student_rate:g} and {teacher_rate:g} Hz) and audio"
        )


def pooling(
    fast: float, slow: float, lengths: torch.Tensor, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute weights that average frames at ``fast`` Hz within frames at ``slow`` Hz.

    Args:
        fast: Frame rate of the input in Hz.
        slow: Frame rate of the output in Hz, below ``fast``.
        lengths: Valid input frames (B,).
        device: Device of the weights; that of the lengths by default.

    Returns:
        Weights (T_slow, T_fast) whose rows sum to 1, and the output frames (B,) that
        the valid input frames cover completely.
    """
    ratio = fast / slow
    filled = torch.floor(lengths.double() / ratio + _TOLERANCE).long()
    longest, device = int(lengths.max()), device or lengths.device
    start = (
        torch.arange(int(filled.max()), dtype=torch.float64, device=device)[:, None]
        * ratio
    )
    frame = torch.arange(longest, dtype=torch.float64, device=device)[None]
    overlap = torch.minimum(start + ratio, frame + 1) - torch.maximum(start, frame)
    return _remove_rounding_errors(overlap / ratio), filled


def interpolation(
    output_rate: float,
    input_rate: float,
    lengths: torch.Tensor,
    device: torch.device | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute weights that interpolate frames linearly at another frame rate.

    Args:
        output_rate: Frame rate of the output in Hz.
        input_rate: Frame rate of the input in Hz.
        lengths: Valid input frames (B,).
        device: Device of the weights; that of the lengths by default.

    Returns:
        Weights (T_output, T_input) whose rows sum to 1, and the output frames (B,)
        whose centres do not lie beyond the centre of the last valid input frame.
    """
    ratio = input_rate / output_rate
    covered = torch.floor((lengths.double() - 0.5) / ratio + 0.5 + _TOLERANCE).long()
    longest, device = int(lengths.max()), device or lengths.device
    centre = (
        torch.arange(int(covered.max()), dtype=torch.float64, device=device)[:, None]
        + 0.5
    )
    frame = torch.arange(longest, dtype=torch.float64, device=device)[None]
    position = (centre * ratio - 0.5).clamp(min=0.0, max=longest - 1)
    return _remove_rounding_errors(1.0 - (position - frame).abs()), covered


def _remove_rounding_errors(weights: torch.Tensor) -> torch.Tensor:
    """Zero weights that are only rounding errors, so that padding has no influence."""
    return weights.masked_fill(weights < _TOLERANCE, 0.0).float()
