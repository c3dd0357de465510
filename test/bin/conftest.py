"""The commands are tested with the speaker models of the inference tests."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    "inference_fixtures", Path(__file__).parents[1] / "inference" / "conftest.py"
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

an4 = _fixtures.an4
home = _fixtures.home
speaker_exp = _fixtures.speaker_exp
