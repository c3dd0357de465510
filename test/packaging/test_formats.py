import shutil
import zipfile
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from espnet2.bin.asr_inference import Speech2Text
from espnet2.bin.s2t_inference import Speech2Text as OwsmSpeech2Text
from espnet2_sv import SpeakerVerifier, Speech2Embedding, Speech2TextEmbedding
from espnet2_sv.asr import load_asr_bundle, resolve_asr
from espnet2_sv.errors import SVError
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.tasks.adaptor import SVAdaptorTask

pytestmark = [
    pytest.mark.filterwarnings("ignore:Expanding a local model:UserWarning"),
    pytest.mark.execution_timeout(200),
]


@pytest.fixture
def audio(an4):
    return soundfile.read(an4["an251-fash-b"])[0]


@pytest.fixture
def packed(zoo, tmp_path, home):
    """A function that packs an adaptor and leaves nothing but the archive."""

    def pack(kind: str, package_format: str | None = None) -> Path:
        recipe = shutil.copytree(zoo.adaptor(kind).parents[1], tmp_path / "recipe")
        config = recipe / "exp/sv_adaptor/config.yaml"
        config.write_text(
            config.read_text().replace(str(zoo.asr(kind)), "exp/asr_train")
        )
        archive = tmp_path / "elsewhere" / f"{kind}.zip"
        pack_model(recipe / "exp/sv_adaptor", archive, package_format=package_format)
        shutil.rmtree(recipe)
        return archive

    return pack


@pytest.mark.parametrize("package_format", ["sv", "joint"])
@pytest.mark.parametrize("kind", ["ctc", "bpe", "transducer", "self_conditioned"])
def test_one_archive_is_all_that_is_needed(zoo, packed, audio, kind, package_format):
    expected = Speech2TextEmbedding.from_pretrained(zoo.adaptor(kind))(audio)
    archive = packed(kind, package_format)
    text, embedding = Speech2TextEmbedding.from_pretrained(archive)(audio)
    assert text == expected[0]
    torch.testing.assert_close(embedding, expected[1], atol=1e-6, rtol=1e-5)
    alone = Speech2Embedding.from_pretrained(str(archive))(audio)
    torch.testing.assert_close(alone, expected[1], atol=1e-6, rtol=1e-5)


def test_it_verifies_speakers_and_is_an_asr_model(zoo, packed, audio):
    archive = packed("ctc")
    assert (
        SpeakerVerifier.from_pretrained(archive).verify(audio, audio)["score"] > 0.999
    )
    assert (
        load_asr_bundle(archive).weights_sha256
        == load_asr_bundle(zoo.asr()).weights_sha256
    )


@pytest.mark.parametrize("kind", ["ctc", "bpe", "attention"])
def test_espnet_loads_the_asr_model_of_a_joint_archive(zoo, packed, audio, kind):
    options = {"beam_size": 3, "maxlenratio": 0.2}
    expected = zoo.stock(kind, **options)
    found = Speech2Text.from_pretrained(str(packed(kind, "joint")), **options)
    assert found(audio)[0][:3] == expected(audio)[0][:3]
    theirs = expected.asr_model.state_dict()
    for name, tensor in found.asr_model.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    encoded = [
        s.asr_model.encode(
            torch.tensor(audio)[None].float(), torch.tensor([len(audio)])
        )
        for s in (found, expected)
    ]
    assert torch.equal(encoded[0][0], encoded[1][0])


def test_espnet_loads_owsm_from_a_joint_archive(zoo, packed, audio):
    archive = packed("owsm", "joint")
    options = {"beam_size": 2, "maxlenratio": 0.02}
    expected = zoo.stock("owsm", **options)
    found = OwsmSpeech2Text.from_pretrained(str(archive), **options)
    assert found.best_path(audio) == expected.best_path(audio)
    assert found(audio)[0][:4] == expected(audio)[0][:4]
    both = Speech2TextEmbedding.from_pretrained(archive, decode="beam", **options)
    text, embedding = both(audio)
    assert text == expected(audio)[0][3]
    assert torch.equal(
        embedding,
        Speech2TextEmbedding.from_pretrained(
            zoo.adaptor("owsm"), decode="beam", **options
        )(audio)[1],
    )
    # of speech itself, without the silence that the recogniser pads it with
    alone = Speech2Embedding.from_pretrained(str(archive))(audio)
    unpadded = Speech2Embedding.from_pretrained(zoo.adaptor("owsm"))(audio)
    torch.testing.assert_close(alone, unpadded, atol=1e-6, rtol=1e-5)
    with zipfile.ZipFile(archive) as members:
        card = members.read("README.md").decode()
    assert "from espnet2.bin.s2t_inference import Speech2Text" in card


