"""Uploading a packed model to a Hub repository."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import find_model_files
from espnet2_sv.zoo.unpacking import unpack

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")  # e.g. espnet/voxceleb_sv_transfer


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
    api=None,
) -> Upload:
    """Unpack a model and push its files to a model repository; create it if needed.

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


def _api():
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise SVError("there is no Hub token; run 'hf auth login' or set HF_TOKEN")
    return HfApi(token=token)


def _push(api, folder: Path, repository: str, private: bool) -> str:
    try:
        url = api.create_repo(
            repository, repo_type="model", private=private, exist_ok=True
        )
        api.upload_folder(
            repo_id=repository,
            repo_type="model",
            folder_path=str(folder),
            commit_message="Upload a speaker verification model packed by espnet2_sv",
        )
    # network, permissions, quota: each library layer has its own classes
    except Exception as e:
        reason = " ".join(str(e).split())
        raise SVError(
            f"the Hub refused {repository}: {reason}; check token and rights"
        ) from e
    return str(url)
