import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.data.corpora.corpus import (
    limit_utterances,
    name_some,
    rank,
    require_complete,
)
from espnet2_sv.errors import SVError

NAMES = [f"id{i:05d}" for i in range(400)]


def test_ranks_are_those_of_every_machine():
    # printf '0 id00012' | b2sum -l 64, and so on, sorted
    names = ["id00012", "id00015", "id00016", "id00018"]
    assert rank(names, 0) == ["id00012", "id00018", "id00016", "id00015"]


@given(st.permutations(NAMES[:20]), st.integers(0, 99))
def test_the_order_of_names_does_not_matter(names, seed):
    assert rank(names, seed) == rank(sorted(names), seed)


def test_another_seed_gives_another_order():
    assert rank(NAMES, 0) != rank(NAMES, 1)
    assert len(set(rank(NAMES, 0)[:100]) & set(rank(NAMES, 1)[:100])) < 50


def test_a_missing_name_moves_no_other():
    ranked = rank(NAMES, 3)
    assert rank([n for n in NAMES if n != ranked[5]], 3) == ranked[:5] + ranked[6:]


def test_each_speaker_keeps_so_many_utterances_in_order():
    corpus = {
        s: [(f"{s}-{i}", f"{i}.wav") for i in range(n)] for s, n in (("a", 9), ("b", 2))
    }
    limited = limit_utterances(corpus, 3, 0)
    assert {s: len(utts) for s, utts in limited.items()} == {"a": 3, "b": 2}
    for speaker, utts in limited.items():
        assert utts == [x for x in corpus[speaker] if x in utts]
    assert limit_utterances(corpus, 3, 1) != limited


def test_differences_stop_unless_they_are_allowed(caplog):
    with pytest.raises(
        SVError, match=r"^a \(1 more, see above\); .*--allow_incomplete true$"
    ):
        require_complete(["a", "b"], allowed=False)
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "a",
        "b",
    ]
    require_complete(["a", "b"], allowed=True)
    require_complete([], allowed=False)


def test_few_are_listed_in_full():
    assert name_some({"b", "a"}) == "a, b"
