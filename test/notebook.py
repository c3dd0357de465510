"""Runs the code cells of a notebook in order: ``python notebook.py FILE``."""

import json
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell


def main(path: str) -> None:
    """Run all cells; exit if one of them, or a command in one, fails."""
    shell = InteractiveShell.instance()
    for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            shell.user_ns["_exit_code"] = 0  # of commands that begin with "!"
            result = shell.run_cell("".join(cell["source"]))
            if not result.success or shell.user_ns["_exit_code"] != 0:
                sys.exit(f"failed: {cell['source'][0]}")


if __name__ == "__main__":
    main(sys.argv[1])
