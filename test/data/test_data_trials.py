import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import espnet2_sv.data.trials as trials_module
from espnet2_sv.data.trials import make_trials
from espnet2_sv.errors import SVError

COUNTS = st.lists(st.integers(1, 6), min_size=2, max_size=6).filter(
    lambda c: max(c) > 1
)


def corpus(counts):
    return {
        f"s{s}-u{u}": f"s{s}" for s, count in enumerate(counts) for u in range(count)
    }


def all_pairs(utt2spk):
    pairs = {True: set(), False: set()}
    for a, b in itertools.combinations(utt2spk, 2):
        pairs[utt2spk[a] == utt2spk[b]].add(frozenset((a, b)))
    return pairs


def parse(lines):
    pairs = {True: [], False: []}
    for a, b, label in map(str.split, lines):
        pairs[{"target": True, "nontarget": False}[label]].append(frozenset((a, b)))
    return pairs


@given(COUNTS, st.integers(0, 3))
def test_all_pairs_are_all_pairs(counts, seed):
    utt2spk = corpus(counts)
    got = parse(make_trials(utt2spk, None, None, seed))
    for same, pairs in all_pairs(utt2spk).items():
        assert sorted(map(sorted, got[same])) == sorted(map(sorted, pairs))


@pytest.mark.parametrize(
    "limit", [5_000_000, 0]
)  # all pairs listed, or drawn by chance
@given(COUNTS, st.data())
def test_drawn_pairs_are_different_and_rightly_labelled(limit, counts, data):
    utt2spk = corpus(counts)
    pairs = all_pairs(utt2spk)
    most = {same: max(1, len(p) // (1 if limit else 2)) for same, p in pairs.items()}
    if not limit and any(len(p) < 2 for p in pairs.values()):
        return
    n_target = data.draw(st.integers(1, most[True]))
    n_nontarget = data.draw(st.integers(1, most[False]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials_module, "_ALL_PAIRS", limit)
        got = parse(make_trials(utt2spk, n_target, n_nontarget))
    assert (len(got[True]), len(got[False])) == (n_target, n_nontarget)
    for same in (True, False):
        assert set(got[same]) <= pairs[same]
        assert len(set(got[same])) == len(got[same])


@pytest.mark.parametrize("limit", [5_000_000, 0])
def test_every_pair_is_as_likely_as_every_other(limit, monkeypatch):
    monkeypatch.setattr(trials_module, "_ALL_PAIRS", limit)
    utt2spk = corpus([2, 3, 5])
    counts = Counter()
    for seed in range(2000):
        got = parse(make_trials(utt2spk, 1, 1, seed))
        counts.update(got[True] + got[False])
    for same, pairs in all_pairs(utt2spk).items():
        share = np.array([counts[p] for p in pairs]) / 2000 * len(pairs)
        assert share.min() > 0.6, same
        assert share.max() < 1.45, same


def test_the_list_depends_on_seed_not_on_order():
    utt2spk = corpus([4, 4, 4])
    backwards = dict(reversed(utt2spk.items()))
    assert make_trials(utt2spk, 5, 9, seed=1) == make_trials(backwards, 5, 9, seed=1)
    assert make_trials(utt2spk, 5, 9, seed=1) != make_trials(utt2spk, 5, 9, seed=2)


@pytest.mark.parametrize(
    ("counts", "n_target", "n_nontarget", "message"),
    [
        (
            [2, 2],
            3,
            1,
            "3 target trials are wanted, but the 4 utterances of 2 speakers make 2",
        ),
        ([2, 2], 2, 5, "5 nontarget trials are wanted, .* make 4"),
        ([1, 1], None, 1, "0 target trials"),
        ([3], 1, None, "0 nontarget trials"),
        ([2, 2], 0, 1, "ask for 1 or more"),
        ([], 1, 1, "the 0 utterances of 0 speakers"),
    ],
)
def test_more_than_there_are_is_refused(counts, n_target, n_nontarget, message):
    with pytest.raises(SVError, match=message):
        make_trials(corpus(counts), n_target, n_nontarget)


def test_a_large_corpus_is_drawn_from_quickly():
    lines = make_trials(corpus([50] * 1000), 20_000, 20_000)
    assert len(set(lines)) == 40_000
