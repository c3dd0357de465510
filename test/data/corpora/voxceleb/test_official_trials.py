import dataclasses
import functools
import http.server
import threading

import pytest

from espnet2_sv.data.corpora.data_dirs import Trial
from espnet2_sv.data.corpora.voxceleb.official_trials import (
    CLEANED,
    UNCLEANED,
    OfficialList,
    choose_lists,
    fetch_list,
    read_list,
    read_test_sets,
)
from espnet2_sv.errors import SVError

LINES = (
    "1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav\n"
    "0 id10270/x6uYqmx31kE/00001.wav id10300/ize_eiCFEg0/00003.wav\n"
)


@pytest.fixture
def site(tmp_path):
    """A web site of the files in a folder, and that folder."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


def test_published_lists():
    assert [wanted.lines for wanted in CLEANED.values()] == [37_611, 579_818, 550_894]
    assert [wanted.lines for wanted in UNCLEANED.values()] == [37_720, 581_480, 552_536]
    assert choose_lists(["h"]) == {"h": OfficialList("list_test_hard2.txt", 550_894)}
    assert choose_lists(["o"], cleaned=False)["o"].file == "veri_test.txt"
    with pytest.raises(SVError, match="trial list x: choose from o e h"):
        choose_lists(["o", "x"])


def test_lines_become_trials_in_their_order(tmp_path):
    (tmp_path / "list").write_text(LINES + LINES)
    trials = read_list(tmp_path / "list")
    first = Trial("id10270-x6uYqmx31kE-00001", "id10270-8jEAjG6SegY-00008", "target")
    assert trials[0] == trials[2] == first
    assert trials[1] == (
        "id10270-x6uYqmx31kE-00001",
        "id10300-ize_eiCFEg0-00003",
        "nontarget",
    )


@pytest.mark.parametrize(
    "line",
    [
        "1 id10270/x/00001.wav",
        "2 id10270/x/00001.wav id10270/y/00008.wav",
        "1 id10270/00001.wav id10270/y/00008.wav",
        "1 id10270/x/00001 id10270/y/00008.wav",
        "<html>",
        "",
    ],
)
def test_other_lines_are_refused(tmp_path, line):
    (tmp_path / "list").write_text(f"{LINES}{line}\n")
    with pytest.raises(
        SVError, match=rf"^{tmp_path}/list: line 3 is not '1 idXXXXX/VIDEO"
    ):
        read_list(tmp_path / "list")


def test_labels_that_contradict_the_speakers_are_refused(tmp_path):
    (tmp_path / "list").write_text(LINES.replace("1 id", "0 id"))
    with pytest.raises(SVError, match="list: line 1 has the wrong label"):
        read_list(tmp_path / "list")


def test_missing_and_empty_lists_are_refused(tmp_path):
    with pytest.raises(SVError, match=r"list: cannot be read .*--trial_lists"):
        read_list(tmp_path / "list")
    (tmp_path / "list").touch()
    with pytest.raises(SVError, match="list: is empty"):
        read_list(tmp_path / "list")


def test_a_list_is_fetched_once_from_the_first_site_that_has_it(site, tmp_path):
    url, folder = site
    (folder / "list.txt").write_text(LINES)
    wanted = OfficialList("list.txt", 2)
    path = fetch_list(
        wanted, tmp_path / "lists", ["http://127.0.0.1:1/", f"{url}no/", url]
    )
    assert path.read_text() == LINES
    assert [p.name for p in path.parent.iterdir()] == ["list.txt"]
    assert fetch_list(wanted, tmp_path / "lists", []) == path


def test_a_site_s_error_page_is_no_list(site, tmp_path):
    url, folder = site
    (folder / "list.txt").write_text("<html>gone</html>")
    with pytest.raises(
        SVError, match=r"list\.txt: cannot be fetched .*returned 1 lines, not 2"
    ):
        fetch_list(OfficialList("list.txt", 2), tmp_path / "lists", [url])
    assert not (tmp_path / "lists").exists()


def test_no_site_is_reported_with_what_to_do(tmp_path):
    with pytest.raises(
        SVError, match=r"cannot be fetched .*127\.0\.0\.1.*--trial_lists"
    ):
        fetch_list(OfficialList("list.txt", 2), tmp_path, ["http://127.0.0.1:1/"])


def test_lists_are_read_from_a_folder_and_counted(plan, tree):
    o, e, h = read_test_sets(plan)
    assert [test.name for test in (o, e, h)] == [
        "voxceleb1_o",
        "voxceleb1_e",
        "voxceleb1_h",
    ]
    assert [test.path.name for test in (o, e, h)] == [
        "veri_test2.txt",
        "list_test_all2.txt",
        "list_test_hard2.txt",
    ]
    assert o.differences == [
        f"{tree.trial_lists}/veri_test2.txt: 30 lines of 37,611 published"
    ]
    uncleaned = read_test_sets(
        dataclasses.replace(plan, cleaned=False, test_lists=["e"])
    )
    assert [(test.path.name, len(test.trials)) for test in uncleaned] == [
        ("list_test_all.txt", 40)
    ]


def test_speakers_that_are_trained_on_are_refused_by_name(plan):
    o, e, _ = read_test_sets(plan)
    o.require_apart(["id10001", "id00012"], "the training set")
    with pytest.raises(
        SVError, match=r"^voxceleb1_e: 1 of its 8 speakers are also in V: id10001;"
    ):
        e.require_apart(["id10001", "id00012"], "V")


@pytest.mark.parametrize("text", [b"1 a/b/\xff.wav\n", b"\xef\xbb\xbf1 a/b/c.wav\n"])
def test_a_list_that_is_not_plain_utf8_is_refused_by_line(tmp_path, text):
    (tmp_path / "list").write_bytes(text)
    with pytest.raises(SVError, match=r"list: line 1 .*; set --trial_lists"):
        read_list(tmp_path / "list")
