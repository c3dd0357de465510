"""Files that the scoring tests read."""

from pathlib import Path

import numpy as np
import pytest
from kaldi_reference import kaldiio


class Folder:
    """Writes small input files into a temporary folder and names them."""

    def __init__(self, root: Path):
        self.root = root

    def text(self, name: str, *lines: str) -> str:
        (self.root / name).write_text("".join(f"{line}\n" for line in lines))
        return str(self.root / name)

    def embeddings(self, name: str, vectors: dict[str, np.ndarray]) -> str:
        """Write with kaldiio, the reference for the format, and return the scp."""
        scp = self.root / f"{name}.scp"
        kaldiio.save_ark(str(self.root / f"{name}.ark"), vectors, scp=str(scp))
        return str(scp)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)
