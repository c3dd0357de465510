import pytest
from fotaq.archive import QueenArchive
from fotaq.audio import extract_clips
from fotaq.clips import list_clips
from fotaq.speech import Speech
from fotaq.transcripts import normalise

SHORTEST = 2.0


@pytest.fixture(scope="module")
def clips(queen):
    wanted = ("BOB", "LOU", "SPARKY", "JOE")
    return [c for c in list_clips(QueenArchive(queen.path)) if c.character in wanted]


@pytest.fixture(scope="module")
def speech(queen, clips, tmp_path_factory):
    outdir = tmp_path_factory.mktemp("audio")
    recordings = extract_clips(QueenArchive(queen.path), clips, outdir / "clips", 16000)
    return Speech(clips, recordings, outdir / "joined", SHORTEST)


def test_no_utterance_is_short_and_each_has_its_texts(speech, clips):
    texts = {clip.utt: normalise(clip.text) for clip in clips}
    joined = 0
    for character in ("BOB", "LOU", "SPARKY", "JOE"):
        for utt, utterance in speech[character].items():
            assert utterance.recording.seconds >= SHORTEST
            first, _, count = utt.partition("-x")
            assert texts[first] in {*utterance.said, ""}
            assert len(utterance.said) <= int(count or 1)
            joined += bool(count)
    assert joined


def test_nobody_says_more_than_the_cap_in_training(speech):
    everything = speech.training_corpus(["JOE", "BOB"], 1e9, 0)
    assert {c: len(utts) for c, utts in everything.items()} == {
        c: len(speech[c]) for c in ("JOE", "BOB")
    }
    seconds = {
        utt: u.recording.seconds for c in ("JOE", "BOB") for utt, u in speech[c].items()
    }
    capped = speech.training_corpus(["JOE", "BOB"], 0.25, 0)
    for utts in capped.values():
        total = sum(seconds[utt] for utt, _ in utts)
        assert 10 < total <= 15
    assert capped == speech.training_corpus(["BOB", "JOE"], 0.25, 0)
    assert capped != speech.training_corpus(["BOB", "JOE"], 0.25, 1)


def test_two_who_sound_alike_are_one_class_with_one_cap(speech):
    corpus = speech.training_corpus(["BOB", "LOU", "SPARKY"], 1e9, 0)
    assert corpus.keys() == {"BOB", "LOU+SPARKY"}
    assert len(corpus["LOU+SPARKY"]) == len(speech["LOU"]) + len(speech["SPARKY"])
    capped = speech.training_corpus(["LOU", "SPARKY"], 0.25, 0)["LOU+SPARKY"]
    both = speech["LOU"] | speech["SPARKY"]
    assert sum(both[utt].recording.seconds for utt, _ in capped) <= 15


def test_utterances_are_chosen_of_those_who_are_there(speech):
    chosen = speech.choose(["BOB", "NOBODY"], 5, 0)
    assert chosen.keys() == {"BOB"}
    assert len(chosen["BOB"]) == 5
    assert set(chosen["BOB"]) <= speech["BOB"].keys()
