import math

import pytest
import torch

from espnet2_sv.distill import kd_loss
from espnet2_sv.distill.alignment import align, resample
from espnet2_sv.distill.kd_loss import DistillationLoss, KDSchedule
from espnet2_sv.errors import SVError

VOCAB, DIM = 11, 5


def softmax(logits, temperature):
    values = [math.exp(float(x) / temperature) for x in logits]
    return [v / sum(values) for v in values]


def pooled(probs, keep):
    """Probabilities of the top classes, and the total of all others."""
    rest = [p for c, p in enumerate(probs) if c not in keep]
    return [probs[c] for c in keep] + ([sum(rest)] if rest else [])


def loop_kl(student, teacher, lengths, ratio, temperature, top_k, threshold, weight):
    """The loss in plain Python for logits (B, T, V) and (B, T * ratio, V)."""
    total = weights = frames = agreeing = 0.0
    for b, length in enumerate(lengths):
        for t in range(length):
            fine = [
                softmax(teacher[b][t * ratio + i], temperature) for i in range(ratio)
            ]
            p = [sum(column) / ratio for column in zip(*fine, strict=True)]
            q = softmax(student[b][t], temperature)
            order = sorted(range(VOCAB), key=lambda c: -p[c])
            keep = order[: top_k or VOCAB]
            pairs = zip(pooled(p, keep), pooled(q, keep), strict=True)
            kl = sum(x * math.log(x / y) for x, y in pairs) * temperature**2
            w = weight if p[0] > threshold else 1.0
            total, weights, frames = total + w * kl, weights + w, frames + 1
            agreeing += order[0] == max(range(VOCAB), key=lambda c: q[c])
    return total, weights, frames, agreeing


def targets_from(loss, log_probs):
    """Targets of a teacher at the student's frame rate."""
    return lambda rows: loss.targets(log_probs[rows], None, log_probs.shape[1])


@pytest.fixture
def output():
    torch.manual_seed(0)
    return torch.nn.Linear(DIM, VOCAB)


@pytest.mark.parametrize("top_k", [None, 3, VOCAB + 5])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("blank_weight", [1.0, 0.25])
def test_equals_a_plain_python_loop_with_different_lengths_and_rates(
    output, monkeypatch, top_k, temperature, blank_weight
):
    frames, teacher = torch.randn(5, 9, DIM), 2 * torch.randn(5, 18, VOCAB)
    student_lengths, teacher_lengths = (
        torch.tensor([9, 4, 7, 1, 6]),
        torch.tensor([18, 8, 15, 3, 9]),
    )
    alignment = align(12.5, 25.0, student_lengths, teacher_lengths)
    assert alignment.lengths.tolist() == [9, 4, 7, 1, 4]
    two_utterances = 2 * 18 * VOCAB
    monkeypatch.setattr(kd_loss, "CHUNK_LOGITS", two_utterances)
    loss = DistillationLoss(
        temperature, top_k, blank_threshold=0.2, blank_weight=blank_weight
    )
    sums = loss(
        frames,
        output,
        lambda rows: loss.targets(
            (teacher[rows] / temperature).log_softmax(dim=-1), alignment.teacher, 9
        ),
        alignment.lengths,
    )
    expected = loop_kl(
        output(frames).detach(),
        teacher,
        alignment.lengths,
        2,
        temperature,
        top_k,
        threshold=0.2,
        weight=blank_weight,
    )
    found = [x.item() for x in (sums.loss, sums.weight, sums.frames, sums.agreeing)]
    assert found[0] / found[1] == pytest.approx(expected[0] / expected[1], abs=1e-6)
    assert found[1:] == pytest.approx(expected[1:])


@pytest.mark.parametrize("top_k", [None, 3])
def test_gradients_do_not_depend_on_the_chunk_size(output, monkeypatch, top_k):
    frames, teacher = (
        torch.randn(5, 6, DIM),
        torch.randn(5, 6, VOCAB).log_softmax(dim=-1),
    )
    lengths = torch.tensor([6, 2, 5, 3, 4])
    loss, gradients = DistillationLoss(top_k=top_k), []
    for chunk in (2**20, 6 * VOCAB):
        monkeypatch.setattr(kd_loss, "CHUNK_LOGITS", chunk)
        inputs = frames.clone().requires_grad_()
        sums = loss(inputs, output, targets_from(loss, teacher), lengths)
        wanted = [inputs, output.weight, output.bias]
        gradients.append(torch.autograd.grad(sums.loss, wanted))
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts)
    assert not gradients[0][0][1, 2:].any()  # padding has no influence


