"""Imports between the rooms of the package point one way."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "espnet2_sv"
# Each room imports only from the rooms of the rows above its own
LAYERS = [
    {"errors"},
    {"environment", "textfile"},
    {"fileio"},
    {"backbones", "data", "heads", "zoo"},
    {"asr", "scoring"},
    {"distill", "train"},
    {"models"},
    {"inference", "tasks"},
    {"packaging"},
    {"bin"},
    {"__init__", "__main__"},
]
RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}


def rooms_imported(path: Path) -> set[str]:
    """Rooms that a module imports, also within functions, but not for annotations."""
    found = set()
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, _, rest = node.module.partition(".")
                if package == "espnet2_sv" and rest:
                    found.add(rest.partition(".")[0])
    return found


def test_every_room_is_in_a_layer():
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}
    assert rooms - {"__pycache__"} == set(RANK)


def test_imports_point_one_way():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        room = inside.parts[0].removesuffix(".py")
        for other in rooms_imported(path) - {room}:
            if RANK[other] >= RANK[room]:
                wrong.append(f"{inside} imports {other}")
    assert not wrong
