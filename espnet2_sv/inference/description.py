"""How large a speaker model is and what it computes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.inference.loading import load_speaker_model

PROBE_SECONDS = 10  # of audio, over which compute is counted


def describe(source: str | Path, asr: str | Path | None = None) -> dict[str, float]:
    """Count a speaker model's parameters and compute, as columns for RESULTS.md.

    Args:
        source: The speaker model.
        asr: The ASR model that an adaptor reads, if it is not where training had it.

    Returns:
        ``parameters`` of the network in use, ``trained_parameters`` of it, and
        ``gmac_per_second``: billions of multiply-accumulates per second of audio.
    """
    model, _ = load_speaker_model(source, asr=asr)
    network = [getattr(model.backbone, "held", model.backbone), model.head]
    trained = [model.backbone, model.head]
    return {
        "parameters": sum(p.numel() for part in network for p in part.parameters()),
        "trained_parameters": sum(
            p.numel() for part in trained for p in part.parameters() if p.requires_grad
        ),
        "gmac_per_second": _macs(model) / PROBE_SECONDS / 1e9,
    }


@torch.inference_mode()
def _macs(model: torch.nn.Module) -> float:
    samples = PROBE_SECONDS * model.backbone.sample_rate
    generator = torch.Generator().manual_seed(0)
    speech = 0.1 * torch.randn(1, samples, generator=generator)
    with FlopCounterMode(display=False) as counter:
        model.embed(speech, torch.tensor([samples]))
    return counter.get_total_flops() / 2


def character_error_rate(reference: str | Path, hypothesis: str | Path) -> float:
    """Character error rate in percent of two Kaldi ``text`` files; spaces count.

    Raises:
        SVError: An utterance has no hypothesis, or the references are empty.
    """
    references, hypotheses = (
        read_two_column(path, allow_empty_values=True) for path in (reference, hypothesis)
    )
    for utterance in references:
        if utterance not in hypotheses:
            raise SVError(f"{hypothesis}: utterance {utterance} of {reference} is missing")
    if not any(references.values()):
        raise SVError(f"{reference}: holds no text")
    return error_rate(references, hypotheses, list)


def error_rate(
    references: Mapping[str, str], hypotheses: Mapping[str, str], units: Callable[[str], list]
) -> float:
    """Errors in percent of the references' units; every reference has a hypothesis.

    Args:
        references: Texts by utterance, not all of them empty.
        hypotheses: Texts by utterance.
        units: Takes a text apart: ``list`` for characters, ``str.split`` for words.
    """
    import editdistance

    pairs = [(units(text), units(hypotheses[name])) for name, text in references.items()]
    errors = sum(editdistance.eval(wanted, given) for wanted, given in pairs)
    return 100.0 * errors / sum(len(wanted) for wanted, _ in pairs)
