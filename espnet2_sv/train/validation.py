"""Speaker verification on held-out speakers during training."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cosine import cosine_scores
from espnet2_sv.scoring.metrics import equal_error_rate, min_dcf
from espnet2_sv.scoring.trials import read_trials

if TYPE_CHECKING:
    from espnet2_sv.models.speaker_model import SpeakerModel


def embed_batches(
    model: "SpeakerModel", iterator: Iterable, device: str
) -> dict[str, np.ndarray]:
    """Compute the embeddings of all batches.

    Args:
        model: The speaker model.
        iterator: Batches (utterance IDs, {"speech": (B, S), "speech_lengths": (B,)}).
        device: ``"cpu"`` or ``"cuda"``.

    Returns:
        Embeddings (E,) by utterance ID.
    """
    embeddings: dict[str, np.ndarray] = {}
    for utterances, batch in iterator:
        # The lengths stay on the CPU, where they are read
        speech = batch["speech"].to(device, non_blocking=True)
        vectors = model.embed(speech, batch["speech_lengths"])
        embeddings.update(zip(utterances, vectors.cpu().numpy(), strict=True))
    return embeddings


def verification_stats(
    trials_path: str, embeddings: dict[str, np.ndarray]
) -> dict[str, float]:
    """Compute verification metrics of the cosine scores of a trial list.

    Args:
        trials_path: Trial list, lines of ``enroll_utt test_utt target|nontarget``.
        embeddings: Embeddings (E,) of all utterances in the list.

    Returns:
        ``eer`` in percent, ``eer_threshold``, ``mindcf_p01``, ``mindcf_p05``, the mean
        scores ``target_mean`` and ``nontarget_mean``, and ``n_trials``.

    Raises:
        SVError: An embedding is not finite, because training has diverged.
    """
    trials = read_trials(trials_path)
    index = {utterance: i for i, utterance in enumerate(embeddings)}
    vectors = np.stack(list(embeddings.values()))
    invalid = ~np.isfinite(vectors).all(axis=1)
    if invalid.any():
        name = list(embeddings)[int(invalid.argmax())]
        raise SVError(f"the embedding of {name} is not finite: lower the learning rate")
    scores = cosine_scores(
        vectors,
        vectors,
        np.array([index[u] for u in trials.enroll]),
        np.array([index[u] for u in trials.test]),
    )
    labels = np.asarray(trials.labels, dtype=bool)
    result = equal_error_rate(scores, labels)
    return {
        "eer": 100.0 * result.eer,
        "eer_threshold": result.threshold,
        "mindcf_p01": min_dcf(scores, labels, p_target=0.01)[0],
        "mindcf_p05": min_dcf(scores, labels, p_target=0.05)[0],
        "target_mean": float(scores[labels].mean()),
        "nontarget_mean": float(scores[~labels].mean()),
        "n_trials": len(scores),
    }
