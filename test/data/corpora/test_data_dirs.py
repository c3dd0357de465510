from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.corpora.data_dirs import Trial, write_names, write_set


def test_a_set_is_what_kaldi_and_the_checks_want(tmp_path):
    corpus = {
        "b": [("b-v-2", "/x/b 2.wav"), ("b-v-1", "/x/b1.wav")],
        "a": [("a-v-1", "/x/a1.wav")],
        "c": [],
    }
    trials = [Trial("b-v-1", "b-v-2", "target"), Trial("a-v-1", "b-v-1", "nontarget")]
    write_set(tmp_path / "d", corpus, trials)
    assert (tmp_path / "d/wav.scp").read_text() == (
        "a-v-1 /x/a1.wav\nb-v-1 /x/b1.wav\nb-v-2 /x/b 2.wav\n"
    )
    assert (tmp_path / "d/utt2spk").read_text() == "a-v-1 a\nb-v-1 b\nb-v-2 b\n"
    assert (tmp_path / "d/spk2utt").read_text() == "a a-v-1\nb b-v-1 b-v-2\n"
    assert (
        tmp_path / "d/trials"
    ).read_text() == "b-v-1 b-v-2 target\na-v-1 b-v-1 nontarget\n"
    report = check_data_dir(
        tmp_path / "d", trials=[tmp_path / "d/trials"], audio="none"
    )
    assert list(report.problems()) == []


def test_names_stay_in_their_order(tmp_path):
    write_names(tmp_path / "d/names", ["b", "a"])
    assert (tmp_path / "d/names").read_text() == "b\na\n"
