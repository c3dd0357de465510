"""The prompt that the encoder of OWSM-CTC reads: language, task and previous text."""

import argparse
import difflib
from typing import Any

import torch

from espnet2_sv.asr.task import S2T_CTC, task_of
from espnet2_sv.backbones.prompted import Prompt
from espnet2_sv.errors import SVError

SYMBOLS = ("lang_sym", "task_sym")
TRANSCRIBE = "<asr>"


def prompt_symbols(
    args: argparse.Namespace, lang_sym: str | None = None, task_sym: str | None = None
) -> dict[str, str | None]:
    """Return the symbols for language and task that an encoder reads.

    By default, the language is unknown, and the task is to transcribe.

    Args:
        args: The training arguments of the ASR model.
        lang_sym: Another symbol for the language, such as ``<eng>``.
        task_sym: Another symbol for the task.

    Returns:
        ``lang_sym`` and ``task_sym``; None for an encoder that reads none.

    Raises:
        SVError: The model lacks a symbol, or its encoder reads none.
    """
    given = dict(zip(SYMBOLS, (lang_sym, task_sym), strict=True))
    if task_of(vars(args)) is not S2T_CTC:
        for name, symbol in given.items():
            if symbol is not None:
                raise SVError(
                    f"{name} {symbol!r}: the encoder of this ASR model reads no symbol,"
                    " only that of an OWSM-CTC model does; leave it out"
                )
        return given
    known = set(args.token_list)
    named = (args.preprocessor_conf or {}).get("nolang_symbol")
    unknown_language = [x for x in (named, "<nolang>", "<unk>") if x in known]
    symbols = {
        "lang_sym": lang_sym or next(iter(unknown_language), None),
        "task_sym": task_sym or TRANSCRIBE,
    }
    for name, symbol in symbols.items():
        if symbol not in known:
            raise SVError(
                f"{name} {symbol!r} is not a symbol of this ASR model; choose one such"
                f" as {', '.join(_similar(str(symbol), args.token_list))}"
            )
    return symbols


def _similar(symbol: str, tokens: list[str]) -> list[str]:
    # e.g. <eng>, <st_deu>; neither ▁the nor the times <0.02>
    symbols = [x for x in tokens if x[:1] == "<" and x[1:2].isalpha() and x[-1] == ">"]
    return difflib.get_close_matches(symbol, symbols, n=3, cutoff=0.4) or symbols[:3]


@torch.no_grad()
def compute_prompt(model: Any, symbols: dict[str, str | None]) -> Prompt:
    """Compute what a model's encoder gets for a prompt without previous text.

    Args:
        model: ESPnet's ``ESPnetS2TCTCModel``.
        symbols: ``lang_sym`` and ``task_sym``, from :func:`prompt_symbols`.
    """
    device = model.embed.weight.device
    ids = [model.token_list.index(symbols[name]) for name in SYMBOLS]
    prefix = model.embed_proj(model.embed(torch.tensor(ids, device=device)))
    previous = model.pos_enc(model.embed(torch.tensor([[model.na]], device=device)))
    memory, *_ = model.prompt_encoder(previous, torch.tensor([1], device=device))
    return Prompt(prefix, model.prompt_proj(memory)[0])
