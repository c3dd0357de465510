"""A speaker model that also learns to recognise speech from a teacher."""

from collections.abc import Callable

import torch
from espnet2.torch_utils.device_funcs import force_gatherable

from espnet2_sv.distill.alignment import Alignment, align, resample
from espnet2_sv.distill.asr_branch import AsrBranch
from espnet2_sv.distill.kd_loss import DistillationLoss, FrameSums, Targets
from espnet2_sv.distill.posteriors import CachedTeacher
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError
from espnet2_sv.models.speaker_model import SpeakerModel

# What is in a checkpoint beside the speaker model.
BRANCH_PREFIX = "branch."
LEAST_WEIGHT = 1.0e-6  # of a batch whose frames are all left out: its loss is 0


class DistillModel(SpeakerModel):
    """Speaker loss + lambda x KL(teacher || student) per valid frame (Cai & Li 2024).

    The speaker model's modules are those of ``student`` and keep their names, so that a
    checkpoint without what starts with :data:`BRANCH_PREFIX` is the student's. The
    teacher is in none.

    Args:
        student: The speaker model.
        branch: Its ASR branch, with the teacher's classes.
        teacher: The ASR model; frozen. Or its stand-in where batches bring its
            posteriors.
        kd_loss: The divergence.
        schedule: Lambda of an epoch, counted from 1. Where it is 0, neither teacher nor
            branch runs and training is the plain student's, number by number.
        layer: The block whose frames the branch reads, counted from 1; the last if not
            given.
        alignment: How frames of different rates are brought together, see
            :func:`espnet2_sv.distill.alignment.align`.

    Raises:
        SVError: There is no such block, or student and teacher want other sampling
            rates.
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
                f"the ASR teacher hears {teacher.sample_rate} Hz, the student "
                f"{self.backbone.sample_rate} Hz; give both the same"
            )
        self.kd_lambda = schedule(1)

    def set_epoch(self, epoch: int, freeze_encoder_epochs: int) -> None:
        """Set lambda for an epoch (from 1), and freeze the backbone in the first ones."""
        super().set_epoch(epoch, freeze_encoder_epochs)
        self.kd_lambda = self.schedule(epoch)
        # DistributedDataParallel would wait for the gradients of a branch that does not
        # run.
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
        """Compute both losses.

        Args:
            speech: Waveforms (B, S).
            speech_lengths: Valid samples (B,); all of S if not given.
            spk_labels: Speaker classes (B, 1) or (B,).
            extract_embd: Return embeddings (B, E) instead of the loss.
            speech_clean: What the teacher hears (B, S), the same crops; ``speech`` if
                not given.
            kd_classes: The teacher's likeliest classes (B, T, K), where they come from
                disk.
            kd_probs: Their probabilities and that of all others together (B, T, K + 1).
            kd_lengths: Valid frames (B,) of both.
            kwargs: Entries of ESPnet's batches that are not used, such as ``utt_id``.

        Returns:
            (loss, stats, weight) as ESPnet's trainer expects. The stats are the loss,
            speaker accuracy, lambda, both losses before they are weighed (``loss_spk``,
            ``loss_kd``), and, as shares of the valid frames, those where student and
            teacher agree in the likeliest class (``kd_agreement``) and those where that
            is the teacher's blank (``kd_teacher_blank``).
        """
        if extract_embd or self.kd_lambda == 0:
            return super().forward(
                speech, speech_lengths, spk_labels, extract_embd, **kwargs
            )
        if speech_lengths is None:
            speech_lengths = torch.full(
                (speech.size(0),),
                speech.size(1),
                dtype=torch.long,
                device=speech.device,
            )
        assert spk_labels is not None, "the loss needs speaker classes"
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
            heard = speech if speech_clean is None else speech_clean
            sums = self.distill(frames, lengths, heard, speech_lengths)
        kd_loss = sums.loss / mean_over_processes(sums.weight).clamp(min=LEAST_WEIGHT)
        loss = speaker_loss + self.kd_lambda * kd_loss
        stats = {
            "loss": loss.detach(),
            "acc": accuracy.detach(),
            "loss_spk": speaker_loss.detach(),
            "loss_kd": kd_loss.detach(),
            "kd_lambda": self.kd_lambda,
            "kd_agreement": sums.agreeing / sums.frames,
            "kd_teacher_blank": sums.blank / sums.frames,
        }
        return force_gatherable((loss, stats, speech.size(0)), loss.device)

    def distill(
        self,
        frames: torch.Tensor,
        lengths: torch.Tensor,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
    ) -> FrameSums:
        """Compare the branch with the teacher.

        Args:
            frames: The student's frames (B, T, D).
            lengths: Their valid numbers (B,).
            speech: What the teacher hears (B, S).
            speech_lengths: Valid samples (B,).

        Raises:
            SVError: Student and teacher do not agree about the duration of an
                utterance.
        """
        teacher = self.teacher
        assert isinstance(teacher, Teacher)
        hidden, teacher_lengths = teacher.encode(speech, speech_lengths)
        alignment = self.align(lengths, teacher_lengths)
        common = int(alignment.lengths.max())

        def targets(rows: slice) -> Targets:
            log_probs = teacher.log_probs(hidden[rows], self.kd_loss.temperature)
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
        """Compare the branch with posteriors from disk.

        Args:
            frames: The student's frames (B, T, D).
            lengths: Their valid numbers (B,).
            probs: The teacher's probabilities (B, T', K + 1) of its frames in the same
                crops.
            classes: Their classes (B, T', K).
            valid: How many of the T' frames (B,) the utterances have.

        Raises:
            SVError: The teacher's frames would have to be pooled or interpolated.
        """
        teacher = self.teacher
        assert isinstance(teacher, CachedTeacher)
        alignment = self.align(lengths, torch.full_like(lengths, probs.size(1)))
        if alignment.teacher is not None:
            raise SVError(
                "posteriors from disk stay at the teacher's"
                f" {teacher.frame_rate_hz:g} Hz: the student needs that rate or a"
                " higher one, and kd_conf alignment pool"
            )
        common = int(alignment.lengths.max())
        frames = resample(frames, alignment.student, common)
        frames = self.branch(frames, alignment.lengths)
        return self.kd_loss(
            frames,
            self.branch.output,
            lambda rows: teacher.targets(probs[rows, :common], classes[rows, :common]),
            torch.minimum(alignment.lengths, valid),
        )

    def align(self, lengths: torch.Tensor, teacher_lengths: torch.Tensor) -> Alignment:
        """Align the student's frames with the teacher's, of lengths (B,) each."""
        rates = self.backbone.frame_rate_hz, self.teacher.frame_rate_hz
        return align(*rates, lengths, teacher_lengths, self.alignment)


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Average a tensor over the processes that train together.

    As every process divides by the same number, the mean of their losses is that of one
    process with all of the batch, however the frames that count are shared out.
    """
    if not torch.distributed.is_initialized():
        return value
    value = value.detach().clone()
    torch.distributed.all_reduce(value)
    return value / torch.distributed.get_world_size()


def without_branch(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the speaker model's part of a checkpoint; one that has no branch is left as it is."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(BRANCH_PREFIX)
    }
