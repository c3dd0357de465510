"""The model card: README.md of a packed model, as the Hub shows it."""

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.models.speaker_model import SpeakerModel

SOURCES = {
    "scratch": "trained from random weights",
    "transfer": "initialised with an ASR encoder, then trained on speaker labels",
    "distill": (
        "a student trained on speaker labels and an ASR teacher's CTC posteriors"
    ),
    "adaptor": "a speaker adaptor on a frozen ASR encoder",
}

TEMPLATE = """\
---
library_name: espnet
pipeline_tag: {pipeline}
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
| encoder | {encoder}, {size} |
| embedding | {embed_dim} values; compare by cosine |
| parameters | {parameters} |
| audio | {sample_rate} Hz, one channel |
| training speakers | {speakers} |
{pretrained}
## Use

Install espnet2_sv. SOURCE is this repository's tag, the zip or the unpacked directory:

```python
import soundfile
from espnet2_sv import SpeakerVerifier, Speech2Embedding

speech, rate = soundfile.read("a.wav")  # {sample_rate} Hz
embedding = Speech2Embedding.from_pretrained("SOURCE"{asr})(speech)  # (1, {embed_dim})

verifier = SpeakerVerifier.from_pretrained("SOURCE"{asr})
print(verifier.verify("a.wav", "b.wav"))  # {verdict}
```

```sh
espnet2-sv verify --model SOURCE{asr_option} --enroll a.wav --test b.wav
espnet2-sv embed --model SOURCE{asr_option} --wav_scp wav.scp --output_dir vectors
```
{joint}{results}"""

JOINT = """
Transcript and embedding from one pass of the encoder:

```python
from espnet2_sv import Speech2TextEmbedding

text, embedding = Speech2TextEmbedding.from_pretrained("SOURCE"{asr})(speech)
```

```sh
espnet2-sv joint --model SOURCE{asr_option} --wav_scp wav.scp --output_dir joint
```
"""

STOCK = """
The ASR model is unchanged, and ESPnet alone loads it:

```python
from espnet2.bin.asr_inference import Speech2Text

text, *_ = Speech2Text.from_pretrained("SOURCE")(speech)[0]
```
"""

ATTACHED = """
The ASR model, ASR_SOURCE, is not in this package. It is {name}, with the weights
`{sha256}`.
"""


def model_card(
    name: str,
    settings: dict,
    model: SpeakerModel,
    results: str | None,
    calibrated: bool,
    asr: AsrBundle | None = None,
    package_format: str = "sv",
) -> str:
    """Describe a model in Markdown.

    Args:
        name: Name of the model.
        settings: Its training settings.
        model: The speaker model.
        results: Text of a RESULTS.md.
        calibrated: Whether a calibration is packed with it.
        asr: The ASR model that an adaptor reads.
        package_format: How an adaptor is packed, see
            :func:`espnet2_sv.packaging.pack.pack_model`.
    """
    backbone = model.backbone
    attached = asr is not None and package_format == "adaptor"
    placeholders = {
        "asr": ', asr="ASR_SOURCE"' if attached else "",
        "asr_option": " --asr ASR_SOURCE" if attached else "",
    }
    blocks = f"{backbone.num_blocks} blocks" if backbone.num_blocks > 1 else "frames"
    source = (settings.get("asr_init") or {}).get("source")
    teacher = (settings.get("asr_teacher") or {}).get("source")
    pretrained = f"| pretrained ASR model | {source} |\n" if source else ""
    pretrained += f"| ASR teacher in training | {teacher} |\n" if teacher else ""
    return TEMPLATE.format(
        name=name,
        source=SOURCES.get(settings.get("sv_task", ""), "a speaker model"),
        pipeline=(
            "automatic-speech-recognition"
            if package_format == "joint"
            else "audio-classification"
        ),
        encoder=asr.args.encoder if asr else settings.get("encoder", "student"),
        size=f"{blocks} of {backbone.block_dim}",
        embed_dim=model.head.embed_dim,
        parameters=_parameters(model, asr),
        joint=_joint(settings, asr, package_format, placeholders),
        **placeholders,
        sample_rate=backbone.sample_rate,
        speakers=settings.get("spk_num", "unknown"),
        pretrained=pretrained,
        verdict=(
            "score, llr, decision, threshold"
            if calibrated
            else "score, decision, threshold"
        ),
        results=f"\n{results.strip()}\n" if results else "",
    )


def _parameters(model: SpeakerModel, asr: AsrBundle | None) -> str:
    parameters = sum(
        p.numel() for part in (model.backbone, model.head) for p in part.parameters()
    )
    if asr is None:
        return f"{parameters:,} without the training classes"
    whole = sum(p.numel() for p in asr.model.parameters())
    return f"{parameters:,} in addition to the {whole:,} of the unchanged ASR model"


def _joint(
    settings: dict, asr: AsrBundle | None, package_format: str, placeholders: dict
) -> str:
    """Return the part of the card about an adaptor's ASR model."""
    if asr is None:
        return ""
    name = (settings.get("asr_init") or {}).get("source", "unknown")
    parts = [JOINT.format(**placeholders)]
    if package_format == "joint":
        parts.append(STOCK)
    if package_format == "adaptor":
        parts.append(ATTACHED.format(name=name, sha256=asr.weights_sha256))
    return "".join(parts)
