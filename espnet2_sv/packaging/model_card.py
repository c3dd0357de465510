"""The model card: README.md of a packed model, as the Hub shows it."""

import re
from collections.abc import Iterable

from huggingface_hub import EvalResult

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.packaging.card_data import CardDetails, card_data, make_card
from espnet2_sv.packaging.formats import PackedModel

SOURCES = {
    "scratch": "trained from random weights",
    "transfer": "initialised with an ASR encoder, then trained on speaker labels",
    "distill": (
        "a student trained on speaker labels and an ASR teacher's CTC posteriors"
    ),
    "adaptor": "a speaker adaptor on a frozen ASR encoder",
}

TEMPLATE = """\
# {name}

A speaker verification model of espnet2_sv: {source}.

| | |
|---|---|
| encoder | {encoder}, {size} |
| embedding | {embed_dim} values; compare by cosine |
| parameters | {parameters} |
| audio | {sample_rate:,} Hz, one channel |
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
{joint}{stock}{results}
## Licence

{licence}

## Citation

```bibtex
{citation}
```
"""

# The method, as in CITATION.cff
CITATION = """\
@article{cai2024leveraging,
  title = {Leveraging {ASR} Pretrained Conformers for Speaker Verification through
           Transfer Learning and Knowledge Distillation},
  author = {Cai, Danwei and Li, Ming},
  journal = {IEEE/ACM Transactions on Audio, Speech, and Language Processing},
  year = {2024},
  url = {https://arxiv.org/abs/2309.03019}
}"""

ESPNET_LOADS = """
ESPnet alone loads it, too, and gives the same embeddings:

```python
import espnet

embedding = espnet.load("SOURCE", task="spk")(speech)
```
"""

ESPNET_REFUSES = """
`espnet.load` and ESPnet's own `Speech2Embedding` refuse this model, as they have no
class that computes the same embeddings: install espnet2_sv and use its
`Speech2Embedding`.
"""

UNKNOWN_LICENCE = """\
Not stated. It follows from the licences of the training data and of the pretrained ASR
model, if there is one."""

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
from {module} import Speech2Text

text, *_ = Speech2Text.from_pretrained("SOURCE")(speech)[0]
```

On the Hub, `espnet.load` takes it for an ASR model, too.
"""

ATTACHED = """
The ASR model, ASR_SOURCE, is not in this package. It is {name}, with the weights
`{sha256}`.
"""


def model_card(
    name: str,
    packed: PackedModel,
    results: str | None,
    calibrated: bool,
    details: CardDetails | None = None,
    measured: Iterable[EvalResult] = (),
) -> str:
    """Describe a model in Markdown, with the metadata that the Hub reads.

    Args:
        name: Name of the model.
        packed: The model as it is packed.
        results: Text of a RESULTS.md.
        calibrated: Whether a calibration is packed with it.
        details: What its author adds.
        measured: Its error rates.
    """
    details = details or CardDetails()
    settings, model, asr = packed.settings, packed.model, packed.asr
    package_format = packed.package_format
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
    body = TEMPLATE.format(
        name=name,
        source=SOURCES.get(settings.get("sv_task", ""), "a speaker model"),
        encoder=asr.args.encoder if asr else settings.get("encoder", "student"),
        size=f"{blocks} of {backbone.block_dim}",
        embed_dim=model.head.embed_dim,
        parameters=_parameters(model, asr),
        joint=_joint(settings, asr, package_format, placeholders),
        **placeholders,
        sample_rate=backbone.sample_rate,
        speakers=_speakers(settings),
        pretrained=pretrained,
        verdict=(
            "score, llr, decision, threshold"
            if calibrated
            else "score, decision, threshold"
        ),
        stock=_stock(packed),
        results=_section(results) if results else "",
        licence=_licence(details),
        citation=CITATION,
    )
    return make_card(card_data(name, settings, details, measured, package_format), body)


def _stock(packed: PackedModel) -> str:
    """Return what ESPnet's own classes do with the speaker model."""
    if packed.package_format == "joint":
        return ""
    return ESPNET_LOADS if packed.espnet_loads else ESPNET_REFUSES


def _licence(details: CardDetails) -> str:
    if details.license is None:
        return UNKNOWN_LICENCE
    if details.license_name is None:
        return details.license
    return f"[{details.license_name}]({details.license_link})"


def _section(results: str) -> str:
    """Put the headings of a RESULTS.md below the card's."""
    return re.sub("^#", "##", f"\n{results.strip()}\n", flags=re.MULTILINE)


def _speakers(settings: dict) -> str:
    """Number of training speakers; each of their speeds is a class of its own."""
    classes = settings.get("spk_num")
    speeds = settings.get("speed_perturb_factors") or [1.0]
    if not isinstance(classes, int) or not isinstance(speeds, list):
        return "unknown"
    if len(speeds) < 2:
        return f"{classes:,}"
    return f"{classes // len(speeds):,}, at {len(speeds)} speeds"


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
        parts.append(STOCK.format(module=asr.task.recogniser_module))
    if package_format == "adaptor":
        parts.append(ATTACHED.format(name=name, sha256=asr.weights_sha256))
    return "".join(parts)
