import itertools
import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.make_trials import CONDITIONS, make_trials


def corpus(speakers: int, utterances: int) -> tuple[dict[str, str], dict[str, float]]:
    rng = np.random.default_rng(0)
    utt2spk = {
        f"s{s}-u{u}": f"s{s}" for s in range(speakers) for u in range(utterances)
    }
    return utt2spk, {utt: rng.uniform(1, 9) for utt in utt2spk}


@settings(max_examples=40, deadline=None)
@given(
    speakers=st.integers(2, 6),
    utterances=st.integers(2, 12),
    wanted=st.tuples(st.integers(3, 60), st.integers(3, 60)),
    seed=st.integers(0, 5),
    with_durations=st.booleans(),
)
def test_trials_match_their_labels_and_conditions(
    speakers, utterances, wanted, seed, with_durations
):
    utt2spk, utt2dur = corpus(speakers, utterances)
    boundary = np.median(list(utt2dur.values()))
    trials = make_trials(
        utt2spk, *wanted, seed, utt2dur if with_durations else None, CONDITIONS
    )
    for trial in trials:
        assert trial.enroll != trial.test
        same = utt2spk[trial.enroll] == utt2spk[trial.test]
        assert trial.label == ("target" if same else "nontarget")
        if with_durations:
            lengths = sorted(
                "short" if utt2dur[u] < boundary else "long"
                for u in (trial.enroll, trial.test)
            )
            assert sorted(trial.condition.split("-")) == lengths
    assert len({frozenset((t.enroll, t.test)) for t in trials}) == len(trials)
    counts = Counter(t.label for t in trials)
    assert counts["target"] <= wanted[0]
    assert counts["nontarget"] <= wanted[1]


def test_conditions_and_speakers_are_balanced():
    utt2spk, utt2dur = corpus(20, 40)
    trials = make_trials(utt2spk, 1200, 3000, 1, utt2dur)
    assert Counter((t.label, t.condition) for t in trials) == {
        **{("target", c): 400 for c in CONDITIONS},
        **{("nontarget", c): 1000 for c in CONDITIONS},
    }
    per_speaker = Counter(utt2spk[t.enroll] for t in trials if t.label == "target")
    assert set(per_speaker.values()) == {60}
    sides = Counter(
        utt2spk[u] for t in trials if t.label == "nontarget" for u in (t.enroll, t.test)
    )
    assert len(sides) == 20
    assert max(sides.values()) < 1.15 * min(sides.values())


def test_speakers_with_much_speech_do_not_dominate():
    utt2spk = {f"a{i}": "a" for i in range(300)} | {f"b{i}": "b" for i in range(30)}
    trials = make_trials(utt2spk, 400, 400)
    per_speaker = Counter(utt2spk[t.enroll] for t in trials if t.label == "target")
    assert per_speaker == {"a": 200, "b": 200}


def test_either_utterance_may_enrol():
    utt2spk, utt2dur = corpus(10, 20)
    trials = make_trials(utt2spk, 200, 200, 0, utt2dur, ["short-long"], 5.0)
    shorter_enrols = np.mean([utt2dur[t.enroll] < 5 for t in trials])
    assert 0.4 < shorter_enrols < 0.6


def test_seed_determines_the_list():
    utt2spk, utt2dur = corpus(10, 20)
    lists = [make_trials(utt2spk, 90, 90, seed, utt2dur) for seed in (3, 3, 4)]
    assert lists[0] == lists[1] != lists[2]


def test_too_few_pairs_are_all_used_with_a_warning(caplog):
    utt2spk, _ = corpus(3, 2)
    with caplog.at_level(logging.WARNING):
        trials = make_trials(utt2spk, 100, 100)
    assert Counter(t.label for t in trials) == {"target": 3, "nontarget": 12}
    assert "only 3 of 100 target trials are" in caplog.text


def test_refuses():
    utt2spk, utt2dur = corpus(3, 4)
    with pytest.raises(
        SVError, match="condition 'short-tall': choose from short-short"
    ):
        make_trials(utt2spk, 9, 9, 0, utt2dur, ["short-tall"])
    with pytest.raises(SVError, match="utt2dur: has no s0-u0"):
        make_trials(utt2spk, 9, 9, 0, {})
    with pytest.raises(
        SVError, match="3 utterances of 1 speakers make no nontarget trial"
    ):
        make_trials(dict.fromkeys("abc", "ann"), 9, 9)
    with pytest.raises(SVError, match="make no target trial"):
        make_trials({"a": "ann", "b": "bob"}, 9, 9)


@settings(max_examples=60, deadline=None)
@given(
    speakers=st.integers(2, 6),
    utterances=st.integers(2, 10),
    wanted=st.integers(len(CONDITIONS), 60),  # one of each at least
    n_values=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    seed=st.integers(0, 1000),
    with_durations=st.booleans(),
)
def test_both_sides_have_the_same_values(
    speakers, utterances, wanted, n_values, seed, with_durations
):
    utt2spk, utt2dur = corpus(speakers, utterances)
    rng = np.random.default_rng(seed)
    same = {
        f"utt2x{i}": {utt: str(rng.integers(n)) for utt in utt2spk}
        for i, n in enumerate(n_values)
    }

    def key(utt):
        return [values[utt] for values in same.values()]

    # every pair that is allowed, by hand
    possible = Counter(
        "target" if utt2spk[a] == utt2spk[b] else "nontarget"
        for a, b in itertools.combinations(utt2spk, 2)
        if key(a) == key(b)
    )
    durations = utt2dur if with_durations else None
    if len(possible) < 2:
        with pytest.raises(SVError, match="with the same values in utt2x0, utt2x1"):
            make_trials(utt2spk, wanted, wanted, seed, durations, same=same)
        return
    trials = make_trials(utt2spk, wanted, wanted, seed, durations, same=same)
    assert all(key(trial.enroll) == key(trial.test) for trial in trials)
    assert len({frozenset((t.enroll, t.test)) for t in trials}) == len(trials)
    for trial in trials:
        alike = utt2spk[trial.enroll] == utt2spk[trial.test]
        assert trial.label == ("target" if alike else "nontarget")
    if not with_durations:
        counts = Counter(trial.label for trial in trials)
        for label in ("target", "nontarget"):
            assert counts[label] == min(wanted, possible[label])


def test_nontargets_of_equal_values_are_spread_over_the_speakers():
    utt2spk, _ = corpus(30, 20)
    lang = {utt: "en" if int(utt[1:].split("-")[0]) < 20 else "de" for utt in utt2spk}
    trials = make_trials(utt2spk, 600, 1500, same={"utt2lang": lang})
    per_speaker = Counter(
        utt2spk[utt]
        for t in trials
        if t.label == "nontarget"
        for utt in (t.enroll, t.test)
    )
    assert len(per_speaker) == 30
    # as many pairs as a group has would be twice as many per speaker in one of them
    assert max(per_speaker.values()) < 1.25 * min(per_speaker.values())
    targets = Counter(utt2spk[t.enroll] for t in trials if t.label == "target")
    assert set(targets.values()) == {20}


def test_attributes_that_never_differ_change_nothing():
    utt2spk, utt2dur = corpus(10, 12)
    same = {"utt2lang": dict.fromkeys(utt2spk, "en")}
    for options in ((50, 500, 4, utt2dur), (50, 5000, 4)):
        assert make_trials(utt2spk, *options) == make_trials(
            utt2spk, *options, same=same
        )