def test_equals_torchs_kl_divergence(output):
    frames, teacher = (
        torch.randn(2, 7, DIM),
        torch.randn(2, 7, VOCAB).log_softmax(dim=-1),
    )
    loss = DistillationLoss()
    sums = loss(frames, output, targets_from(loss, teacher), torch.tensor([7, 7]))
    expected = torch.nn.functional.kl_div(
        output(frames).log_softmax(dim=-1), teacher, log_target=True, reduction="sum"
    )
    torch.testing.assert_close(sums.loss, expected)


def test_identical_posteriors_have_no_loss(output):
    frames = torch.randn(2, 7, DIM)
    log_probs = output(frames).detach().log_softmax(dim=-1)
    for top_k in (None, 2):
        loss = DistillationLoss(top_k=top_k)
        sums = loss(frames, output, targets_from(loss, log_probs), torch.tensor([7, 7]))
        assert abs(sums.loss.item()) < 1e-5
        assert float(sums.agreeing) == float(sums.frames) == 14


def test_zero_teacher_probabilities_give_finite_gradients(output):
    teacher = torch.full((1, 4, VOCAB), -200.0)
    teacher[..., 3] = 0.0  # the probabilities of all others are zero in float32
    for top_k in (None, 2):
        frames = torch.randn(1, 4, DIM, requires_grad=True)
        loss = DistillationLoss(top_k=top_k)
        sums = loss(frames, output, targets_from(loss, teacher), torch.tensor([4]))
        sums.loss.backward()
        assert torch.isfinite(sums.loss)
        assert torch.isfinite(frames.grad).all()


def test_the_loss_is_computed_in_float32_under_autocast(output):
    frames, teacher = (
        torch.randn(2, 7, DIM),
        torch.randn(2, 7, VOCAB).log_softmax(dim=-1),
    )
    frames = frames.bfloat16()
    lengths = torch.tensor([7, 7])
    loss = DistillationLoss()
    expected = loss(frames.float(), output, targets_from(loss, teacher), lengths).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(frames, output, targets_from(loss, teacher), lengths).loss
    assert torch.equal(found, expected)


def test_only_the_logits_can_be_in_mixed_precision(output):
    frames, teacher = torch.randn(2, 7, DIM), torch.randn(2, 7, VOCAB).log_softmax(-1)
    loss, lengths = DistillationLoss(float32_logits=False), torch.tensor([7, 7])
    targets = targets_from(loss, teacher)
    exact = loss(frames, output, targets, lengths).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(frames, output, targets, lengths).loss
        full = DistillationLoss()(frames, output, targets, lengths).loss
    assert torch.equal(full, exact)
    assert found.dtype == torch.float32
    assert found != exact
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "conf",
    [{"temperature": 0}, {"top_k": 0}, {"blank_weight": -1}, {"blank_threshold": 1.5}],
)
def test_values_out_of_range_are_rejected(conf):
    with pytest.raises(SVError, match=next(iter(conf))):
        DistillationLoss(**conf)


def test_the_students_frames_are_pooled_to_the_teachers_rate(output):
    frames = torch.randn(1, 8, DIM)
    alignment = align(50.0, 25.0, torch.tensor([8]), torch.tensor([4]))
    pooled_frames = resample(frames, alignment.student, 4)
    torch.testing.assert_close(pooled_frames, frames.view(1, 4, 2, DIM).mean(dim=2))


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({}, [1.0, 1.0, 1.0]),
        ({"value": 0.5, "warmup_epochs": 4}, [0.125, 0.25, 0.375, 0.5, 0.5]),
        ({"decay_from": 2, "decay_epochs": 2}, [1.0, 1.0, 0.5, 0.0, 0.0]),
        ({"decay_from": 1, "final": 0.25}, [1.0, 0.25, 0.25]),
        (
            {"value": 2.0, "warmup_epochs": 2, "decay_from": 3, "final": 1.0}
            | {"decay_epochs": 2},
            [1.0, 2.0, 2.0, 1.5, 1.0, 1.0],
        ),
    ],
)
def test_schedule_warms_up_and_decays(conf, expected):
    schedule = KDSchedule(**conf)
    assert [schedule(epoch + 1) for epoch in range(len(expected))] == expected


@pytest.mark.parametrize("conf", [{"value": -1}, {"final": -0.1}, {"decay_epochs": 0}])
def test_invalid_schedules_are_rejected(conf):
    with pytest.raises(SVError, match="kd_schedule"):
        KDSchedule(**conf)
