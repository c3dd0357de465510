"""Small corpora in the official layouts."""

import dataclasses
import shutil
import zipfile

import pytest

from espnet2_sv.data.corpora.voxceleb.plan import Plan

SMALL = {
    "dev_speakers": 4,
    "test_speakers": 4,
    "seconds": (0.2, 0.3),
    "trials": 30,
    "noises": 2,
}


@pytest.fixture(scope="session")
def tree(voxceleb_tree, tmp_path_factory):
    """Ten speakers of VoxCeleb2 in m4a, eight of VoxCeleb1; not to be changed."""
    return voxceleb_tree.make_tree(tmp_path_factory.mktemp("tree") / "t", 10, **SMALL)


@pytest.fixture(scope="session")
def archives(voxceleb_tree, tmp_path_factory):
    """The same, as archives."""
    root = tmp_path_factory.mktemp("archives") / "t"
    return voxceleb_tree.make_tree(root, 10, archives=True, **SMALL)


@pytest.fixture
def own_tree(tree, tmp_path):
    """A copy of the tree for one test."""
    shutil.copytree(tree.root, tmp_path / "own")
    places = ("root", "voxceleb1", "voxceleb2", "trial_lists", "musan", "rirs")
    moved = {
        p: tmp_path / "own" / getattr(tree, p).relative_to(tree.root) for p in places
    }
    return dataclasses.replace(tree, **moved)


@pytest.fixture
def plan(tree, tmp_path):
    """A plan that fits the tree."""
    return Plan(
        trial_lists=str(tree.trial_lists),
        valid_speakers=3,
        calib_speakers=2,
        valid_utterances=3,
        calib_utterances=2,
        cohort_utterances=1,
        allow_incomplete=True,
        unpack_dir=str(tmp_path / "unpacked"),
        nj=2,
    )


@pytest.fixture
def make_zip(tmp_path):
    """Return a function that writes a zip, whole or in parts, and returns the paths."""

    def make(contents, parts=1, name="vox1_dev_wav"):
        whole = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in contents.items():
                archive.writestr(file, content)
        if parts == 1:
            return [whole]
        data = whole.read_bytes()
        whole.unlink()
        size = -(-len(data) // parts)
        paths = []
        for i in range(parts):
            paths.append(tmp_path / f"{name}_parta{chr(97 + i)}")
            paths[-1].write_bytes(data[i * size : (i + 1) * size])
        return paths

    return make
