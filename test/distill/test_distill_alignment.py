import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espnet2_sv.distill.alignment import align, resample
from espnet2_sv.errors import SVError

RATES = [12.5, 15.625, 25.0, 31.25, 50.0, 100.0]


def lengths(*values):
    return torch.tensor(values)


def pooled_by_hand(frames, fast, slow, count):
    """Averages of frames (T, D), seen as a step function of time, by fine sampling."""
    steps, rows = 4000, []
    for t in range(count):
        times = (t + (torch.arange(steps, dtype=torch.float64) + 0.5) / steps) / slow
        rows.append(frames[(times * fast).long()].mean(dim=0))
    return torch.stack(rows)


def test_equal_rates_keep_frames_and_drop_those_that_one_side_lacks():
    alignment = align(25.0, 25.0, lengths(74, 50), lengths(73, 52))
    assert alignment.student is None
    assert alignment.teacher is None
    assert alignment.lengths.tolist() == [73, 50]


@pytest.mark.parametrize(
    ("fast", "slow"), [(50.0, 25.0), (100.0, 31.25), (31.25, 25.0)]
)
def test_pooling_averages_the_frames_at_the_higher_rate(fast, slow):
    frames = torch.randn(1, 100, 3, dtype=torch.float64)
    slow_length = int(100 / fast * slow)
    student = align(fast, slow, lengths(100), lengths(slow_length))
    teacher = align(slow, fast, lengths(slow_length), lengths(100))
    assert torch.equal(student.student, teacher.teacher)
    assert student.lengths.tolist() == teacher.lengths.tolist() == [slow_length]
    found = resample(frames, student.student, slow_length)[0]
    expected = pooled_by_hand(frames[0], fast, slow, slow_length)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("student", "teacher"), [(100.0, 25.0), (12.5, 25.0), (25.0, 31.25)]
)
def test_interpolation_reproduces_a_linear_function(student, teacher):
    seconds = 4.0
    n, m = int(seconds * student), int(seconds * teacher)
    alignment = align(student, teacher, lengths(n), lengths(m), mode="interpolate")
    valid = int(alignment.lengths)
    times = (torch.arange(m) + 0.5) / teacher
    found = resample(times[None, :, None], alignment.teacher, valid)[0, :, 0]
    wanted = (torch.arange(valid) + 0.5) / student
    inside = wanted >= times[0]  # before the first centre, the first frame is repeated
    torch.testing.assert_close(found[inside], wanted[inside])
    assert n - valid <= student / teacher


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.sampled_from(["pool", "interpolate"]),
    st.lists(st.floats(1.0, 6.0), min_size=1, max_size=4),
)
# The edges of the last frames coincide except for rounding errors
@example(15.625, 25.0, "pool", [2.0, 1.9375])
def test_valid_frames_depend_on_valid_frames_only_and_weights_sum_to_one(
    a, b, mode, seconds
):
    of_student = torch.tensor([int(s * a) for s in seconds])
    of_teacher = torch.tensor([int(s * b) for s in seconds])
    alignment = align(a, b, of_student, of_teacher, mode)
    for weights, given_lengths in (
        (alignment.student, of_student),
        (alignment.teacher, of_teacher),
    ):
        for i, valid in enumerate(alignment.lengths.tolist()):
            if weights is None:
                assert valid <= given_lengths[i]
                continue
            assert valid <= len(weights)
            torch.testing.assert_close(weights[:valid].sum(dim=1), torch.ones(valid))
            assert not weights[:valid, int(given_lengths[i]) :].any()
    slowest = torch.tensor([int(s * min(a, b)) for s in seconds])
    if mode == "pool":
        assert bool((slowest - alignment.lengths <= 1).all())


def test_durations_may_differ_by_two_frames_but_not_by_three():
    align(25.0, 25.0, lengths(74), lengths(76))
    align(100.0, 12.5, lengths(300), lengths(36))
    with pytest.raises(SVError, match=r"utterance 1 of the batch has 2.96 s .* 3.08 s"):
        align(25.0, 25.0, lengths(74, 74), lengths(74, 77))


def test_an_unknown_mode_is_rejected():
    with pytest.raises(SVError, match="choose pool or interpolate"):
        align(25.0, 25.0, lengths(3), lengths(3), mode="nearest")
