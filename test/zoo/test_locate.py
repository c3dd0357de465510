import os

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import ModelFiles, locate

pytestmark = pytest.mark.execution_timeout(200)


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "package"
    (root / "data" / "bpe").mkdir(parents=True)
    (root / "data" / "bpe" / "bpe.model").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return ModelFiles(root / "config.yaml", root / "x.pth", root, {"files": {}})


@pytest.mark.parametrize(
    "value",
    [
        "data/bpe/bpe.model",
        "./data/bpe/bpe.model",
        "exp/asr_pretrained/data/bpe/bpe.model",  # as seen from the recipe
        "/home/ann/recipe/data/bpe/bpe.model",  # as training recorded it
    ],
)
def test_path_is_found_in_the_package(value, package):
    assert (
        locate(package, "bpemodel", value)
        == package.root / "data" / "bpe" / "bpe.model"
    )


@pytest.mark.parametrize("value", ["../secret", "data/../../secret"])
def test_path_that_leaves_the_package(value, package):
    with pytest.raises(SVError, match="bpemodel"):
        locate(package, "bpemodel", value)


@pytest.mark.parametrize(
    "value", ["{tmp}/secret", "/etc/passwd", "a\0b", "x" * 300, "x/" * 3000]
)
def test_path_that_is_elsewhere_or_impossible(value, package, tmp_path):
    assert locate(package, "bpemodel", value.format(tmp=tmp_path)) is None


def test_link_that_leaves_the_package(package, tmp_path):
    os.symlink(tmp_path / "secret", package.root / "link")
    assert locate(package, "bpemodel", "link") is None


def test_path_that_is_not_there(package):
    assert locate(package, "bpemodel", "data/other.model") is None


def test_training_run_starts_from_its_recipe(tmp_path, monkeypatch):
    recipe = tmp_path / "recipe"
    exp = recipe / "exp" / "asr"
    exp.mkdir(parents=True)
    (recipe / "data").mkdir()
    (recipe / "data" / "bpe.model").write_text("recipe")
    files = ModelFiles(exp / "config.yaml", exp / "x.pth", exp, {})
    monkeypatch.chdir(tmp_path)
    assert locate(files, "bpemodel", "data/bpe.model").samefile(
        recipe / "data" / "bpe.model"
    )
    absolute = str(recipe / "data" / "bpe.model")
    assert str(locate(files, "bpemodel", absolute)) == absolute
    assert locate(files, "bpemodel", "data/none.model") is None
