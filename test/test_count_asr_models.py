"""tools/count_asr_models.py tells published models apart by what recipes say."""

import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "tools/count_asr_models.py"
HUB = "https://huggingface.co"
FAR = "| 1 | 2 |\n" * 12  # beyond what is read as being about a link
PAGE = f"""
# Results
- ASR config: [conf/tuning/train_asr_large.yaml](conf/tuning/train_asr_large.yaml)
- Model link: [{HUB}/someone/one]({HUB}/someone/one)
- again: {HUB}/someone/one, trained on {HUB}/datasets/someone/corpus

## asr_train_asr_wavlm_raw_en_bpe500_sp
{FAR}
https://zenodo.org/record/12345

# Streaming
{FAR}
{HUB}/someone/streaming_conformer
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def count(egs2: Path, capsys, monkeypatch, *options: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(egs2), *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_each_model_counts_once_by_its_own_configuration(tmp_path, capsys, monkeypatch):
    asr = tmp_path / "corpus/asr1"
    write(asr / "README.md", PAGE)
    write(asr / "conf/tuning/train_asr_large.yaml", "encoder: e_branchformer\n")
    write(asr / "conf/tuning/train_asr_wavlm.yaml", "frontend: s3prl\n")
    write(
        tmp_path / "units/asr2/RESULTS.md", f"{HUB}/someone/units and {HUB}/someone/one"
    )
    # a recipe of which only the usual configuration is known
    write(tmp_path / "plain/asr1/README.md", f"{HUB}/someone/plain")
    write(tmp_path / "plain/asr1/conf/train_asr.yaml", "encoder: transformer\n")
    write(tmp_path / "bare/s2t1/README.md", f"{HUB}/someone/bare")
    listed = [
        line.split("\t") for line in count(tmp_path, capsys, monkeypatch, "--list")
    ]
    assert {link.rpartition("/")[2]: (kind, rule) for kind, rule, link in listed} == {
        "one": ("`e_branchformer` (supported)", "config"),
        "12345": ("front end `s3prl`", "name"),
        "streaming_conformer": ("encoder `contextual_block_conformer`", "words"),
        "units": ("discrete units (`asr2`)", "config"),
        "plain": ("`transformer` (supported)", "recipe"),
        "bare": ("cannot be told", "none"),
    }
    table = count(tmp_path, capsys, monkeypatch)
    assert "| `transformer` (supported) | 1 | 0 | 0 | 0 | 1 | 0 |" in table
    assert table[-1].startswith("| all | 6 |")
