"""The README.md of a packed model, shown by the Hub and read by people."""

import torch

SOURCES = {
    "scratch": "trained from random weights",
    "transfer": "initialised with an ASR encoder, then trained on speaker labels",
    "distill": "a student trained on speaker labels and on an ASR teacher's CTC posteriors",
    "adaptor": "a speaker adaptor on a frozen ASR encoder",
}

TEMPLATE = """\
---
library_name: espnet
pipeline_tag: audio-classification
tags:
- espnet
- audio
- speaker-verification
- speaker-embedding
---

# {name}

A speaker verification model of espnet2_sv: {source}.

| | |
|---|---|
| encoder | {encoder}, {num_blocks} blocks of {block_dim} |
| embedding | {embed_dim} values; compare by cosine |
| parameters | {parameters} without the training classes |
| audio | {sample_rate} Hz, one channel |
| training speakers | {speakers} |
{pretrained}
## Use

Install espnet2_sv, then, with this repository's tag, the zip or the unpacked directory as SOURCE:

```python
import soundfile
from espnet2_sv import SpeakerVerifier, Speech2Embedding

speech, rate = soundfile.read("a.wav")  # {sample_rate} Hz
embedding = Speech2Embedding.from_pretrained("SOURCE")(speech)  # (1, {embed_dim})

verifier = SpeakerVerifier.from_pretrained("SOURCE")
print(verifier.verify("a.wav", "b.wav"))  # {verdict}
```

```sh
python -m espnet2_sv.bin.sv_verify --model SOURCE --enroll a.wav --test b.wav
python -m espnet2_sv.bin.sv_embed --model SOURCE --wav_scp wav.scp --output_dir embeddings
```
{results}"""


def model_card(
    name: str, settings: dict, model: torch.nn.Module, results: str | None, calibrated: bool
) -> str:
    """Describe a model in Markdown.

    Args:
        name: Name of the model.
        settings: Its training settings.
        model: The speaker model.
        results: Text of a RESULTS.md.
        calibrated: Whether a calibration is packed with it.
    """
    backbone = model.backbone
    parameters = sum(p.numel() for part in (backbone, model.head) for p in part.parameters())
    source = (settings.get("asr_init") or {}).get("source")
    teacher = (settings.get("asr_teacher") or {}).get("source")
    pretrained = f"| pretrained ASR model | {source} |\n" if source else ""
    pretrained += f"| ASR teacher in training | {teacher} |\n" if teacher else ""
    return TEMPLATE.format(
        name=name,
        source=SOURCES.get(settings.get("sv_task"), "a speaker model"),
        encoder=settings.get("encoder", "student"),
        num_blocks=backbone.num_blocks,
        block_dim=backbone.block_dim,
        embed_dim=model.head.embed_dim,
        parameters=f"{parameters:,}",
        sample_rate=backbone.sample_rate,
        speakers=settings.get("spk_num", "unknown"),
        pretrained=pretrained,
        verdict="score, llr, decision, threshold" if calibrated else "score, decision, threshold",
        results=f"\n{results.strip()}\n" if results else "",
    )
