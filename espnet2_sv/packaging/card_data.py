"""Metadata of a model card: what the Hub shows, filters and searches by."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.results import SCORE_KINDS, read_metrics
from espnet2_sv.zoo.download import looks_like_a_path

# e.g. apache-2.0, cc-by-4.0, other
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
# ISO 639 codes, e.g. en, zh, yue; the Hub also knows these two
_LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual|code")
# e.g. mozilla-foundation/common_voice_17_0, librispeech_asr
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_METRICS_IN_EXP = "inference/*/*/metrics.json"  # SET/KIND, as the recipes write them
# Key in metrics.json, type and name of the metric, its arguments
_METRICS: tuple[tuple[str, str, str, dict[str, float] | None], ...] = (
    ("eer", "eer", "EER (%)", None),
    ("mindcf_p01", "mindcf", "minDCF 0.01", {"p_target": 0.01}),
    ("mindcf_p05", "mindcf", "minDCF 0.05", {"p_target": 0.05}),
)
_TASKS = {"transfer": "finetune", "adaptor": "adapter"}  # base_model_relation


@dataclass(frozen=True)
class CardDetails:
    """What only the author of a model knows; the card leaves out what is not given.

    Attributes:
        license: Identifier of the Hub, e.g. ``cc-by-4.0``; ``other`` with a name and a
            link.
        license_name: Name of a licence that the Hub does not list.
        license_link: Its URL, or the name of a file in the package.
        language: ISO 639 codes of the training speech.
        datasets: Hub identifiers of the training data.
        base_model: Hub identifier of the model that training started from, if its tag
            is not in the configuration.
        metrics: Files that sv_metrics wrote, as ``SET/KIND/metrics.json``; by default
            those of the training run, if its best weights are packed.
    """

    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    language: Sequence[str] = ()
    datasets: Sequence[str] = ()
    base_model: str | None = None
    metrics: Sequence[str | Path] = ()

    def __post_init__(self):
        """Check everything that the Hub would refuse.

        Raises:
            SVError: Something is not written as the Hub wants it.
        """
        if self.license is not None:
            _require(_LICENSE, "license", self.license, "cc-by-4.0")
        for language in self.language:
            _require(_LANGUAGE, "language", language, "en, an ISO 639 code")
        for name in self.datasets:
            _require(_HUB_ID, "dataset", name, "ORGANISATION/NAME of a Hub dataset")
        if self.base_model is not None:
            _require(_HUB_ID, "base_model", self.base_model, "ORGANISATION/NAME")
        named = (self.license_name is None, self.license_link is None)
        if self.license == "other" and any(named):
            raise SVError("license other: give its license_name and license_link, too")
        if self.license != "other" and not all(named):
            raise SVError("license_name, license_link: only with license other")


def _require(pattern: re.Pattern, option: str, value: str, example: str) -> None:
    if not pattern.fullmatch(value):
        raise SVError(f"{option} {value!r} is not understood; write e.g. {example}")


def card_data(
    name: str,
    settings: dict[str, Any],
    details: CardDetails,
    results: Iterable[EvalResult],
    package_format: str,
) -> ModelCardData:
    """Return the metadata of a model card.

    Args:
        name: Name of the model.
        settings: Its training settings.
        details: What its author adds.
        results: Measured error rates, see :func:`eval_results`.
        package_format: How it is packed. With ``"joint"`` the labels are those of an
            ASR model, because ``espnet.load`` takes ESPnet's class from them.
    """
    joint = package_format == "joint"
    task = settings.get("sv_task", "")
    base_model = details.base_model or base_model_tag(settings)
    results = list(results)
    return ModelCardData(
        language=_one_or_all(details.language),
        license=details.license,
        license_name=details.license_name,
        license_link=details.license_link,
        library_name="espnet",
        pipeline_tag=(
            "automatic-speech-recognition" if joint else "audio-classification"
        ),
        tags=[
            "espnet",
            "espnet2_sv",
            "audio",
            *(["automatic-speech-recognition"] if joint else ["speaker-verification"]),
            "speaker-embedding",
        ],
        datasets=list(details.datasets) or None,
        base_model=base_model,
        base_model_relation=_TASKS.get(task) if base_model else None,
        metrics=list(dict.fromkeys(r.metric_type for r in results)) or None,
        model_name=name if results else None,
        eval_results=results or None,
    )


def _one_or_all(values: Sequence[str]) -> str | list[str] | None:
    return list(values) if len(values) > 1 else next(iter(values), None)


def base_model_tag(settings: dict[str, Any]) -> str | None:
    """Return the Hub tag of the ASR model that training started from, if it has one."""
    source = (settings.get("asr_init") or {}).get("source") or ""
    tag = source.removeprefix("https://huggingface.co/").partition("@")[0]
    if not tag or looks_like_a_path(tag) or Path(tag).exists():
        return None
    return tag if _HUB_ID.fullmatch(tag) and not tag.startswith("exp/") else None


def measured_metrics(exp: Path) -> list[Path]:
    """Return the metrics.json of a training run's test sets."""
    return sorted(exp.glob(_METRICS_IN_EXP))


def eval_results(metrics: Iterable[str | Path]) -> list[EvalResult]:
    """Read measured error rates.

    Args:
        metrics: Files that sv_metrics wrote, as ``SET/KIND/metrics.json``.

    Returns:
        EER in percent and minDCF of each file, as far as they were measured; of each
        set, those of plain cosine scores come first.

    Raises:
        SVError: A file cannot be read or is not a metrics.json.
    """
    found = []
    for path in _plain_first([Path(path) for path in metrics]):
        content, kind = read_metrics(path), path.absolute().parent.name
        name = content["list"]["name"] or path.absolute().parents[1].name
        for key, metric, title, arguments in _METRICS:
            if content[key] is None:
                continue
            found.append(
                EvalResult(
                    task_type="speaker-verification",
                    task_name="Speaker verification",
                    dataset_type=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
                    dataset_name=name,
                    dataset_args={
                        "target": int(content["n_target"]),
                        "nontarget": int(content["n_nontarget"]),
                    },
                    metric_type=metric,
                    metric_name=f"{title}, {SCORE_KINDS.get(kind, kind)}",
                    metric_value=round(float(content[key]), 4),
                    metric_args=arguments,
                )
            )
    return found


def _plain_first(metrics: list[Path]) -> list[Path]:
    """Sort files by the kind of scores, without changing the order of the sets."""
    sets = list(dict.fromkeys(path.absolute().parents[1] for path in metrics))
    kinds = list(SCORE_KINDS)

    def key(path: Path) -> tuple[int, int]:
        folder = path.absolute().parent
        rank = kinds.index(folder.name) if folder.name in kinds else len(kinds)
        return sets.index(folder.parent), rank

    return sorted(metrics, key=key)


def make_card(data: ModelCardData, body: str) -> str:
    """Join metadata and text to a card.

    Args:
        data: The metadata.
        body: Markdown.
    """
    card = f"---\n{data.to_yaml()}\n---\n\n{body}"
    check_card(card)
    return card


def check_card(content: str, where: str = "the model card") -> ModelCard:
    """Parse a card as the Hub does.

    Args:
        content: Markdown with metadata.
        where: What messages call it.

    Raises:
        SVError: Its metadata are not YAML, or its results are not a model-index.
    """
    try:
        card = ModelCard(content)
        index = card.data.to_dict().get("model-index")
        if index:
            model_index_to_eval_results(index)
    except Exception as e:  # YAML, lists of results: each has its own classes
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise SVError(f"{where}: its metadata cannot be read: {reason}") from e
    return card
