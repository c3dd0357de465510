"""Uploading a packed model to a Hub repository."""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import find_model_files
from espnet2_sv.zoo.unpacking import unpack

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")  # e.g. espnet/voxceleb_sv_transfer
# A Hub that is silent for this long is asked again, and given up after some tries
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Upload:
    """An upload, or what a dry run would upload.

    Attributes:
        files: Names and sizes in bytes.
        url: URL of the repository; None in a dry run.
    """

    files: list[tuple[str, int]]
    url: str | None


def upload_model(
    archive: str | Path,
    repository: str,
    *,
    dry_run: bool = False,
    private: bool = False,
    api: "HfApi | None" = None,
) -> Upload:
    """Unpack a model and push its files to a model repository; create it if needed.

    The Hub checks the model card first. Files that the repository has already are not
    sent again.

    Args:
        archive: A zip made by ``sv_pack``.
        repository: ``ORGANISATION/NAME``.
        dry_run: Only list what would be uploaded, without network and token.
        private: Make a new repository private.
        api: A ``huggingface_hub.HfApi``; by default one with the token of this machine.

    Raises:
        SVError: The archive is not a speaker model, there is no token, or the Hub
            refuses.
    """
    if not REPOSITORY.fullmatch(repository):
        raise SVError(f"repo {repository!r} is not understood; write ORGANISATION/NAME")
    if not dry_run and api is None:
        api = _api()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "model")
        unpack(archive, folder)
        find_model_files(folder, "sv")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        listing = [
            (path.relative_to(folder).as_posix(), path.stat().st_size) for path in files
        ]
        url = None if dry_run else _push(api, folder, repository, private)
    return Upload(listing, url)


def _api() -> "HfApi":
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise SVError("there is no Hub token; run 'hf auth login' or set HF_TOKEN")
    return HfApi(token=token)


def _push(api: "HfApi", folder: Path, repository: str, private: bool) -> str:
    try:
        with _timeout(TIMEOUT_SECONDS):
            _check_card(folder / "README.md")
            url = api.create_repo(
                repository, repo_type="model", private=private, exist_ok=True
            )
            api.upload_folder(
                repo_id=repository,
                repo_type="model",
                folder_path=str(folder),
                commit_message="Upload a speaker model packed by espnet2_sv",
            )
    except SVError:
        raise
    # network, permissions, quota: each library layer has its own classes
    except Exception as e:
        raise SVError(
            f"the Hub refused {repository}: {_reason(e)}; check token and rights, or"
            " try again later"
        ) from e
    return str(url)


def _check_card(path: Path) -> None:
    """Have the Hub check a model card, if there is one.

    Raises:
        SVError: The Hub does not accept its metadata.
    """
    from huggingface_hub import ModelCard

    if not path.exists():
        return
    try:
        ModelCard.load(path).validate()
    except ValueError as e:
        reason = str(e)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            problems = json.loads(reason)["errors"]
            reason = "; ".join(str(problem["message"]) for problem in problems)
        reason = " ".join(reason.split())[:500]
        raise SVError(
            f"{path.name}: the Hub does not accept its metadata: {reason}; pack the"
            " model again with other options for the model card"
        ) from e


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Give up waiting for a silent Hub; by default its client waits forever."""
    from huggingface_hub import get_session

    session = get_session()
    before, session.timeout = session.timeout, seconds
    try:
        yield
    finally:
        session.timeout = before


def _reason(error: BaseException) -> str:
    """Return what went wrong, from the innermost cause that says something."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split()) or type(cause).__name__
        texts.append(text.removesuffix("."))
        cause = cause.__cause__
    return ": ".join(dict.fromkeys(texts))[:500]
