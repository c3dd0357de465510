"""Numbers that make no sense are refused by name, not by what fails because of them."""

import math

import numpy as np
import pytest

from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.dataset import TrainDataset
from espnet2_sv.data.iter_factory import EmbedIterFactory, TrainIterFactory
from espnet2_sv.data.job_split import in_processes, select_split
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.data.sampler import SpeakerBatchSampler
from espnet2_sv.errors import SVError

WAVS = {f"u{i}": f"/none/{i}.wav" for i in range(4)}
UTT2SPK = {"u0": "a", "u1": "a", "u2": "b", "u3": "b"}
LABELS = SpeakerLabels(["a", "b"])
GOOD = {"sample_rate": 16000, "crop_seconds": 1.0}
ODD = [-1, math.nan, math.inf, -math.inf, "4", None, []]


def dataset(**kwargs):
    TrainDataset(WAVS, UTT2SPK, LABELS, **GOOD | kwargs)


def train_factory(**kwargs):
    options = GOOD | {"batch_size": 4, "seed": 0} | kwargs
    TrainIterFactory(WAVS, LABELS, UTT2SPK, **options).build_iter(1)


def embed_factory(wav="/none/0.wav", **kwargs):
    options = {"sample_rate": 16000, "batch_size": 4} | kwargs
    EmbedIterFactory({"u0": wav}, ["u0"], **options).build_iter(1)


def sampler(**kwargs):
    SpeakerBatchSampler([0, 0, 1, 1], **{"batch_size": 4} | kwargs)


def check(**kwargs):
    check_data_dir("/none", **kwargs)


def processes(**kwargs):
    list(in_processes(abs, [1], **kwargs))


CASES = [
    *((dataset, name, 0) for name in ("sample_rate", "crop_seconds")),
    *((train_factory, name, 0) for name in ("sample_rate", "batch_size")),
    *((train_factory, name, -1) for name in ("num_workers", "seed", "rank")),
    (train_factory, "world_size", 0),
    (train_factory, "rank", 1),
    (train_factory, "crop_seconds", 0),
    *((embed_factory, name, 0) for name in ("sample_rate", "batch_size")),
    *((embed_factory, name, -1) for name in ("rank", "world_size")),
    (sampler, "batch_size", 0),
    *((check, name, 0) for name in ("sample_rate", "nj")),
    (check, "listed", -1),
    (processes, "nj", 0),
]


@pytest.mark.parametrize(("function", "name", "least"), CASES)
def test_a_number_out_of_range_is_refused_by_name(function, name, least):
    for value in [least, *ODD]:
        with pytest.raises(SVError, match=rf"^{name} is ") as error:
            function(**{name: value})
        assert "\n" not in str(error.value)


def test_nothing_to_embed_is_refused():
    with pytest.raises(SVError, match=r"wav.scp: no utterances of it are wanted"):
        EmbedIterFactory(WAVS, [], sample_rate=16000, batch_size=4)


def test_numbers_in_range_are_accepted(write_wav):
    dataset(sample_rate=np.int64(8000), crop_seconds=3, seed=1)
    train_factory(num_workers=0, world_size=2, rank=1)
    embed_factory(write_wav("a.wav"))
    sampler(num_iters=1)
    processes(nj=1)


@pytest.mark.parametrize("iters", [0, -3, 1.5, math.nan])
def test_steps_per_epoch_out_of_range_are_refused(iters):
    with pytest.raises(SVError, match=r"^num_iters_per_epoch is "):
        sampler(num_iters=iters)


@pytest.mark.parametrize(
    "split",
    [
        *("", "/", "1", "0/1", "2/1", "-1/2", "1/-2", "1_0/20", "1/2/3", " 1/2"),
        *("1/2\n", "a/b", "\u0661/\u0662", "1/" + "9" * 5000, "1.0/2", "+1/2/"),
    ],
)
def test_splits_that_make_no_sense_are_refused(split):
    with pytest.raises(SVError, match="shard") as error:
        select_split(range(9), split)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "factors",
    [
        *(1.0, None, "1.0", [], [0.9], [1.0, 1.0], [1.0, math.nan], [1.0, math.inf]),
        *([1.0, "1e400000000"], [1.0, "1_1e-1"], [1.0, "11/10"], [1.0, None]),
        *([1.0, 0], [1.0, -1.1], [1.0, [1.1]], [1.0, 1.10001]),
    ],
)
def test_speeds_that_make_no_sense_are_refused(factors):
    with pytest.raises(SVError, match=r"^speed_perturb_factors"):
        Speeds(factors)
