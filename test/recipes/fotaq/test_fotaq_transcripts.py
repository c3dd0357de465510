import numpy as np
import pytest
from fotaq.clips import Clip
from fotaq.transcripts import (
    check_transcripts,
    correlate,
    normalise,
    split_texts,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Who?", "WHO"),
        ("I'm   Joe King, pilot-for-hire...", "I'M JOE KING PILOT FOR HIRE"),
        ("The D.N.A. of 'em", "THE D N A OF EM"),
        ('"Gone" -- he said:', "GONE HE SAID"),
        ("... '", ""),
    ],
)
def test_texts_become_words(text, words):
    assert normalise(text) == words


def clip(name, text, character="BOB"):
    return Clip(f"{character}-{name}", f"{name}.SB", character, text)


@pytest.fixture
def spoken():
    """Forty clips each of a fast and of a slow speaker, and their durations (s)."""
    rng = np.random.default_rng(0)
    clips, seconds = [], {}
    for character, rate in (("BOB", 0.06), ("DEATH", 0.14)):
        for i in range(40):
            clips.append(
                clip(f"{i:02d}", "word " * int(rng.integers(1, 14)), character)
            )
            letters = len(clips[-1].text) - 1
            seconds[clips[-1].utt] = 0.5 + rate * letters + rng.uniform(-0.1, 0.1)
    return clips, seconds


def test_slow_speakers_stay_and_what_is_off_its_speaker_s_line_is_dropped(spoken):
    clips, seconds = spoken
    assert check_transcripts(clips, seconds).dropped == {}
    longest = max(seconds[c.utt] for c in clips)
    clips += [
        clip("laugh", "word"),
        clip("other", "word " * 20),
        clip("plain", "word " * 13),
    ]
    seconds |= {"BOB-laugh": 7.0, "BOB-other": 1.0, "BOB-plain": 0.5 + 0.06 * 64}
    found = check_transcripts(clips, seconds)
    assert found.dropped.keys() == {"BOB-laugh", "BOB-other"}
    assert "s longer than its text: WORD" in found.dropped["BOB-laugh"]
    assert "s shorter than its text: WORD WORD" in found.dropped["BOB-other"]
    assert longest > 7.0  # for another speaker that is not long


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(gulp)", "a sound, not words: (gulp)"),
        ("<koff>", "a sound, not words: <koff>"),
        ("Treatment^_.", "figures or symbols: Treatment^_."),
        ("24 Hours", "figures or symbols: 24 Hours"),
        ("...", "no words: ..."),
    ],
)
def test_texts_that_are_not_what_is_spoken_are_dropped(spoken, text, reason):
    clips, seconds = spoken
    clips.append(clip("odd", text))
    found = check_transcripts(clips, seconds | {"BOB-odd": 1.0})
    assert found.dropped == {"BOB-odd": reason}
    assert len(found.texts) == 80


def test_barks_are_no_speech_and_clips_without_text_are_not_dropped(spoken):
    clips, seconds = spoken
    clips += [clip("1", "Woof!", "DOG"), clip("2", "", "DOG"), clip("3", "")]
    found = check_transcripts(
        clips, seconds | {"DOG-1": 1.0, "DOG-2": 1.0, "BOB-3": 9.0}
    )
    assert found.dropped == {"DOG-1": "no speech: Woof!"}
    assert not found.texts.keys() & {"DOG-1", "DOG-2", "BOB-3"}


def test_the_correlation_is_that_of_letters_and_seconds(spoken):
    clips, seconds = spoken
    found = check_transcripts(clips, seconds)
    pairs = np.array([(len(found.texts[c.utt]), seconds[c.utt]) for c in clips])
    assert found.correlation == pytest.approx(np.corrcoef(pairs.T)[0, 1])
    mixed = dict(zip(found.texts, reversed(found.texts.values()), strict=True))
    assert correlate(mixed, seconds) < 0.5 < found.correlation
    assert np.isnan(correlate({}, seconds))


TRAIN, TEST = ("BOB", "TAM"), ("JOE",)


@pytest.fixture
def texts():
    """Fifty texts by four characters; VAL is neither trained on nor tested."""
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
