"""Speech to text and encoder block outputs, in one pass of the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch

from espnet2_sv.asr.buffers import Buffers
from espnet2_sv.asr.bundle import AsrBundle, read_asr_args
from espnet2_sv.asr.prompt import SYMBOLS, prompt_symbols
from espnet2_sv.asr.speech2text import check_options, load_speech2text
from espnet2_sv.asr.task import ASR, S2T, S2T_CTC, task_of, window_seconds
from espnet2_sv.backbones.blocks import EncoderPass, capture_blocks
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import ModelFiles

if TYPE_CHECKING:
    from espnet2.bin.asr_inference import Speech2Text

DECODINGS = ("greedy", "beam")


@dataclass(frozen=True)
class Transcript:
    """A recognised text.

    Attributes:
        text: The text, formatted by ESPnet's tokenizer; of OWSM without its symbols for
            language, task and time.
        tokens: Its tokens.
        token_ids: Their indices in the model's token list.
        nbest: The n-best list of ESPnet's ``Speech2Text``; empty for greedy decoding.
    """

    text: str
    tokens: list[str]
    token_ids: list[int]
    nbest: list[tuple] = field(default_factory=list)


class Recogniser:
    """ESPnet's recogniser, which also returns the outputs of the encoder's blocks.

    Args:
        speech2text: ESPnet's own recogniser.
        files: Its model on disk.
        decode: ``"greedy"`` for the best token of each frame (CTC), or ``"beam"`` for
            the search of ``speech2text``.

    Attributes:
        bundle: The ASR model; nothing is copied.
        backbone: Its front end, normalisation and encoder.
        one_by_one: Whether utterances are decoded one at a time.
        longest: Samples of the longest speech that the model is made for; None if
            there is no such length.
        buffers: How longer speech is cut, with :meth:`read_buffers`; None if it is not.
        window: The same as ``longest`` where every utterance is padded to it, and may
            not exceed it; otherwise None.
    """

    def __init__(self, speech2text: "Speech2Text", files: ModelFiles, decode: str):
        self.speech2text = speech2text
        self.decode = decode
        self.task = task_of(files.settings)
        self.asr_model = getattr(speech2text, f"{self.task.command}_model")
        args = getattr(speech2text, f"{self.task.command}_train_args")
        self.bundle = AsrBundle(self.asr_model, args, files.root)
        self.backbone = self.bundle.backbone(**self._symbols())
        self.one_by_one = decode == "beam"
        seconds = window_seconds(vars(args))
        rate = self.backbone.sample_rate
        self.longest = None if seconds is None else round(seconds * rate)
        self.window = self.longest if self.task is S2T else None
        self.buffers: Buffers | None = None
        if self.task is S2T_CTC and decode == "greedy" and self.longest is not None:
            frame = self.backbone.hop_length * self.backbone.subsampling
            self.buffers = Buffers.of(self.longest, frame, rate)

    def _symbols(self) -> dict[str, str]:
        """Return the symbols for language and task that the encoder reads."""
        if self.task is not S2T_CTC:
            return {}
        return {name: getattr(self.speech2text, name) for name in SYMBOLS}

    @classmethod
    def load(
        cls,
        files: ModelFiles,
        device: str = "cpu",
        decode: str | None = None,
        **options: Any,
    ) -> "Recogniser":
        """Load an ASR model for decoding.

        Args:
            files: The model on disk.
            device: Where it goes.
            decode: See the class. By default ``"greedy"``, but ``"beam"`` for a
                transducer, which has its own search.
            options: Decoding options of ESPnet's ``Speech2Text``, for ``"beam"``. Those
                that the encoder of OWSM-CTC reads, ``lang_sym`` and ``task_sym``, also
                for ``"greedy"``; their defaults are those of
                :func:`~espnet2_sv.asr.prompt.prompt_symbols`.

        Raises:
            SVError: The model cannot be decoded in this way, or an option is unknown.
        """
        if decode not in (None, *DECODINGS):
            raise SVError(
                f"decode {decode!r} is unknown; choose {' or '.join(DECODINGS)}"
            )
        args = read_asr_args(files)
        decoder = getattr(args, "decoder", None)  # OWSM-CTC has none
        if decode is None:
            decode = "beam" if decoder == "transducer" else "greedy"
        if decode == "beam" and args.model == "maskctc":
            raise SVError(
                f"{files.config}: ESPnet's beam search does not support Mask-CTC"
            )
        task = task_of(vars(args))
        check_options(options, task)
        symbols: dict[str, Any] = {}
        if task is S2T_CTC:
            given = {name: options.pop(name, None) for name in SYMBOLS}
            symbols = prompt_symbols(args, **given)
        if decode == "greedy":
            if options:
                raise SVError(
                    f"decoding option {next(iter(options))!r} needs decode beam"
                )
            options = {"ctc_weight": 1.0, "beam_size": 1}  # builds no search modules
        elif (args.model_conf or {}).get("ctc_weight") == 0.0:
            options = {"ctc_weight": 0.0} | options  # the model has no CTC layer
        recogniser = cls(
            load_speech2text(files, args, device, **options, **symbols), files, decode
        )
        if decode == "greedy" and recogniser.asr_model.ctc is None:
            raise SVError(
                f"{files.config}: this ASR model has no CTC layer to decode greedily"
                " with; choose decode beam"
            )
        return recogniser

    @torch.no_grad()
    def __call__(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[Transcript], EncoderPass]:
        """Run front end, normalisation and encoder once, and decode.

        Args:
            speech: Zero-padded waveforms (B, S) at the model's sampling rate; B is 1 if
                :attr:`one_by_one`.
            lengths: Valid samples (B,).

        Returns:
            Transcripts, and the encoder pass with the valid frames of the utterances
            themselves, also where they are padded to :attr:`window`.

        Raises:
            SVError: An utterance is too short for the encoder, or longer than
                :attr:`window`.
        """
        if self.window is not None:
            self._check_window(self.window, lengths.tolist())
        with capture_blocks(self.backbone) as captured:
            if self.decode == "greedy":
                transcripts = self._greedy(*self._encode(speech, lengths))
            else:
                transcripts = [self._search(speech[0, : int(lengths[0])])]
        if self.window is not None:
            captured.lengths = self.backbone.output_frames(lengths)
        return transcripts, captured

    @torch.no_grad()
    def read_buffers(self, speech: torch.Tensor) -> tuple[torch.Tensor, EncoderPass]:
        """Run front end, normalisation and encoder on buffers of one long recording.

        Args:
            speech: Buffers (B, :attr:`Buffers.samples`), from :meth:`Buffers.cut`.

        Returns:
            The best token of each frame that is kept (B, T), and the encoder pass with
            these frames only; its lengths are not those of the recording.
        """
        assert self.buffers is not None, "there are no buffers"
        first = self.buffers.context
        last = first + self.buffers.kept
        lengths = torch.full((len(speech),), speech.shape[1], device=speech.device)
        with capture_blocks(self.backbone) as captured:
            encoded, _ = self._encode(speech, lengths)
        kept = self.backbone.without_prefix(encoded)[:, first:last]
        captured.blocks = [frames[:, first:last] for frames in captured.blocks]
        return self.asr_model.ctc.argmax(kept).cpu(), captured

    def _check_window(self, window: int, lengths: list[int]) -> None:
        """Refuse what padding would hide, or trimming would lose."""
        rate, least = self.backbone.sample_rate, self.backbone.minimum_samples
        for samples in (min(lengths), max(lengths)):
            if not least <= samples <= window:
                raise SVError(
                    f"an utterance of {samples / rate:.3f} s cannot be recognised: this"
                    f" model takes {least / rate:.3f} to {window / rate:g} s"
                )

    def _encode(self, speech, lengths) -> tuple[torch.Tensor, torch.Tensor]:
        if self.window is not None:
            padding = self.window - speech.shape[1]
            speech = torch.nn.functional.pad(speech, (0, padding))
            lengths = torch.full_like(lengths, self.window)
        prompt = self._prompt(speech) if self.task is S2T_CTC else {}
        encoded, lengths = self.asr_model.encode(speech, lengths, **prompt)
        if isinstance(encoded, tuple):  # (last, intermediate) with intermediate CTC
            encoded = encoded[0]
        return encoded, lengths

    def _prompt(self, speech: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what OWSM-CTC's ``encode`` takes besides speech (B, S)."""
        ids = [self.asr_model.token_list.index(s) for s in self._symbols().values()]
        prompt = {}
        for name, row in (("prefix", ids), ("text_prev", [self.asr_model.na])):
            rows = torch.tensor([row] * len(speech), device=speech.device)
            prompt[name] = rows
            prompt[f"{name}_lengths"] = torch.full_like(rows[:, 0], len(row))
        return prompt

    def _greedy(self, encoded: torch.Tensor, lengths: torch.Tensor) -> list[Transcript]:
        best = self.asr_model.ctc.argmax(encoded).cpu()
        rows = zip(best, lengths.tolist(), strict=True)
        return [self.transcript(row[:length].tolist()) for row, length in rows]

    def transcript(self, frames: Sequence[int]) -> Transcript:
        """Collapse repetitions, drop blanks and sentence marks, and format the text.

        Args:
            frames: The best token of each frame.
        """
        model, stock = self.asr_model, self.speech2text
        silent = {model.blank_id}
        if self.task is ASR:
            silent |= {model.sos, model.eos}
        ids = [token for token, _ in groupby(frames) if token not in silent]
        tokens = stock.converter.ids2tokens(ids)
        return Transcript(self._text(tokens), tokens, ids)

    def _search(self, speech: torch.Tensor) -> Transcript:
        results = self.speech2text(speech)
        if isinstance(results, tuple):  # (results, intermediate CTC's tokens)
            results = results[0]
        text, tokens, ids, *_ = results[0]
        if text is None or self.task is not ASR:
            text = self._text(tokens)
        return Transcript(text, tokens, ids, results)

    def _text(self, tokens: list[str]) -> str:
        if self.task is not ASR:  # as ESPnet does
            tokens = [x for x in tokens if not (x[0] == "<" and x[-1] == ">")]
        tokenizer = self.speech2text.tokenizer
        return " ".join(tokens) if tokenizer is None else tokenizer.tokens2text(tokens)
