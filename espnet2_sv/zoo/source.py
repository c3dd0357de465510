"""A speaker model's source, resolved once to everything that loading it needs."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import (
    ModelFiles,
    find_model_files,
    find_package,
    holds_kind,
)

# Values of ``sv_task`` in the configuration of a speaker model
SV_TASKS = ("scratch", "transfer", "adaptor", "distill")
# A model of ESPnet's own speaker task, which records no sv_task
STOCK_TASK = "spk"
Source = str | os.PathLike


@dataclass(frozen=True)
class SpeakerSource:
    """A speaker model on disk.

    Attributes:
        files: Its configuration and weights.
        task: The ``sv_task`` that trained it, one of :data:`SV_TASKS`; or
            :data:`STOCK_TASK`, for a model of ESPnet's own speaker task.
        asr: The ASR model that an adaptor reads; None for other models.
    """

    files: ModelFiles
    task: str
    asr: ModelFiles | None = None

    @classmethod
    def resolve(
        cls,
        source: Source,
        model_file: Source | None = None,
        asr: Source | None = None,
        workdir: Source | None = None,
    ) -> "SpeakerSource":
        """Find a speaker model and, for an adaptor, its ASR model.

        Args:
            source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory
                with ``meta.yaml`` or the ``exp/`` directory of a training run.
            model_file: Weights other than the best of a training run.
            asr: The ASR model that an adaptor reads, from any source. By default the
                one in the adaptor's package, or else the one that its training used.
            workdir: Where to unpack an archive, see
                :func:`espnet2_sv.zoo.files.find_model_files`.

        Raises:
            SVError: This is no speaker model of this project or of ESPnet's speaker
                task, the adaptor's ASR model cannot be found, or an ASR model is given
                to another kind of model.
        """
        files = find_model_files(source, "sv", workdir)
        if model_file is not None:
            files = replace(files, weights=_existing(model_file))
        package = files.root if files.packed else None
        return cls._of(files, package, asr)

    @classmethod
    def find(cls, source: Source) -> "SpeakerSource":
        """Find a speaker model alone; see :meth:`resolve`.

        Returns:
            The model, for an adaptor without its ASR model.
        """
        files = find_model_files(source, "sv")
        return cls(files, speaker_task(files))

    @classmethod
    def from_files(
        cls, config: Source, weights: Source, asr: Source | None = None
    ) -> "SpeakerSource":
        """Take a speaker model by its two files; see :meth:`resolve`."""
        config, weights = _existing(config), _existing(weights)
        files = ModelFiles(config, weights, config.parent, {})
        return cls._of(files, find_package(config), asr)

    @classmethod
    def _of(
        cls, files: ModelFiles, package: Path | None, asr: Source | None
    ) -> "SpeakerSource":
        task = speaker_task(files)
        if task == "adaptor":
            return cls(files, task, _asr_of_adaptor(files, package, asr))
        if asr is not None:
            raise SVError(
                f"{files.config}: is no adaptor (sv_task {task}), so it needs no ASR"
                " model in use; leave asr out"
            )
        return cls(files, task)

    @property
    def settings(self) -> dict[str, Any]:
        """Contents of the configuration."""
        return self.files.settings

    @property
    def folder(self) -> Path:
        """Where the configuration is, and its calibration and threshold."""
        return self.files.config.parent

    def joint_asr(self) -> ModelFiles:
        """Return the ASR model that gives text along with the embedding.

        Raises:
            SVError: This is not an adaptor.
        """
        if self.asr is None:
            raise SVError(
                f"{self.files.config}: is a speaker model of its own (sv_task"
                f" {self.task}); only an adaptor gives text and embedding in one pass"
            )
        return self.asr

    def require_own(self, advice: str) -> None:
        """Refuse a model of ESPnet's own speaker task.

        Args:
            advice: Why it cannot be used, and what to do.

        Raises:
            SVError: It is one.
        """
        if self.task == STOCK_TASK:
            raise SVError(
                f"{self.files.config}: is a model of ESPnet's own speaker task;"
                f" {advice}"
            )

    def fingerprint(self) -> list[str]:
        """Return hashes that differ where embeddings may differ.

        An adaptor's weights hold the hash of the ASR weights that they belong to.
        """
        return self.files.fingerprint()


def speaker_task(files: ModelFiles) -> str:
    """Return the task that trained a speaker model, see :class:`SpeakerSource`.

    Raises:
        SVError: This is the configuration of another kind of model.
    """
    settings = files.settings
    task = settings.get("sv_task")
    if task is None and _is_stock(settings):
        return STOCK_TASK
    if not isinstance(task, str):
        raise SVError(
            f"{files.config}: has no sv_task, so it is not the configuration of an"
            " espnet2_sv speaker model, nor does it look like one of ESPnet's own"
        )
    if task not in SV_TASKS:
        raise SVError(
            f"{files.config}: sv_task {task!r} is unknown; known are"
            f" {', '.join(SV_TASKS)}"
        )
    return task


def _is_stock(settings: dict[str, Any]) -> bool:
    """Whether ESPnet's speaker task wrote a configuration.

    Its language identification has the same parts, but no speakers.
    """
    parts = ("encoder", "pooling", "projector")
    return "spk_num" in settings and all(
        isinstance(settings.get(part), str) for part in parts
    )


def _existing(path: Source) -> Path:
    if not os.path.isfile(path):
        raise SVError(
            f"{path}: no such file; give the exp directory or the packed zip of a model"
        )
    return Path(path)


def _asr_of_adaptor(
    files: ModelFiles, package: Path | None, asr: Source | None
) -> ModelFiles:
    if asr:
        return find_model_files(asr, "asr")
    if package is not None and holds_kind(package, "asr"):
        return find_model_files(package, "asr")
    recorded = files.settings.get("asr")
    try:
        if not recorded or not isinstance(recorded, str):
            raise SVError("the package holds the adaptor alone")
        return find_model_files(_seen_from(files.config, recorded), "asr")
    except SVError as e:
        init = files.settings.get("asr_init")
        name = (init.get("source") if isinstance(init, dict) else None) or recorded
        raise SVError(
            f"{files.config}: give the ASR model that this adaptor reads (--asr or"
            f" asr=); it was {name} in training ({e})"
        ) from e


def _seen_from(config: Path, recorded: str) -> str:
    """Find a recorded path from the current folder or one above the configuration.

    A source that is not a path here, such as a tag, is returned as it is.
    """
    starts = [Path(), *config.resolve().parents]
    paths = (start / recorded for start in starts)
    return str(next((path for path in paths if os.path.exists(path)), recorded))
