from espnet2_sv.packaging.redact import redact_settings


def test_only_outside_paths_are_cut():
    settings = {
        "asr": "espnet/some_tag",
        "config": "conf/train.yaml",
        "paths": ("/a/b.scp", "../up/c.scp", "~/d.scp", "e/../../f", "exp/g"),
        "token_list": ["/", "a/b", "<unk>", "..."],
        "lr": 0.1,
    }
    assert redact_settings(settings) == {
        "asr": "espnet/some_tag",
        "config": "conf/train.yaml",
        "paths": ["b.scp", "c.scp", "d.scp", "f", "exp/g"],
        "token_list": ["/", "a/b", "<unk>", "..."],
        "lr": 0.1,
    }
