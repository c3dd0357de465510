"""The pieces of the recipe fotaq: its controls, comparisons and pictures."""

import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from espnet2.tasks.asr import ASRTask
from espnet2.train.reporter import Reporter
from espnet2_sv.bin import sv_joint
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.embeddings import read_embeddings

pytestmark = pytest.mark.execution_timeout(600)

LOCAL = Path(__file__).resolve().parents[2] / "egs2/fotaq/sv1/local"
sys.path.insert(0, str(LOCAL))  # the scripts import each other


def local(name: str):
    """Import a script of the recipe."""
    spec = importlib.util.spec_from_file_location(name, LOCAL / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(**values) -> list[str]:
    """Command-line options; a list is several words."""
    lists = {k: v if isinstance(v, list) else [v] for k, v in values.items()}
    return [
        str(word) for name, words in lists.items() for word in (f"--{name}", *words)
    ]


def espnet_start(
    config: Path, corpus, folder: Path, seed: int
) -> dict[str, torch.Tensor]:
    """Initial weights of an ESPnet ASR training: its learning rate is 0."""
    names = [
        line.split()[0] for line in (corpus.root / "wav.scp").read_text().splitlines()
    ]
    text = write(folder / "text", "".join(f"{name} AB\n" for name in names))
    known = ASRTask.get_default_config()
    settings = yaml.safe_load(config.read_text()).items()
    config = write(
        folder / "a.yaml", yaml.safe_dump({k: v for k, v in settings if k in known})
    )
    call = options(config=config, output_dir=folder, ngpu=0, seed=seed, num_workers=0)
    call += options(optim="sgd", optim_conf="lr=0", scheduler="none", max_epoch=1)
    call += options(num_att_plot=0, use_matplotlib="false", use_tensorboard="false")
    call += options(num_iters_per_epoch=1, batch_type="unsorted", batch_size=4)
    for part in ("train", "valid"):
        call += options(**{f"{part}_shape_file": corpus.root / "wav.scp"})
        for data in (f"{corpus.root}/wav.scp,speech,sound", f"{text},text,text"):
            call += options(**{f"{part}_data_path_and_name_and_type": data})
    program = [sys.executable, "-m", "espnet2.bin.asr_train"]
    subprocess.run([*program, *call], check=True, capture_output=True)
    return torch.load(folder / "1epoch.pth", weights_only=True)


def test_untrained_weights_are_those_that_espnet_s_training_starts_from(
    zoo, corpus, tmp_path
):
    config = zoo.absolute_config("attention")
    drawn = {}
    for name, seed in (("0", 0), ("0_again", 0), ("1", 1)):
        output = tmp_path / f"{name}.pth"
        local("random_asr").main(options(config=config, output=output, seed=seed))
        drawn[name] = torch.load(output, weights_only=True)
    assert (tmp_path / "0.pth").read_bytes() == (tmp_path / "0_again.pth").read_bytes()
    start = espnet_start(config, corpus, tmp_path / "espnet", 1)
    assert start.keys() == drawn["1"].keys()
    for key, value in start.items():
        if (
            "running_" not in key and "num_batches" not in key
        ):  # one batch has been seen
            assert torch.equal(drawn["1"][key], value), key
    differs = [
        key for key, value in start.items() if not torch.equal(drawn["0"][key], value)
    ]
    assert len(differs) > 30
    assert not any(key.startswith("normalize.") for key in differs)


def test_a_configuration_that_does_not_fit_is_named(tmp_path):
    random_asr = local("random_asr")
    for text, message in (
        (None, "cannot be read"),
        ("a: b", "is not the configuration of an ASR"),
    ):
        config = tmp_path / "config.yaml"
        if text:
            config.write_text(text)
        with pytest.raises(SVError, match=f"config.yaml: {message}"):
            random_asr.main(options(config=config, output=tmp_path / "x.pth"))


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_error_rates_are_those_counted_by_hand(tmp_path):
    reference = write(tmp_path / "text", "a HE SAID NO\nb YES\n")
    alone = write(
        tmp_path / "alone", "a HE SAD NO NO\nb\n"
    )  # 1 - and 3 + characters, then 3 -
    joint = write(tmp_path / "joint", "b YES\na HE SAD NO NO\n")
    output = tmp_path / "recognition.json"
    greedy = options(compare=["seen", "greedy", reference, alone, joint])
    beam = options(compare=["seen", "beam", reference, joint, joint])
    local("error_rates").main([*greedy, *beam, *options(output=output)])
    found = json.loads(output.read_text())["seen"]
    assert found["greedy"]["alone"] == {
        "cer": pytest.approx(100 * 7 / 13),
        "wer": pytest.approx(100 * 3 / 4),
    }
    assert found["greedy"]["joint"] == {
        "cer": pytest.approx(400 / 13),
        "wer": pytest.approx(50.0),
    }
    assert found["greedy"]["characters"] == 13
    assert found["greedy"]["words"] == 4
    assert [found[d]["equal_texts"] for d in ("greedy", "beam")] == [1, 2]
    short = write(tmp_path / "short", "a HE\n")
    with pytest.raises(SVError, match="short: has no b of"):
        local("error_rates").compare(reference, short, joint)


def test_error_rates_of_other_models_stand_beside_them(tmp_path):
    reference = write(tmp_path / "text", "a HE SAID NO\nb YES\n")
    other = write(tmp_path / "other", "b\na HE SAID NO\n")  # 3 of 13 characters
    same = options(compare=["seen", "greedy", reference, reference, reference])
    rates = local("error_rates")
    output = tmp_path / "rates.json"
    rates.main([*same, *options(other=["asr_early", reference, other], output=output)])
    found = json.loads(output.read_text())
    assert found["others"] == {
        "asr_early": {"cer": pytest.approx(300 / 13), "wer": pytest.approx(25.0)}
    }
    assert found["seen"]["greedy"]["alone"]["cer"] == 0
    short = write(tmp_path / "short", "a HE\n")
    with pytest.raises(SVError, match="short: has no b of"):
        rates.main([*same, *options(other=["x", reference, short], output=output)])


def test_greedy_texts_are_those_of_sv_joint(zoo, corpus, tmp_path):
    wavs = options(wav_scp=corpus.root / "wav.scp")
    local("greedy_asr").main([*options(asr=zoo.asr(), output=tmp_path / "text"), *wavs])
    joint = options(model=zoo.adaptor(), decode="greedy", batch_seconds=0.01)
    sv_joint.main([*joint, *wavs, *options(output_dir=tmp_path / "joint")])
    text = (tmp_path / "text").read_text()
    assert text == (tmp_path / "joint/text").read_text()
    assert len({line.split(maxsplit=1)[1] for line in text.splitlines()}) > 1


def probe(exp: Path, fold: int, kind: str, rates: dict[str, float]) -> None:
    layers = [
        {"name": name, "eer": rate, "eer_ci95": None} for name, rate in rates.items()
    ]
    write(
        exp / f"fold{fold}/probe/{kind}/layer_probe.json",
        json.dumps({"layers": layers}),
    )


def test_probes_are_averaged_over_folds(tmp_path):
    for fold, rate in ((1, 20.0), (3, 30.0)):
        for shift, kind in enumerate(("asr", "asr_early", "asr_random")):
            probe(
                tmp_path,
                fold,
                kind,
                {"block 1": rate + shift, "block 2": rate + 2 * shift},
            )
    call = [
        "--expdir",
        str(tmp_path),
        "--output",
        str(tmp_path / "probes.png"),
        "--folds",
        "1",
        "3",
    ]
    local("plot_probes").main(call)
    rows = (tmp_path / "probes.md").read_text().splitlines()
    assert rows[2:] == [
        "| block 1 | 25.0 | 26.0 | 27.0 |",
        "| block 2 | 25.0 | 27.0 | 29.0 |",
    ]
    assert (tmp_path / "probes.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SVError, match=r"run local/probe.sh --fold 2"):
        local("plot_probes").main([*call, "2"])
    probe(tmp_path, 3, "asr_early", {"block 1": 20.0})
    with pytest.raises(SVError, match=r"asr_early.* has other blocks"):
        local("plot_probes").main(call)


def test_error_rates_of_systems_are_shown_by_those_of_their_asr_models(tmp_path):
    rates = {"transfer": 10.0, "transfer_early": 15.0, "scratch": 20.0, "adaptor": 12.0}
    systems = {
        name: {"eer": rate, "eer_ci95": [rate - 2, rate + 3]}
        for name, rate in rates.items()
    }
    write(tmp_path / "results/test_cosine.json", json.dumps({"systems": systems}))
    for fold, shift in ((1, 0), (2, 10)):
        cers = {"asr_early": 60 + shift, "asr_random": 100, "asr_real": 50}
        found = {
            "asr_test_unseen": {"greedy": {"alone": {"cer": 40 + shift}}},
            "others": {name: {"cer": cer} for name, cer in cers.items()},
        }
        path = tmp_path / f"fold{fold}/recognition/recognition.json"
        write(path, json.dumps(found))
    output = tmp_path / "doses.png"
    call = options(expdir=tmp_path, folds=["1", "2"], output=output)
    doses = local("plot_doses")
    doses.main(call)
    _, _, *rows = output.with_suffix(".md").read_text().splitlines()
    best, early, untrained = rows  # nothing started from asr_real
    assert best.endswith("| 45.0 | 10.0 [8.0, 13.0] | 12.0 [10.0, 15.0] |")
    assert early.endswith("| 65.0 | 15.0 [13.0, 18.0] |  |")
    assert untrained.endswith("| 100.0 | 20.0 [18.0, 23.0] |  |")
    assert output.read_bytes().startswith(b"\x89PNG")
    write(tmp_path / "results/test_cosine.json", json.dumps({"systems": {}}))
    with pytest.raises(SVError, match="run stage 4 first"):
        doses.main(call)


def test_a_model_of_lower_quality_that_no_fold_has_is_left_out(tmp_path):
    for kind in ("asr", "asr_random"):
        probe(tmp_path, 2, kind, {"block 1": 20.0})
    picture = tmp_path / "probes.png"
    local("plot_probes").main(options(expdir=tmp_path, output=picture, folds=2))
    header, _, row = (tmp_path / "probes.md").read_text().splitlines()
    assert "early" not in header
    assert row == "| block 1 | 20.0 | 20.0 |"


def checkpoint(exp: Path, key: str, values: list[float]) -> None:
    """What ESPnet's reporter leaves of a training."""
    reporter = Reporter()
    for value in values:
        reporter.set_epoch(reporter.get_epoch() + 1)
        with reporter.observe("valid") as sub:
            sub.register({key: value})
            sub.next()
    exp.mkdir(parents=True)
    torch.save({"model": {}, "reporter": reporter.state_dict()}, exp / "checkpoint.pth")


def test_curves_are_the_best_so_far_of_all_trainings_of_a_system(tmp_path):
    module = local("plot_curves")
    for fold in (1, 2):
        checkpoint(tmp_path / f"fold{fold}/asr/train", "cer_ctc", [0.9, 0.5])
        checkpoint(tmp_path / f"fold{fold}/sv_adaptor_last_seed0", "eer", [50.0])
        for seed in (0, 1):
            rates = [40.0, 30 + fold + 2.0 * seed, 60.0, 20.0][: 2 + 2 * seed]
            checkpoint(tmp_path / f"fold{fold}/sv_adaptor_seed{seed}", "eer", rates)
    curves = module.read_system(tmp_path, ["1", "2"], "adaptor", ["0", "1", "2"])
    ended, longest = [40, 31, 31, 31], [40, 33, 33, 20]
    assert curves.tolist() == [ended, longest, [40, 32, 32, 32], [40, 34, 34, 20]]
    assert module.read_system(tmp_path, ["1", "2"], "student", ["0"]).size == 0
    picture = tmp_path / "curves.png"
    module.main(options(expdir=tmp_path, folds=[1, 2], output=picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(
        SVError, match=r"fold3/asr/train/checkpoint.pth: cannot be read"
    ):
        module.main(options(expdir=tmp_path, output=picture))


class SpeakerTemplate:
    """Stands for Resemblyzer's encoder, which is fetched from PyPI: of its shapes."""

    def __init__(self, *args, **kwargs):
        self.lstm = torch.nn.LSTM(40, 256, 3)
        self.linear = torch.nn.Linear(256, 256)

    def named_parameters(self):
        parts = {"lstm": self.lstm, "linear": self.linear}
        return [
            (f"{k}.{n}", p)
            for k, part in parts.items()
            for n, p in part.named_parameters()
        ]

    def compute_partial_slices(self, samples, rate, min_coverage):
        starts = range(0, samples // 160 - 159, round(100 / rate))
        return None, [slice(start, start + 160) for start in starts]

    def embed_utterance(self, speech, rate, min_coverage):
        return np.array([speech.mean(), speech.std()], np.float32)


@pytest.fixture
def resemblyzer(monkeypatch):
    module = types.ModuleType("resemblyzer")
    module.VoiceEncoder, module.sampling_rate = SpeakerTemplate, 16000
    module.preprocess_wav = lambda speech: speech[np.abs(speech) > 0]
    monkeypatch.setitem(sys.modules, "resemblyzer", module)
    return local("embed_resemblyzer")


def test_resemblyzer_embeds_in_kaldi_s_format_and_is_counted(
    resemblyzer, corpus, tmp_path
):
    wavs = options(wav_scp=corpus.root / "wav.scp", output_dir=tmp_path)
    resemblyzer.main([*wavs, *options(system=tmp_path / "system.json")])
    names, vectors = read_embeddings(tmp_path / "xvector.scp")
    assert [f"{name} {corpus.root}/wav/{name}.wav" for name in names] == (
        (corpus.root / "wav.scp").read_text().splitlines()
    )
    speech, _ = soundfile.read(corpus.root / "wav" / f"{names[5]}.wav")
    np.testing.assert_allclose(
        vectors[5], [speech.mean(), speech.std()], rtol=1e-4, atol=1e-6
    )
    system = json.loads((tmp_path / "system.json").read_text())
    assert system["parameters"] == sum(
        p.numel() for _, p in SpeakerTemplate().named_parameters()
    )
    # a frame: gates of three layers, each of its input and its state; a window: 160
    # frames, 256^2
    frame = 4 * 256 * (40 + 256 + 4 * 256)
    windows = 11  # of 1.6 s, which start every 0.77 s in 10 s
    assert system["gmac_per_second"] == pytest.approx(
        windows * (160 * frame + 256**2) / 1e10
    )


def test_a_clip_without_voice_is_named(resemblyzer, tmp_path):
    soundfile.write(tmp_path / "still.wav", np.zeros(16000), 16000)
    scp = write(tmp_path / "wav.scp", f"still {tmp_path}/still.wav\n")
    with pytest.raises(SVError, match="detects no voice in still"):
        resemblyzer.main(options(wav_scp=scp, output_dir=tmp_path))


def run_script(script: str, *options: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [LOCAL / script, *options],
        cwd=LOCAL.parent,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", ["resemblyzer.sh", "recognise.sh", "probe.sh"])
def test_scripts_explain_themselves_and_name_what_is_missing(script, tmp_path):
    shown = run_script(script, "--help")
    assert shown.returncode == 0
    assert "expdir=exp" in shown.stdout
    # not what the recipe itself may have prepared
    folders = options(fold=3, expdir=tmp_path / "exp")
    if "dumpdir=" in shown.stdout:
        folders += options(dumpdir=tmp_path / "dump")
    refused = run_script(script, *folders)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "run.sh makes it; is --fold 3 right?" in refused.stderr


def test_a_quick_run_leaves_out_what_says_so_and_all_runs_what_is_not_published(
    tmp_path,
):
    rows = ["{name: a, quick: false}", "{name: b}", "{name: c, asr: given}"]
    lines = [f"- {row[:-1]}, description: x, seeds: 1}}" for row in rows]
    file = tmp_path / "systems.yaml"
    file.write_text("\n".join(["systems:", *lines, ""]))
    for quick, names in (("true", "b\n"), ("false", "a b\n")):
        done = run_script(
            "systems.py", "names", "--systems", str(file), "--quick", quick
        )
        assert done.stdout == names, done.stderr


def test_what_starts_from_no_trained_asr_model_can_be_trained_early(tmp_path):
    kinds = {"a": "trained", "b": "random", "c": "none", "d": "early"}
    rows = [
        f"name: {name}, asr: {asr}, task: t, config: c" for name, asr in kinds.items()
    ]
    rows.append("name: e, asr: random, best_of: [b, c]")
    lines = [f"- {{{row}, description: x, seeds: 2}}" for row in rows]
    file = tmp_path / "systems.yaml"
    file.write_text("\n".join(["systems:", *lines, ""]))
    options = (
        "--systems",
        str(file),
        "--folds",
        "3",
        "--seeds",
        "5",
        "6",
        "--only",
        *"abcde",
    )
    done = run_script("systems.py", "jobs", "--kind", "early", *options)
    assert done.stdout == "".join(
        f"3 {seed} {name} t c {kinds[name]}\n" for seed in (5, 6) for name in "bc"
    )


@pytest.fixture
def candidates(tmp_path):
    """A function that chooses among three candidates of 0, 50 and 100 % EER.

    In fold 1 these are slow, plain and fast, in fold 2 plain, slow and fast.
    """
    rows = ["name: slow, quick: false", "name: fast", "name: plain"]
    rows.append("name: x, best_of: [slow, fast, plain]")
    lines = [f"- {{{row}, description: x, seeds: 1}}" for row in rows]
    write(tmp_path / "systems.yaml", "\n".join(["systems:", *lines, ""]))
    labels = ["target", "target", "nontarget", "nontarget"]
    none, half, all_wrong = [3, 2, 1, 0], [3, 1, 2, 0], [0, 1, 2, 3]
    found = {
        "1": {"slow": none, "plain": half, "fast": all_wrong},
        "2": {"slow": all_wrong, "plain": none, "fast": half},
    }
    for fold, scores in found.items():
        trials = [f"a{i} b{i} {label}\n" for i, label in enumerate(labels)]
        write(tmp_path / f"fold{fold}_valid/trials", "".join(trials))
        for name, values in scores.items():
            text = "".join(f"a{i} b{i} {value}\n" for i, value in enumerate(values))
            folder = tmp_path / f"exp/fold{fold}/sv_{name}_seed0/inference"
            write(folder / f"fold{fold}_valid/cosine/scores", text)

    def choose(folds, *names):
        call = options(systems=tmp_path / "systems.yaml", expdir=tmp_path / "exp")
        call += options(folds=folds, seeds=0, only=["x", *names])
        call += options(trials=f"{tmp_path}/fold{{fold}}_valid/trials")
        return run_script("systems.py", "choose", *call)

    return choose


@pytest.mark.parametrize(
    "folds, names, best",
    [
        (["1"], [], "slow"),
        (["1"], ["slow", "fast"], "slow"),
        (["1"], ["fast", "plain"], "plain"),
        (["1", "2"], [], "plain"),  # 25 % against 50 and 75
        (["1", "2"], ["slow", "fast"], "slow"),
    ],
)
def test_one_candidate_is_chosen_for_all_folds(
    candidates, tmp_path, folds, names, best
):
    done = candidates(folds, *names)
    assert f"x is {best} (mean validation EER: " in done.stdout, done.stderr
    for fold in folds:
        assert (
            os.readlink(tmp_path / f"exp/fold{fold}/sv_x_seed0") == f"sv_{best}_seed0"
        )


def test_folds_cannot_choose_on_their_own(candidates):
    assert candidates(["1"]).returncode == 0
    refused = candidates(["2"])
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.endswith("best in folds 2; give all folds at once (--folds)")
    assert candidates(["1", "2"]).returncode == 0
