"""Fetching a published model by its tag."""

import os
from pathlib import Path

from espnet2_sv.errors import SVError

_HUB = "https://huggingface.co/"


def download(tag: str) -> Path:
    """Download a model, or find it in the downloader's cache.

    Args:
        tag: A tag of ESPnet's model zoo (``kamo-naoyuki/wsj``), a Hugging Face Hub
            repository (``espnet/owsm_v3``, with ``@revision`` if wanted), or a URL of
            either.

    Returns:
        An archive, or the folder of a Hub snapshot.

    Raises:
        SVError: It is not a tag, or cannot be fetched.
    """
    if looks_like_a_path(tag):
        raise SVError(f"{tag}: no such file or directory")
    from espnet_model_zoo.downloader import ModelDownloader

    try:
        downloader = ModelDownloader()
        url = downloader.get_url(name=tag)
        if "huggingface.co" not in url:
            return Path(downloader.download(tag))
        # only download: the downloader's unpacking would follow any path in meta.yaml
        repository = next((x for x in (tag, url) if x.startswith(_HUB)), tag)
        return Path(downloader.huggingface_download(name=repository.removeprefix(_HUB)))
    # the network, the Hub client and the model table raise all kinds of errors
    except Exception as e:
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise SVError(
            f"{tag}: neither a file nor a model that can be fetched ({reason})"
        ) from e


def looks_like_a_path(tag: str) -> bool:
    """Whether it can only be a path, e.g. ``./x``, ``exp/asr/model.zip``, ``a/b/c``."""
    if tag.startswith(("http://", "https://")):
        return False
    return (
        tag.startswith((".", "/", "~"))
        or tag.endswith((".zip", ".pth", os.sep))
        or "/" not in tag
        or tag.count("/") > 1
    )
