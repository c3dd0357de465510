"""What is to be made of the corpus."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The choices that the recipe's data preparation leaves open.

    Attributes:
        sample_rate: Of the clips, in Hz.
        shortest: Seconds of a speaker utterance; shorter clips are joined.
        most_minutes: Of one voice in speaker training.
        test_utterances: Of one character in a validation or test set, at most.
        target_trials: Of one character, at most.
        nontarget_trials: Of one pair of characters, at most.
        enroll_utterances: That enrol a model of the second test set.
        enroll_models: Of one character, at most.
        asr_share: Of the training characters' texts that goes to each of two ASR sets
            held out.
        seed: Of all choices.
        allow_incomplete: Go on where the archive is not what is known.
        nj: Processes that decode.
    """

    sample_rate: int = 16000
    shortest: float = 2.0
    most_minutes: float = 10.0
    test_utterances: int = 60
    target_trials: int = 500
    nontarget_trials: int = 300
    enroll_utterances: int = 4
    enroll_models: int = 5
    asr_share: float = 0.06
    seed: int = 0
    allow_incomplete: bool = False
    nj: int = 2
