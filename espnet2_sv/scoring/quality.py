"""Quality measures of both sides of trials, for calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from espnet2_sv.data.kaldi import read_spk2utt
from espnet2_sv.errors import SVError, printable
from espnet2_sv.scoring.cosine import enrolment_vectors, length_normalise
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.scoring.pairs import Pairs
from espnet2_sv.scoring.score_norm import (
    cohort_statistics,
    read_cohort,
    require_other_impostors,
)
from espnet2_sv.scoring.trials import read_joined
from espnet2_sv.textfile import parse_float

Paths = Sequence[str | PathLike]


@dataclass(frozen=True)
class QualityFiles:
    """Input files of quality measures; all are optional.

    Attributes:
        utt2dur: Durations in seconds by utterance, for ``duration``.
        enroll_scp: Embeddings of the enrolment side, for ``magnitude``; needs
            ``test_scp``.
        test_scp: Embeddings of the test side.
        cohort_scp: Embeddings of impostors, for ``cohort_mean``; needs embeddings of
            both sides.
        cohort_utt2spk: Their speakers, to average each into one impostor.
        top_n: Number of highest-scoring impostors in a cohort mean.
        enroll_spk2utt: Utterances of enrolled models, whose durations are added and
            magnitudes averaged.
    """

    utt2dur: Paths = ()
    enroll_scp: Paths = ()
    test_scp: Paths = ()
    cohort_scp: str | PathLike | None = None
    cohort_utt2spk: str | PathLike | None = None
    top_n: int = 300
    enroll_spk2utt: str | PathLike | None = None


class QualityMeasures:
    """Reads quality measures from :class:`QualityFiles`, for any number of lists."""

    def __init__(self, files: QualityFiles):
        if bool(files.enroll_scp) != bool(files.test_scp):
            raise SVError(
                "magnitudes need embeddings of both sides: enroll_scp and test_scp"
            )
        if files.cohort_scp and not files.enroll_scp:
            raise SVError(
                "cohort means need embeddings of both sides: enroll_scp and test_scp"
            )
        self._files = files
        self._seconds = read_joined(files.utt2dur)
        self._utterances_of = (
            read_spk2utt(files.enroll_spk2utt) if files.enroll_spk2utt else {}
        )
        self._cohort = None
        if files.cohort_scp:
            self._cohort, _ = read_cohort(files.cohort_scp, files.cohort_utt2spk)

    def __call__(
        self, pairs: Pairs, wanted_by: str
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Read the quality measures of a list.

        Args:
            pairs: The list.
            wanted_by: Name of the list in messages.

        Returns:
            By measure, (K,) values of the enrolment side and of the test side.

        Raises:
            SVError: An utterance has no duration or no embedding, or an invalid one, or
                is in the cohort.
        """
        models = [self._utterances_of.get(name, [name]) for name in pairs.enroll_names]
        if self._cohort is not None:
            enrolled = dict(zip(pairs.enroll_names, models, strict=True))
            tested = {name: [name] for name in pairs.test_names}
            require_other_impostors(self._cohort, tested | enrolled)
        enroll = self._side(models, self._files.enroll_scp, wanted_by)
        test = self._side(
            [[n] for n in pairs.test_names], self._files.test_scp, wanted_by
        )
        return {
            m: (enroll[m][pairs.enroll_index], test[m][pairs.test_index])
            for m in enroll
        }

    def _side(
        self, models: list[list[str]], scp: Paths, wanted_by: str
    ) -> dict[str, np.ndarray]:
        """Return the values (M,) of each model, by measure."""
        values = {}
        if self._seconds:
            values["duration"] = self._durations(models, wanted_by)
        if scp:
            names = list(dict.fromkeys(name for model in models for name in model))
            embeddings = read_embeddings(scp, names, wanted_by)[1]
            row = {name: i for i, name in enumerate(names)}
            rows = [[row[name] for name in model] for model in models]
            norms = np.linalg.norm(embeddings, axis=1)
            values["magnitude"] = np.array([norms[r].mean() for r in rows], np.float64)
        if scp and self._cohort is not None:
            unit = enrolment_vectors(rows, length_normalise(embeddings, overwrite=True))
            values["cohort_mean"] = cohort_statistics(
                unit, self._cohort, self._files.top_n
            )[0]
        return values

    def _durations(self, models: list[list[str]], wanted_by: str) -> np.ndarray:
        seconds = {}
        for name in {name for model in models for name in model}:
            try:
                seconds[name] = parse_float(self._seconds[name])
            except KeyError:
                raise SVError(
                    f"utt2dur: has no {name}, which is in {wanted_by}"
                ) from None
            except ValueError:
                raise SVError(
                    f"utt2dur: {name} has '{printable(self._seconds[name])}', expected"
                    " seconds"
                ) from None
            if not 0 < seconds[name] < np.inf:
                raise SVError(
                    f"utt2dur: {name} lasts {seconds[name]} s; check the recording"
                )
        return np.array([sum(seconds[name] for name in model) for model in models])
