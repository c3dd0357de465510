import pytest
import yaml

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.comparison_plan import Pair, Part, Plan, System


def conf():
    return {
        "parts": [
            {"name": "fold1", "trials": "t1", "utt2spk": ["u1", "e1"]},
            {"name": 2, "trials": "t2", "utt2spk": "u2"},
        ],
        "systems": [
            {
                "name": "scratch",
                "description": "from scratch",
                "system": ["s1.json", "s2.json"],
                "runs": [{"fold1": "a1", 2: "a2"}, {2: "b2", "fold1": "b1"}],
            },
            {
                "name": "transfer",
                "system": "s.json",
                "runs": [{"fold1": "c1", 2: "c2"}],
            },
        ],
        "comparisons": [
            {"system": "transfer", "against": "scratch"},
            {"system": "scratch", "against": "transfer", "title": "The other way"},
        ],
    }


@pytest.fixture
def read(tmp_path):
    def write_and_read(content):
        path = tmp_path / "plan.yaml"
        path.write_text(
            content if isinstance(content, str) else yaml.safe_dump(content)
        )
        return Plan.read(path)

    return write_and_read


def test_reads_all_keys_of_a_plan(read):
    plan = read(conf())
    assert plan.parts == [Part("fold1", "t1", ["u1", "e1"]), Part("2", "t2", ["u2"])]
    runs = [{"fold1": "a1", "2": "a2"}, {"2": "b2", "fold1": "b1"}]
    assert plan.systems == [
        System("scratch", "from scratch", runs, ["s1.json", "s2.json"]),
        System("transfer", "transfer", [{"fold1": "c1", "2": "c2"}], ["s.json"]),
    ]
    assert plan.comparisons == [
        Pair("transfer", "scratch", "transfer against scratch"),
        Pair("scratch", "transfer", "The other way"),
    ]


def test_comparisons_and_system_files_need_not_be_there(read):
    plan = conf()
    del plan["comparisons"], plan["systems"][1]["system"]
    found = read(plan)
    assert found.comparisons == []
    assert found.systems[1].system == []


def change(keys, value):
    """A plan with one value changed, or removed if ``value`` is ``...``."""
    plan = at = conf()
    for key in keys[:-1]:
        at = at[key]
    if value is ...:
        del at[keys[-1]]
    else:
        at[keys[-1]] = value
    return plan


@pytest.mark.parametrize(
    "content, message",
    [
        ("a: [", "is not YAML"),
        ("", "the plan is not a mapping"),
        ("[1]", "the plan is not a mapping"),
        (change(["parts"], ...), "the plan has no parts"),
        (
            change(["more"], 1),
            "the plan has unknown key more; use parts, systems, comparisons",
        ),
        (change(["parts"], []), "parts is not a list of entries"),
        (change(["systems"], {"a": 1}), "systems is not a list of entries"),
        (change(["comparisons"], "a"), "comparisons is not a list of entries"),
        (change(["parts", 0], "fold1"), "entry 1 of parts is not a mapping"),
        (change(["parts", 1, "utt2spk"], ...), "entry 2 of parts has no utt2spk"),
        (change(["parts", 1, "utt2spk"], []), "2: utt2spk is empty"),
        (
            change(["parts", 1, "trials"], None),
            "entry 2 of parts: a name or path is a NoneType, not text",
        ),
        (change(["parts", 1, "name"], "fold1"), "two parts are called fold1"),
        (change(["systems", 1, "name"], "scratch"), "two systems are called scratch"),
        (
            change(["systems", 0, "seeds"], 3),
            "entry 1 of systems has unknown key seeds",
        ),
        (change(["systems", 0, "runs"], []), "system scratch: runs is not a list"),
        (
            change(["systems", 0, "runs"], {"fold1": "a"}),
            "system scratch: runs is not a list",
        ),
        (
            change(["systems", 0, "runs", 1], "a"),
            "system scratch, run 2: is not a mapping",
        ),
        (
            change(["systems", 0, "runs", 1, "fold1"], ...),
            "system scratch, run 2: has no scores for part fold1",
        ),
        (
            change(["systems", 0, "runs", 1, "fold9"], "x"),
            "system scratch, run 2: part fold9 is unknown; parts has fold1, 2",
        ),
        (
            change(["comparisons", 0, "against"], "ghost"),
            (
                "entry 1 of comparisons: system ghost is unknown; systems has scratch,"
                " transfer"
            ),
        ),
        (
            change(["comparisons", 0, "against"], "transfer"),
            "compares transfer with itself",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_line(read, content, message):
    with pytest.raises(SVError, match=r"plan\.yaml: ") as error:
        read(content)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_is_named(tmp_path):
    with pytest.raises(SVError, match="ghost: cannot be read"):
        Plan.read(tmp_path / "ghost")
