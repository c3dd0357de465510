import os
import zipfile
from pathlib import Path

import pytest
import yaml

from espnet2.main_funcs.pack_funcs import pack
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import find_model_files


def write_meta(folder, config="config.yaml", weights="model.pth", kind="asr"):
    prefix = "asr_" if kind == "asr" else ""
    meta = {
        "yaml_files": {f"{prefix}train_config": str(config)},
        "files": {f"{prefix}model_file": str(weights)},
    }
    (folder / "meta.yaml").write_text(yaml.safe_dump(meta))


@pytest.fixture
def package(tmp_path):
    """An unpacked model, outside of which lies a file that it must not reach."""
    folder = tmp_path / "package"
    folder.mkdir()
    for name in ("package/config.yaml", "package/model.pth", "secret"):
        (tmp_path / name).write_text("a: 1")
    write_meta(folder)
    return folder


def zip_of(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return path


def test_unpacked_directory(package):
    files = find_model_files(package, "asr")
    assert (files.config, files.weights) == (
        package / "config.yaml",
        package / "model.pth",
    )
    assert files.root == package
    assert files.packed


def test_speaker_model(package):
    write_meta(package, kind="sv")
    assert find_model_files(package, "sv").weights == package / "model.pth"
    with pytest.raises(SVError, match="has no asr_train_config"):
        find_model_files(package, "asr")


def test_archive_is_unpacked_once(package, tmp_path):
    path = zip_of(package)
    files = find_model_files(path, "asr")
    assert files.weights.read_text() == "a: 1"
    assert files.root.is_relative_to(tmp_path / "cache")
    written = files.weights.stat().st_ino
    moved = path.rename(tmp_path / "other.zip")
    assert find_model_files(moved, "asr").weights.stat().st_ino == written


def test_archive_unpacks_to_a_chosen_folder(package, tmp_path):
    files = find_model_files(zip_of(package), "asr", workdir=tmp_path / "here")
    assert files.config == tmp_path / "here" / "config.yaml"
    assert not (tmp_path / "cache").exists()


def test_changed_archive_is_another_model(package):
    first = find_model_files(zip_of(package), "asr")
    (package / "model.pth").write_text("b: 2")
    second = find_model_files(zip_of(package), "asr")
    assert (first.weights.read_text(), second.weights.read_text()) == ("a: 1", "b: 2")


@pytest.mark.parametrize("role", ["config", "weights"])
@pytest.mark.parametrize("name", ["../secret", "{tmp}/../secret", "a/../../secret"])
@pytest.mark.parametrize("packed", [True, False])
def test_names_that_leave_the_folder(role, name, packed, package, tmp_path):
    write_meta(package, **{role: name.format(tmp=tmp_path)})
    with pytest.raises(SVError, match=r"refused.*leads out") as e:
        find_model_files(zip_of(package) if packed else package, "asr")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("role", ["config", "weights"])
def test_absolute_names_start_at_the_folder(role, package, tmp_path):
    write_meta(package, **{role: str(tmp_path / "secret")})
    with pytest.raises(SVError, match="names a missing file"):
        find_model_files(package, "asr")


@pytest.mark.parametrize("linked", [True, False])
def test_packed_by_espnet_from_outside_of_the_recipe(
    linked, package, tmp_path, monkeypatch
):
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    monkeypatch.chdir(recipe)
    exp = package
    if linked:  # to a larger disk, as usual on clusters
        exp = Path("exp")
        exp.symlink_to(package)
    pack(
        files={"asr_model_file": exp / "model.pth"},
        yaml_files={"asr_train_config": exp / "config.yaml"},
        outpath=tmp_path / "asr.zip",
    )
    files = find_model_files(tmp_path / "asr.zip", "asr")
    assert files.config.is_relative_to(tmp_path / "cache")
    assert (files.config.name, files.weights.name) == ("config.yaml", "model.pth")


def test_link_that_leaves_the_folder(package, tmp_path):
    (package / "model.pth").unlink()
    os.symlink(tmp_path / "secret", package / "model.pth")
    with pytest.raises(SVError, match="leads out"):
        find_model_files(package, "asr")


def test_snapshot_of_the_hub_links_to_its_blobs(package, tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name in ("config.yaml", "model.pth", "meta.yaml"):
        (package / name).rename(blobs / name)
        os.symlink(f"../../blobs/{name}", snapshot / name)
    assert find_model_files(snapshot, "asr").weights.read_text() == "a: 1"


@pytest.mark.parametrize(
    "meta", ["files: 3", "yaml_files: {asr_train_config: [x]}", "a"]
)
def test_meta_of_another_shape(meta, package):
    (package / "meta.yaml").write_text(meta)
    with pytest.raises(SVError, match=r"meta\.yaml"):
        find_model_files(package, "asr")


def test_named_file_is_missing(package):
    (package / "model.pth").unlink()
    with pytest.raises(SVError, match="missing file"):
        find_model_files(package, "asr")


def test_archive_without_meta(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme", "")
    for _ in range(2):  # the second time as the first
        with pytest.raises(SVError, match=r"no meta\.yaml"):
            find_model_files(tmp_path / "x.zip", "asr")


@pytest.mark.parametrize(
    ("kinds", "present", "taken"),
    [
        (
            "asr",
            ["valid.acc.ave.pth", "valid.acc.best.pth", "latest.pth"],
            "valid.acc.ave.pth",
        ),
        (
            "asr",
            ["valid.acc.best.pth", "valid.loss.ave.pth", "latest.pth"],
            "valid.acc.best.pth",
        ),
        (
            "asr",
            ["valid.cer_ctc.ave_10best.pth", "latest.pth"],
            "valid.cer_ctc.ave_10best.pth",
        ),
        ("asr", ["valid.loss.best.pth", "latest.pth"], "valid.loss.best.pth"),
        ("asr", ["1epoch.pth", "latest.pth"], "latest.pth"),
        ("sv", ["valid.eer.ave.pth", "valid.eer.best.pth"], "valid.eer.ave.pth"),
        (
            "sv",
            ["valid.acc.best.pth", "valid.eer.best.pth", "latest.pth"],
            "valid.eer.best.pth",
        ),
    ],
)
def test_weights_of_a_training_run(kinds, present, taken, tmp_path):
    for name in [*present, "config.yaml"]:
        (tmp_path / name).write_text("a: 1")
    files = find_model_files(tmp_path, kinds)
    assert files.weights == tmp_path / taken
    assert not files.packed


def test_training_run_without_weights(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1")
    with pytest.raises(SVError, match="no weights yet"):
        find_model_files(tmp_path, "asr")


def test_directory_of_something_else(tmp_path):
    with pytest.raises(SVError, match="neither"):
        find_model_files(tmp_path, "asr")


@pytest.mark.parametrize(
    "source", ["./no/such.zip", "no_such_folder", "~/no/such/model"]
)
def test_missing_path(source):
    with pytest.raises(SVError, match="no such file"):
        find_model_files(source, "asr")


def test_a_cache_that_cannot_be_written_says_how_to_choose_another(
    package, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SVError, match="XDG_CACHE_HOME"):
        find_model_files(zip_of(package), "asr")


@pytest.mark.parametrize("source", ["a\0b", "x" * 5000, "./" + "y/" * 3000])
def test_names_that_no_file_can_have(source):
    with pytest.raises(SVError) as e:
        find_model_files(source, "asr")
    assert "\n" not in str(e.value)
