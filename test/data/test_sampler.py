import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.data.sampler import SpeakerBatchSampler
from espnet2_sv.errors import SVError

COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=25)  # utterances per speaker
BATCH_SIZE = st.integers(2, 24)


def labels_of(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(labels)


def utterances(batches):
    return [[utt for utt, _, _ in batch] for batch in batches]


@given(COUNTS, BATCH_SIZE, st.integers(0, 5), st.integers(1, 3))
def test_one_epoch_is_the_corpus_once_in_full_batches(counts, batch_size, seed, epoch):
    labels = labels_of(counts)
    batches = utterances(SpeakerBatchSampler(labels, batch_size, seed).generate(epoch))
    assert len(batches) == -(-len(labels) // batch_size)
    assert {len(batch) for batch in batches} == {batch_size}
    times = np.bincount(np.concatenate(batches), minlength=len(labels))
    most = -(-len(batches) * batch_size // len(labels))  # 1 + the repetitions that fill
    assert times.min() >= max(1, most - 1)
    assert times.max() <= most


@given(COUNTS, BATCH_SIZE, st.integers(0, 5))
def test_every_speaker_is_spread_evenly_over_the_batches(counts, batch_size, seed):
    labels = labels_of(counts)
    batches = utterances(SpeakerBatchSampler(labels, batch_size, seed).generate(1))
    per_batch = np.array(
        [np.bincount(labels[b], minlength=len(counts)) for b in batches]
    )
    assert (per_batch.max(0) - per_batch.min(0)).max() <= 1


@given(COUNTS, BATCH_SIZE)
def test_speakers_repeat_in_a_batch_only_where_they_must(counts, batch_size):
    labels = labels_of(counts)
    batches = utterances(SpeakerBatchSampler(labels, batch_size).generate(1))
    k = len(batches)
    different = sum(len(set(labels[b])) for b in batches)
    # the fill, of utterances that are used a second time, adds speakers where there is
    # room
    room = sum(min(c, max(k - c, 0)) for c in counts)
    fill = k * batch_size - len(labels)
    assert different == sum(min(c, k) for c in counts) + min(fill, room)


@given(COUNTS, st.integers(1, 4), st.integers(1, 3), st.integers(1, 9))
def test_ranks_together_make_the_same_global_batches(
    counts, per_rank, epoch, num_iters
):
    labels, batch_size = labels_of(counts), 12 * per_rank
    whole = list(
        SpeakerBatchSampler(labels, batch_size, 7, num_iters=num_iters).generate(epoch)
    )
    for world_size in (2, 3, 6):
        ranks = [
            list(
                SpeakerBatchSampler(
                    labels, batch_size, 7, r, world_size, num_iters
                ).generate(epoch)
            )
            for r in range(world_size)
        ]
        for i, batch in enumerate(whole):
            assert sorted(key for rank in ranks for key in rank[i]) == sorted(batch)
            assert {len(rank[i]) for rank in ranks} == {batch_size // world_size}


@given(COUNTS, BATCH_SIZE, st.integers(1, 7))
def test_short_epochs_go_on_where_the_last_one_stopped(counts, batch_size, num_iters):
    labels = labels_of(counts)
    passes = SpeakerBatchSampler(labels, batch_size, 3)
    short = SpeakerBatchSampler(labels, batch_size, 3, num_iters=num_iters)
    expected = [batch for epoch in (1, 2, 3) for batch in passes.generate(epoch)]
    got = [
        batch for epoch in range(1, 100 // num_iters) for batch in short.generate(epoch)
    ]
    assert len(short) == num_iters
    both = min(len(got), len(expected))
    assert got[:both] == expected[:both]


def test_keys_never_repeat():
    sampler = SpeakerBatchSampler(labels_of([3, 5, 2]), 8, num_iters=4)
    keys = [
        (n, place)
        for e in (1, 2, 3)
        for batch in sampler.generate(e)
        for _, n, place in batch
    ]
    assert len(set(keys)) == len(keys) == 3 * 4 * 8


def test_order_depends_on_seed_and_epoch_only():
    labels = labels_of([6] * 10)
    sampler = SpeakerBatchSampler(labels, 10, seed=1)
    first = list(sampler.generate(1))
    assert utterances(sampler.generate(2)) != utterances(first)
    assert utterances(
        SpeakerBatchSampler(labels, 10, seed=2).generate(1)
    ) != utterances(first)
    assert list(SpeakerBatchSampler(labels, 10, seed=1).generate(1)) == first


def test_speakers_meet_different_speakers():
    """Half of the speakers in every batch, all pairs of them about equally often."""
    labels, epochs = labels_of([5] * 20), 60
    together = np.zeros((20, 20))
    for epoch in range(1, epochs + 1):
        for batch in SpeakerBatchSampler(labels, 10).generate(epoch):
            present = np.bincount([labels[utt] for utt, _, _ in batch], minlength=20)
            together += np.outer(present, present)
    pairs = together[~np.eye(20, dtype=bool)] / (10 * epochs)
    assert abs(pairs.mean() - 9 / 38) < 1e-9
    assert 0.17 < pairs.min() < pairs.max() < 0.31


@pytest.mark.parametrize(
    ("batch_size", "world_size", "message"),
    [
        (6, 4, "batch_size 6 is not divisible by the 4 processes; choose 8"),
        (1, 1, "BatchNorm needs at least 2, set batch_size to 2"),
        (4, 4, "leaves 1 utterance per process .*set batch_size to 8"),
    ],
)
def test_impossible_batch_sizes_are_refused(batch_size, world_size, message):
    with pytest.raises(SVError, match=message):
        SpeakerBatchSampler([0, 1, 2], batch_size, world_size=world_size)


def test_an_empty_corpus_is_refused():
    with pytest.raises(SVError, match="no utterances"):
        SpeakerBatchSampler([], 4)
