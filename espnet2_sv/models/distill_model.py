"""The distillation model: a speaker model with an ASR branch and an ASR teacher."""

from collections.abc import Callable

import torch

from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2_sv.distill.alignment import Alignment, align, resample
from espnet2_sv.distill.asr_branch import AsrBranch
from espnet2_sv.distill.kd_loss import DistillationLoss, FrameSums, Targets
from espnet2_sv.distill.posteriors import CachedTeacher
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError
from espnet2_sv.models.speaker_model import SpeakerModel, batch_weight, full_lengths
from espnet2_sv.train.precision import native_autocast

_MIN_WEIGHT = 1.0e-6  # avoids 0 / 0 if all frames of a batch have weight 0


class DistillModel(SpeakerModel):
    """Speaker loss + lambda * KL(teacher || student) per valid frame (Cai & Li 2024).

    The student's modules keep their names, so that a checkpoint without the parameters
    that start with ``BRANCH_PREFIX`` is a checkpoint of the student. Checkpoints do not
    contain the teacher.

    Args:
        student: The speaker model.
        branch: ASR branch with the teacher's vocabulary.
        teacher: Frozen ASR teacher, or its precomputed posteriors.
        kd_loss: The distillation loss.
        schedule: Maps an epoch, counted from 1, to lambda. In epochs with lambda 0,
            neither teacher nor branch runs, and training is identical to that of the
            student alone.
        layer: Block, counted from 1, whose output is the input of the branch; the last
            by default.
        alignment: Alignment mode for different frame rates, see
            :func:`espnet2_sv.distill.alignment.align`.

    Raises:
        SVError: The layer does not exist, or the sampling rates of student and teacher
            differ.
    """

    def __init__(
        self,
        student: SpeakerModel,
        branch: AsrBranch,
        teacher: Teacher | CachedTeacher,
        kd_loss: DistillationLoss,
        schedule: Callable[[int], float],
        layer: int | None = None,
        alignment: str = "pool",
    ):
        super().__init__(student.backbone, student.head, student.loss)
        self.branch = branch
        self.teacher = teacher
        self.kd_loss = kd_loss
        self.schedule = schedule
        self.layer = self.backbone.num_blocks if layer is None else layer
        self.alignment = alignment
        if not 1 <= self.layer <= self.backbone.num_blocks:
            raise SVError(
                f"branch_conf: layer {layer}: choose 1 to {self.backbone.num_blocks}"
            )
        if self.backbone.sample_rate != teacher.sample_rate:
            raise SVError(
                f"the ASR teacher expects {teacher.sample_rate} Hz but the student"
                f" {self.backbone.sample_rate} Hz; choose the same sampling rate"
            )
        self.kd_lambda = schedule(1)

    def set_epoch(self, epoch: int, freeze_encoder_epochs: int) -> None:
        """Set lambda and freeze or unfreeze the backbone for an epoch.

        Args:
            epoch: Number of the epoch, counted from 1.
            freeze_encoder_epochs: Number of initial epochs with a frozen backbone.
        """
        super().set_epoch(epoch, freeze_encoder_epochs)
        self.kd_lambda = self.schedule(epoch)
        # DistributedDataParallel waits for the gradients of all trainable parameters.
        self.branch.requires_grad_(self.kd_lambda > 0)

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor | None = None,
        spk_labels: torch.Tensor | None = None,
        extract_embd: bool = False,
        speech_clean: torch.Tensor | None = None,
        kd_classes: torch.Tensor | None = None,
        kd_probs: torch.Tensor | None = None,
        kd_lengths: torch.Tensor | None = None,
        **kwargs,
    ):
        """Compute the total loss, or embeddings like ESPnet's speaker model.

        Args:
            speech: Audio (B, S).
            speech_lengths: Valid samples (B,); S by default.
            spk_labels: Speaker classes (B, 1) or (B,).
            extract_embd: Return embeddings (B, E) instead of the loss.
            speech_clean: Input of the teacher (B, S), the same crops before
                augmentation; ``speech`` by default.
            kd_classes: The teacher's precomputed top K classes (B, T, K).
            kd_probs: Their probabilities and the total of all others (B, T, K + 1).
            kd_lengths: Valid frames (B,) of ``kd_classes`` and ``kd_probs``.
            kwargs: Unused entries of ESPnet's batches, such as ``utt_id``.

        Returns:
            (loss, stats, weight) as ESPnet's trainer expects. The stats are the total
            loss, the speaker accuracy ``acc``, the unweighted losses ``loss_spk`` and
            ``loss_kd``, ``kd_lambda``, and two fractions of the valid frames: those on
            which student and teacher have the same most likely class
            (``kd_agreement``), and those on which the teacher's is the blank
            (``kd_teacher_blank``).

        Raises:
            SVError: An utterance is too short, or student and teacher cannot be
                aligned.
        """
        if extract_embd or self.kd_lambda == 0:
            return super().forward(
                speech, speech_lengths, spk_labels, extract_embd, **kwargs
            )
        if speech_lengths is None:
            speech_lengths = full_lengths(speech)
        speech_lengths = speech_lengths.cpu()  # once for student and teacher
        assert spk_labels is not None, "the loss needs speaker classes"
        with native_autocast(speech.device):
            blocks, lengths = self.backbone(speech, speech_lengths)
            speaker_loss, accuracy = self.classify(
                self.head(blocks, lengths).float(), spk_labels
            )
            frames = blocks[self.layer - 1]
            if kd_probs is not None:
                assert kd_classes is not None and kd_lengths is not None
                sums = self.distill_cached(
                    frames, lengths, kd_probs, kd_classes, kd_lengths
                )
            else:
                teacher_input = speech if speech_clean is None else speech_clean
                sums = self.distill(frames, lengths, teacher_input, speech_lengths)
        kd_loss = sums.loss / mean_over_processes(sums.weight).clamp(min=_MIN_WEIGHT)
        loss = speaker_loss + self.kd_lambda * kd_loss
        stats = {
            "loss": loss.detach().clone(),  # the trainer divides it in place
            "acc": accuracy.detach(),
            "loss_spk": speaker_loss.detach(),
            "loss_kd": kd_loss.detach(),
            "kd_lambda": loss.new_full((1,), self.kd_lambda),
            "kd_agreement": sums.agreeing / sums.frames,
            "kd_teacher_blank": sums.blank / sums.frames,
        }
        return force_gatherable((loss, stats, batch_weight(speech)), loss.device)

    def distill(
        self,
        frames: torch.Tensor,
        lengths: torch.Tensor,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
    ) -> FrameSums:
        """Compare the branch's posteriors with those of the running teacher.

        Args:
            frames: The student's frames (B, T, D).
            lengths: Their valid frames (B,).
            speech: Input of the teacher (B, S).
            speech_lengths: Valid samples (B,).

        Raises:
            SVError: The duration of an utterance differs between student and teacher.
        """
        teacher = self.teacher
        assert isinstance(teacher, Teacher)
        hidden, teacher_lengths = teacher.encode(speech, speech_lengths)
        alignment = self.align(lengths, teacher_lengths, frames.device)
        common = int(alignment.lengths.max())

        def targets(rows: slice) -> Targets:
            log_probs = teacher.log_probs(
                hidden[rows], self.kd_loss.temperature, self.kd_loss.float32_logits
            )
            return self.kd_loss.targets(log_probs, alignment.teacher, common)

        frames = resample(frames, alignment.student, common)
        frames = self.branch(frames, alignment.lengths)
        return self.kd_loss(frames, self.branch.output, targets, alignment.lengths)

    def distill_cached(
        self,
        frames: torch.Tensor,
        lengths: torch.Tensor,
        probs: torch.Tensor,
        classes: torch.Tensor,
        valid: torch.Tensor,
    ) -> FrameSums:
        """Compare the branch's posteriors with precomputed ones.

        Args:
            frames: The student's frames (B, T, D).
            lengths: Their valid frames (B,).
            probs: Probabilities (B, T', K + 1) of the teacher's frames in the same
                crops.
            classes: Their top K classes (B, T', K).
            valid: Valid teacher frames (B,).

        Raises:
            SVError: The teacher's frames would have to be pooled or interpolated.
        """
        teacher = self.teacher
        assert isinstance(teacher, CachedTeacher)
        teacher_lengths = torch.full_like(lengths, probs.size(1))
        alignment = self.align(lengths, teacher_lengths, frames.device)
        if alignment.teacher is not None:
            raise SVError(
                "precomputed posteriors stay at the teacher's"
                f" {teacher.frame_rate_hz:g} Hz: the student needs at least that frame"
                " rate, and kd_conf alignment pool"
            )
        common = int(alignment.lengths.max())
        frames = resample(frames, alignment.student, common)
        frames = self.branch(frames, alignment.lengths)
        return self.kd_loss(
            frames,
            self.branch.output,
            lambda rows: teacher.targets(probs[rows, :common], classes[rows, :common]),
            torch.minimum(alignment.lengths.to(valid.device, non_blocking=True), valid),
        )

    def align(
        self,
        lengths: torch.Tensor,
        teacher_lengths: torch.Tensor,
        device: torch.device,
    ) -> Alignment:
        """Align student and teacher frames, given their valid frames (B,) each."""
        rates = self.backbone.frame_rate_hz, self.teacher.frame_rate_hz
        return align(*rates, lengths, teacher_lengths, self.alignment, device)


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Average a tensor over all processes of distributed training, without gradient.

    All processes then divide by the same normaliser, so that the mean of their losses
    equals the loss of a single process with the whole batch, however the valid frames
    are distributed.
    """
    if not torch.distributed.is_initialized():
        return value
    value = value.detach().clone()
    torch.distributed.all_reduce(value)
    return value / torch.distributed.get_world_size()
