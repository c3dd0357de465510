"""Character and word error rates of recognised text."""

from collections.abc import Callable, Mapping
from pathlib import Path

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError


def character_error_rate(reference: str | Path, hypothesis: str | Path) -> float:
    """Character error rate in percent of two Kaldi ``text`` files, including spaces.

    Raises:
        SVError: An utterance has no hypothesis, or the references are empty.
    """
    references, hypotheses = (
        read_two_column(path, allow_empty_values=True)
        for path in (reference, hypothesis)
    )
    for utterance in references:
        if utterance not in hypotheses:
            raise SVError(
                f"{hypothesis}: utterance {utterance} of {reference} is missing"
            )
    if not any(references.values()):
        raise SVError(f"{reference}: has no text")
    return error_rate(references, hypotheses, list)


def error_rate(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    units: Callable[[str], list],
) -> float:
    """Error rate in percent: edit distance over the number of reference units.

    Args:
        references: Texts by utterance, not all of them empty.
        hypotheses: Texts of the same utterances.
        units: Splits a text into units: ``list`` into characters, ``str.split`` into
            words.
    """
    import editdistance

    pairs = [
        (units(text), units(hypotheses[name])) for name, text in references.items()
    ]
    errors = sum(editdistance.eval(wanted, given) for wanted, given in pairs)
    return 100.0 * errors / sum(len(wanted) for wanted, _ in pairs)
