"""Copying the weights of an ASR model into a speaker network, with a report."""

from dataclasses import dataclass, field

import torch

from espnet2_sv.asr.prompt import compute_prompt, prompt_symbols
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.prompted import PromptedBackbone
from espnet2_sv.errors import SVError

_SHARED_PARTS = ("frontend.", "normalize.", "preencoder.", "encoder.")


@dataclass(frozen=True)
class CopyReport:
    """What :func:`copy_asr_weights` did. Tensors are parameters and buffers.

    Attributes:
        expected: Tensors that the backbone has.
        copied: Tensors that were copied.
        expected_parameters: Parameters that the backbone has.
        copied_parameters: Parameters that were copied.
        missing: Tensors of the backbone that the ASR model lacks or has in another
            shape.
        unexpected: Tensors of the ASR model's encoder that the backbone lacks, except
            for those of blocks that were left out on purpose.
    """

    expected: int
    copied: int
    expected_parameters: int
    copied_parameters: int
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"copied {self.copied} of {self.expected} tensors "
            f"({self.copied_parameters:,} of {self.expected_parameters:,} parameters), "
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected"
        )


def copy_asr_weights(
    source,
    backbone: BlockBackbone,
    lang_sym: str | None = None,
    task_sym: str | None = None,
) -> CopyReport:
    """Copy front end, normalisation and encoder of an ASR model, tensor by tensor.

    The prompt of an OWSM-CTC encoder is computed from the symbols.

    Args:
        source: An :class:`~espnet2_sv.asr.bundle.AsrBundle`, or its ``.model`` if it
            reads no prompt.
        backbone: The backbone that ``build_backbone(backbone_settings(bundle.args))``
            made.
        lang_sym: Symbol for the language; see
            :func:`~espnet2_sv.asr.prompt.prompt_symbols`.
        task_sym: Symbol for the task, likewise.

    Returns:
        The report of a complete copy.

    Raises:
        SVError: Some tensor could not be copied; then nothing is. Or the ASR model
            lacks a symbol.
    """
    model = source if isinstance(source, torch.nn.Module) else source.model
    theirs, ours = model.state_dict(), backbone.state_dict()
    if isinstance(backbone, PromptedBackbone) and source is not model:
        symbols = prompt_symbols(source.args, lang_sym, task_sym)
        prompt = compute_prompt(model, symbols).state_dict()
        theirs |= {f"prompt.{name}": tensor for name, tensor in prompt.items()}
    fits = {n for n, t in ours.items() if n in theirs and theirs[n].shape == t.shape}
    parameters = {name: p.numel() for name, p in backbone.named_parameters()}
    report = CopyReport(
        expected=len(ours),
        copied=len(fits),
        expected_parameters=sum(parameters.values()),
        copied_parameters=sum(n for name, n in parameters.items() if name in fits),
        missing=sorted(ours.keys() - fits),
        unexpected=sorted(_unexpected(theirs.keys() - ours.keys(), backbone)),
    )
    if report.missing or report.unexpected:
        names = ", ".join([*report.missing, *report.unexpected][:3])
        raise SVError(
            f"the ASR model does not fit the speaker network: {report}, e.g. {names}"
        )
    with torch.no_grad():
        for name, tensor in ours.items():
            tensor.copy_(theirs[name])
    return report


def _unexpected(names: set[str], backbone: BlockBackbone) -> list[str]:
    conditioned = getattr(backbone.encoder, "interctc_use_conditioning", False)
    return [
        name
        for name in names
        if name.startswith(_SHARED_PARTS)
        and not _of_dropped_block(name, backbone.num_blocks)
        and (conditioned or not name.startswith("encoder.conditioning_layer."))
    ]


def _of_dropped_block(name: str, num_blocks: int) -> bool:
    # e.g. encoder.encoders.11.norm_mha.weight
    return (
        name.startswith("encoder.encoders.") and int(name.split(".")[2]) >= num_blocks
    )