@pytest.mark.parametrize("package_format", ["sv", "joint"])
def test_an_archive_with_owsm_ctc(zoo, packed, audio, package_format):
    archive = packed("owsm_ctc", package_format)
    text, embedding = Speech2TextEmbedding.from_pretrained(archive)(audio)
    stock = zoo.stock("owsm_ctc", lang_sym="<nolang>", beam_size=2)
    assert text == stock.best_path(audio)[0][3]
    alone = Speech2Embedding.from_pretrained(str(archive))(audio)
    torch.testing.assert_close(alone, embedding, atol=1e-5, rtol=1e-4)
    with zipfile.ZipFile(archive) as members:
        meta = yaml.safe_load(members.read("meta.yaml"))
    if package_format == "sv":  # ESPnet's section names the speaker model
        section = meta["espnet2_sv"]
        assert section["s2t_train_config"] == "asr/config.yaml"
        assert section["s2t_model_file"] == "asr/model.pth"
        return
    assert meta["yaml_files"] == {"s2t_train_config": "asr/config.yaml"}
    assert meta["files"] == {"s2t_model_file": "asr/model.pth"}
    options = {"lang_sym": "<nolang>", "beam_size": 2}
    found = OwsmSpeech2Text.from_pretrained(str(archive), **options)
    assert found.ctc_only
    assert found.best_path(audio) == stock.best_path(audio)
    assert found(audio)[0][:4] == stock(audio)[0][:4]
    searched = Speech2TextEmbedding.from_pretrained(archive, decode="beam", **options)
    assert searched(audio)[0] == stock(audio)[0][3]


def test_the_adaptor_alone_is_small_and_attached_in_use(zoo, packed, audio):
    archive = packed("ctc", "adaptor")
    with pytest.raises(SVError, match=r"give the ASR model.*asr_train in training"):
        Speech2TextEmbedding.from_pretrained(archive)
    with pytest.raises(SVError, match="was trained on the ASR weights"):
        Speech2Embedding.from_pretrained(archive, asr=zoo.asr("legacy"))
    expected = Speech2TextEmbedding.from_pretrained(zoo.adaptor())(audio)
    found = Speech2TextEmbedding.from_pretrained(archive, asr=zoo.asr())(audio)
    assert found[0] == expected[0] and torch.equal(found[1], expected[1])
    embedding = Speech2Embedding.from_pretrained(archive, asr=zoo.asr())(audio)
    torch.testing.assert_close(embedding, expected[1])
    with zipfile.ZipFile(archive) as members:
        names = members.namelist()
        assert not any(name.startswith("asr/") for name in names)
        card = members.read("README.md").decode()
        members.extract("exp/sv_adaptor/valid.eer.best.pth", archive.parent)
    assert (
        load_asr_bundle(zoo.asr()).weights_sha256 in card and "--asr ASR_SOURCE" in card
    )
    state = torch.load(
        archive.parent / "exp/sv_adaptor/valid.eer.best.pth", weights_only=True
    )
    assert {name.split(".")[0] for name in state} == {"head", "backbone"}


def test_an_adaptor_without_its_classes_gets_new_ones(zoo, packed, tmp_path):
    args = SVAdaptorTask.get_parser().parse_args(["--output_dir", str(tmp_path)])
    args.init_sv, args.spk_num = str(packed("ctc", "adaptor")), 3
    with pytest.raises(SVError, match="give the ASR model that this adaptor reads"):
        SVAdaptorTask.build_model(args)
    args.asr = str(zoo.asr())
    model = SVAdaptorTask.build_model(args)
    trained, _ = load_speaker_model(zoo.adaptor())
    for name, tensor in trained.head.state_dict().items():
        assert torch.equal(model.head.state_dict()[name], tensor), name
    assert len(model.loss.weight) == 3


def test_a_tag_is_kept_as_the_way_to_the_asr_model(zoo, tmp_path):
    exp = shutil.copytree(zoo.adaptor(), tmp_path / "exp")
    config = yaml.safe_load((exp / "config.yaml").read_text())
    for source, kept in (
        ("espnet/some_tag", "espnet/some_tag"),
        ("/home/annabel/asr.zip", None),
    ):
        config["asr_init"]["source"] = source
        (exp / "config.yaml").write_text(yaml.safe_dump(config))
        pack_model(exp, tmp_path / "a.zip", package_format="adaptor")
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            text = archive.read("exp/exp/config.yaml").decode()
        assert yaml.safe_load(text)["asr"] == kept
        assert "annabel" not in text


def test_training_notes_the_source_of_a_resolved_model(zoo, tmp_path):
    resolve_asr(zoo.asr(), tmp_path / "resolved")
    args = SVAdaptorTask.get_parser().parse_args(["--output_dir", str(tmp_path)])
    args.asr, args.spk_num = str(tmp_path / "resolved"), 4
    SVAdaptorTask.build_model(args)
    assert args.asr_init["source"] == str(zoo.asr())


def test_nothing_tells_of_the_training_machine(zoo, packed, tmp_path):
    for package_format in ("sv", "joint", "adaptor"):
        with zipfile.ZipFile(packed("bpe", package_format)) as archive:
            for name in archive.namelist():
                if not name.endswith((".pth", ".npz", ".model", ".png")):
                    text = archive.read(name).decode()
                    assert str(tmp_path) not in text and str(zoo.root) not in text, name


def test_only_adaptors_have_formats(speaker_exp, zoo, tmp_path):
    with pytest.raises(SVError, match="no adaptor"):
        pack_model(speaker_exp, tmp_path / "a.zip", package_format="joint")
    with pytest.raises(SVError, match="no adaptor"):
        pack_model(speaker_exp, tmp_path / "a.zip", asr=zoo.asr())
    with pytest.raises(SVError, match="'tar' is unknown"):
        pack_model(zoo.adaptor(), tmp_path / "a.zip", package_format="tar")
    with pytest.raises(SVError, match="was trained on the ASR weights"):
        pack_model(zoo.adaptor(), tmp_path / "a.zip", asr=zoo.asr("attention"))
