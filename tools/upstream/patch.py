"""Writes the series of patches that patches.yaml describes; called by patch.sh."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from fnmatch import fnmatch
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from patch_plan import PACKAGE, TESTS, Files, PlanError, assign, patches  # noqa: E402

RECIPES = ("TEMPLATE", "fotaq", "mini_an4", "voxceleb")
FOLDERS = (PACKAGE, TESTS, *(f"egs2/{name}/sv1" for name in RECIPES))


def read_installed(tree: Path) -> dict[str, Path]:
    """Files that install has put into a tree, or the links to other files of the tree.

    Returns:
        By the path in the tree, the file or link to copy.
    """
    found = {}
    for folder in FOLDERS:
        for parent, folders, names in os.walk(tree / folder, followlinks=True):
            links = [name for name in folders if Path(parent, name).is_symlink()]
            folders[:] = sorted({*folders} - {*links, "__pycache__"})
            for name in sorted(names + links):
                path = Path(parent, name)
                if path.is_symlink() and path.readlink().is_absolute():
                    source = path.readlink()
                else:
                    source = path
                if not name.endswith((".pyc", ".tar.gz")):
                    found[str(path.relative_to(tree))] = source
    return found


def text_of(source: Path) -> str | None:
    """Text of a file; None for a link.

    Raises:
        PlanError: The file is not text.
    """
    if source.is_symlink():
        return None
    try:
        return source.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PlanError(f"{source} is not text; leave it out in patches.yaml") from None


def plan_package(sources: dict[str, Path], plan: dict) -> list[list[list[str]]]:
    """Divide the project's files into patches.

    Returns:
        For each part of the plan that is not a contribution, its patches.

    Raises:
        PlanError: The plan cannot be carried out.
    """
    left_out = {
        path: reason
        for pattern, reason in plan["left_out"].items()
        for path in sources
        if fnmatch(path, pattern)
    }
    kept = [path for path in sources if path not in left_out]
    everything = Files(
        {p: text_of(sources[p]) for p in sources if p in kept or p.endswith(".py")}
    )
    for path in kept:
        for other in everything.needs(path):
            if other in left_out:
                raise PlanError(
                    f"{path} imports {other}, which patches.yaml leaves out"
                )
    files = Files({path: everything.texts[path] for path in kept})
    parts = [part for part in plan["parts"] if "files" in part]
    part_of = assign(files, parts)
    for path in kept:
        if path not in part_of:
            print(f"upstream.sh: left out: {path}: no test of the series uses it")
    return [
        patches(
            files,
            [path for path in part_of if part_of[path] == i],
            plan["max_files"],
            plan["max_lines"],
        )
        for i in range(len(parts))
    ]


class Series:
    """A git repository in which the patches are made, one commit each.

    Args:
        folder: Folder for it.
        checkout: The ESPnet checkout.
    """

    def __init__(self, folder: Path, checkout: Path):
        self.folder = folder
        self.checkout = checkout
        author = ["espnet2_sv", "espnet2_sv@localhost", "2026-01-01T00:00:00+00:00"]
        last = subprocess.run(
            ["git", "-C", str(PROJECT), "log", "-1", "--format=%an%n%ae%n%aI"],
            capture_output=True,
            text=True,
            check=False,
        )
        if last.returncode == 0:  # not in a source distribution
            author = last.stdout.splitlines()
        keys = ("NAME", "EMAIL", "DATE")
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
            **dict(zip((f"GIT_AUTHOR_{k}" for k in keys), author, strict=True)),
            **dict(zip((f"GIT_COMMITTER_{k}" for k in keys), author, strict=True)),
            "GIT_CONFIG_GLOBAL": os.devnull,  # of the author, not of this user's git
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        self.git("init", "--quiet")
        self.paths = self._edited()
        for path in self.paths:
            self._copy(path, checkout / path)
        self.commit("Release", [*self.paths])

    def git(self, *command: str) -> str:
        """Run git in the repository."""
        done = subprocess.run(
            ["git", *command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PlanError(f"git {command[0]}: {' '.join(done.stderr.split())}")
        return done.stdout

    def _edited(self) -> list[str]:
        """Files of the checkout that the contributions edit."""
        found = set()
        for diff in sorted((HERE / "contrib").glob("*/edits.diff")):
            found.update(re.findall(r"^--- a/(.*)$", diff.read_text(), re.MULTILINE))
        for path in sorted(found):
            if not (self.checkout / path).is_file():
                raise PlanError(f"{self.checkout} has no {path}, which a patch edits")
        return sorted(found)

    def _copy(self, path: str, source: Path) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target, follow_symlinks=False)

    def contribute(self, name: str) -> None:
        """Commit a folder of contrib/."""
        folder = HERE / "contrib" / name
        self.edit(name)
        sources = {
            str(path.relative_to(folder / "tree")): path
            for path in sorted((folder / "tree").rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        self.add(sources)
        self.commit((folder / "message").read_text(), [*self.paths, *sources])

    def edit(self, name: str) -> None:
        """Apply the edits of a folder of contrib/."""
        diff = HERE / "contrib" / name / "edits.diff"
        try:
            self.git("apply", str(diff))
        except PlanError as e:
            raise PlanError(
                f"{diff.relative_to(PROJECT)} does not fit {self.checkout} ({e}):"
                " give an ESPnet tree without these patches, or adapt the diff"
            ) from e

    def add(self, sources: dict[str, Path]) -> None:
        """Add new files.

        Raises:
            PlanError: The checkout has one of them.
        """
        for path, source in sources.items():
            theirs = self.checkout / path
            if theirs.is_file() and not _is_installed(theirs):
                raise PlanError(
                    f"{theirs} exists: give an ESPnet tree without the patches"
                )
            self._copy(path, source)
            if path.startswith(f"{TESTS}/") and path.endswith(".py"):
                (self.folder / path).write_text(one_level_deeper(source.read_text()))

    def commit(self, message: str, paths: list[str]) -> None:
        """Commit files."""
        self.git("add", "--force", "--", *paths)
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def write(self, out: Path, max_files: int, max_lines: int) -> list[Path]:
        """Write the patches.

        Raises:
            PlanError: A patch is larger than allowed.
        """
        for commit in self.git("rev-list", "--reverse", "HEAD").split()[1:]:
            changes = self.git("show", "--numstat", "--format=", commit).splitlines()
            lines = sum(int(n) for change in changes for n in change.split("\t")[:2])
            if len(changes) > max_files or lines > max_lines:
                title = self.git("show", "--no-patch", "--format=%s", commit).strip()
                raise PlanError(
                    f"{title}: {len(changes)} files and {lines} lines; at most"
                    f" {max_files} and {max_lines} are allowed"
                )
        root = self.git("rev-list", "--max-parents=0", "HEAD").strip()
        options = ("--zero-commit", "--no-signature", "--full-index", "--numbered")
        names = self.git("format-patch", *options, "--output-directory", str(out), root)
        return [Path(name) for name in names.splitlines()]


def one_level_deeper(text: str) -> str:
    """Let a test find the root from a folder that is one level further from it."""
    return re.sub(
        r"(Path\(__file__\)(?:\.resolve\(\))?\.parents)\[(\d+)\]",
        lambda match: f"{match[1]}[{int(match[2]) + 1}]",
        text,
    )


def _is_installed(path: Path) -> bool:
    """Whether a file of the checkout is there by "upstream.sh install"."""
    return path.resolve().is_relative_to(PROJECT) or (
        path.is_symlink() and "sv1" in path.parts
    )


def message_of(part: dict, number: int, count: int, files: dict[str, Path]) -> str:
    """Commit message of a patch with package files."""
    of = f" ({number}/{count})" if count > 1 else ""
    lines = [f"Add speaker verification from ASR: {part['title']}{of}", ""]
    tests = []
    for path, source in files.items():
        if path.startswith(f"{TESTS}/"):
            tests.append(path)
        elif path.endswith(".py") and (docstring := _first_line(source)):
            text = f"- {path}: {docstring}"
            lines += textwrap.wrap(text, 80, subsequent_indent="  ")
    if not lines[2:]:
        lines += textwrap.wrap(part.get("text", ""), 80)
    if tests:
        count = sum(Path(path).name.startswith("test_") for path in tests)
        lines += ["", f"With {count} files of tests in {TESTS}."]
    return "\n".join(lines) + "\n"


def _first_line(source: Path) -> str:
    match = re.match(r'"""(.+?)(?:"""|\n)', text_of(source) or "")
    return match[1] if match else ""


def make_series(tree: Path, checkout: Path, out: Path) -> list[Path]:
    """Write all patches to a folder.

    Args:
        tree: A tree into which this project is installed.
        checkout: The ESPnet checkout.
        out: Folder; an earlier series in it is replaced.

    Returns:
        The patches in order.

    Raises:
        PlanError: The message says what to change.
    """
    if out.exists() and not all(
        re.fullmatch(r"\d{4}-.*\.patch", p.name) for p in out.iterdir()
    ):
        raise PlanError(f"{out} holds other files than patches; give an empty folder")
    plan = yaml.safe_load((HERE / "patches.yaml").read_text())
    sources = read_installed(tree)
    planned = iter(plan_package(sources, plan))
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "repo").mkdir()
        series = Series(Path(work) / "repo", checkout)
        for part in plan["parts"]:
            if "contribution" in part:
                series.contribute(part["contribution"])
                continue
            divided = next(planned)
            for number, paths in enumerate(divided, 1):
                files = {path: sources[path] for path in sorted(paths)}
                if "edits" in part and number == 1:
                    series.edit(part["edits"])
                series.add(files)
                message = message_of(part, number, len(divided), files)
                series.commit(message, [*series.paths, *files])
        new = series.write(Path(work) / "patches", plan["max_files"], plan["max_lines"])
        out.mkdir(parents=True, exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        return [Path(shutil.copy(path, out)) for path in new]


def main() -> None:
    """Parse the options and write the series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        written = make_series(args.tree, args.checkout, args.out)
    except PlanError as e:
        sys.exit(f"upstream.sh: error: {e}")
    print(f"upstream.sh: wrote {len(written)} patches to {args.out}")


if __name__ == "__main__":
    main()
