import pytest

from espnet2_sv.data.corpora.fotaq.asr_sets import split_texts

TRAIN, TEST = ("BOB", "TAM"), ("JOE",)


@pytest.fixture
def texts():
    """Each of fifty texts is said by two characters; VAL is neither trained on nor tested."""
    return {
        f"{character}-{i}": f"TEXT {i // 2 if character != 'BOB' else i}"
        for character in (*TRAIN, *TEST, "VAL")
        for i in range(50)
    }


def split(texts, seed=0):
    character_of = {utt: utt.split("-")[0] for utt in texts}
    return split_texts(texts, character_of, TRAIN, TEST, 0.1, seed)


def test_no_text_that_is_learnt_is_in_another_set(texts):
    sets = split(texts)
    learnt = set(sets.train.values())
    for kind in ("dev", "test_seen", "test_unseen"):
        held_out = getattr(sets, kind)
        assert held_out
        assert not learnt & set(held_out.values()), kind
    assert not set(sets.dev.values()) & set(sets.test_seen.values())


def test_training_characters_clips_are_in_one_set_each(texts):
    sets = split(texts)
    seen = [utt for part in (sets.train, sets.dev, sets.test_seen) for utt in part]
    assert sorted(seen) == sorted(utt for utt in texts if utt.split("-")[0] in TRAIN)
    assert {utt.split("-")[0] for utt in sets.test_unseen} == {"JOE"}
    assert (
        len(set(sets.dev.values())) == len(set(sets.test_seen.values())) == 5
    )  # 10 % of 50
    assert all(texts[utt] == text for part in sets for utt, text in part.items())


def test_the_seed_decides(texts):
    assert split(dict(reversed(texts.items()))).dev == split(texts).dev
    assert split(texts, seed=1).dev != split(texts).dev
