"""Speakers kept out of training, for validation and for calibration."""

from pathlib import Path

from espnet2_sv.data.corpora.counts import name
from espnet2_sv.data.corpora.plan import Plan
from espnet2_sv.data.corpora.selection import rank
from espnet2_sv.data.corpora.speaker_tree import Corpus
from espnet2_sv.errors import SVError

_FEWEST = 2  # speakers that a set needs: for a nontarget trial, or to be trained on


def hold_out_speakers(corpus: Corpus, plan: Plan) -> dict[str, list[str]]:
    """Choose speakers, or take those of the lists in ``plan.held_out``.

    Args:
        corpus: What to choose from; speakers of one utterance make no target trial and
            stay.
        plan: Says how many, or which.

    Returns:
        Sorted speakers of ``valid`` and of ``calib``; none is in both.

    Raises:
        SVError: Too few speakers are there or wanted, or a list is wrong.
    """
    able = [speaker for speaker, utterances in corpus.items() if len(utterances) > 1]
    if plan.held_out:
        chosen = {
            kind: _read(Path(plan.held_out) / f"{kind}_speakers", set(able))
            for kind in ("valid", "calib")
        }
        if shared := set(chosen["valid"]) & set(chosen["calib"]):
            raise SVError(
                f"{plan.held_out}: speakers are in both lists: {name(shared)}"
            )
    else:
        ranked, end = rank(able, plan.seed), plan.valid_speakers + plan.calib_speakers
        chosen = {
            "valid": sorted(ranked[: plan.valid_speakers]),
            "calib": sorted(ranked[plan.valid_speakers : end]),
        }
    sizes = {kind: len(speakers) for kind, speakers in chosen.items()}
    if min(*sizes.values(), len(corpus) - sum(sizes.values())) < _FEWEST:
        raise SVError(
            f"of {len(corpus)} speakers, {sizes['valid']} for validation and"
            f" {sizes['calib']} for calibration leave a set with fewer than {_FEWEST};"
            " change --valid_speakers and --calib_speakers"
        )
    return chosen


def _read(path: Path, able: set[str]) -> list[str]:
    try:
        speakers = sorted(set(path.read_text(encoding="utf-8").split()))
    except OSError as e:
        raise SVError(
            f"{path}: cannot be read ({e.strerror}); correct --held_out"
        ) from e
    if unknown := [speaker for speaker in speakers if speaker not in able]:
        raise SVError(
            f"{path}: {len(unknown)} speakers are not there with two utterances:"
            f" {name(unknown)}"
        )
    return speakers
