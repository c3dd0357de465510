"""Orders the files of this project so that each imports only what is there before it.

Files have the paths that they get in an ESPnet tree. A package module needs what it
imports when it is imported. A test needs all that it and its modules may import, and
the data files that it names.
"""

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

PACKAGE = "espnet2_sv"
TESTS = f"test/{PACKAGE}"
_SHARES = [percent / 100 for percent in range(30, 101, 2)]  # of the limits
_DOTTED_NAME = re.compile(rf"{PACKAGE}(?:\.\w+)+")  # e.g. espnet2_sv.bin.sv_embed


class PlanError(Exception):
    """The plan cannot be carried out; the message says what to change."""


@dataclass
class Imports:
    """Names that a Python file imports, e.g. ``espnet2_sv.heads.mfa.MFAHead``.

    Attributes:
        always: Names imported when the file is.
        later: Names imported by functions, by function. A class's methods count as its.
        arguments: Names of functions' arguments, and texts: among them are fixtures.
        parts: Parts of texts that may be paths.
        recipes: Paths in egs2/, also of the form ``root / "egs2" / "mini_an4"``.
        modules: Module names in texts, e.g. of commands to run.
    """

    always: set[str] = field(default_factory=set)
    later: dict[str, set[str]] = field(default_factory=dict)
    arguments: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    recipes: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, text: str) -> "Imports":
        """Read them from the text of a Python file."""
        found = cls()
        tree = ast.parse(text)
        found._visit(tree.body, None)
        for node in ast.walk(tree):
            match node:
                case ast.arg(arg=name):
                    found.arguments.add(name)
                case ast.Constant(value=str(value)):
                    found.arguments.add(value)
                    found.modules.update(_DOTTED_NAME.findall(value))
                    if not re.search(r"\s", value):
                        found.parts.update(value.split("/"))
                    if value.startswith("egs2/"):
                        found.recipes.add(value)
                case ast.BinOp(op=ast.Div()):
                    path = "/".join(_joined(node))
                    if path.startswith("egs2"):
                        found.recipes.add(path)
        return found

    def _visit(self, body: Iterable[ast.AST], function: str | None) -> None:
        for node in body:
            match node:
                case ast.Import(names=names):
                    self._add(function, (a.name for a in names))
                case ast.ImportFrom(module=str(module), names=names):
                    self._add(function, (f"{module}.{a.name}" for a in names))
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    self._visit(node.body, function or name)
                case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                    self._visit(orelse, function)
                case ast.stmt() | ast.excepthandler() | ast.match_case():
                    self._visit(ast.iter_child_nodes(node), function)

    def _add(self, function: str | None, names: Iterable[str]) -> None:
        if function is None:
            self.always.update(names)
        else:
            self.later.setdefault(function, set()).update(names)


def _joined(node: ast.expr) -> list[str]:
    """Texts on the right-hand sides of a chain of slashes."""
    match node:
        case ast.BinOp(left=left, op=ast.Div(), right=ast.Constant(value=str(value))):
            return [*_joined(left), value]
    return []


class Files:
    """The files to contribute and what each of them needs.

    Args:
        texts: Text of each file by its path in the tree; None if it is a link or not
            text.
    """

    def __init__(self, texts: dict[str, str | None]):
        self.texts = texts
        self.imports = {
            path: Imports.of(text or "")
            for path, text in texts.items()
            if path.endswith(".py") and path.startswith((f"{PACKAGE}/", f"{TESTS}/"))
        }
        folders = {parent for path in self.imports for parent in Path(path).parents}
        # Folders without Python files, by the files in them
        self._data_folders = {
            path: [f for f in Path(path).parents if f not in folders][-1].name
            for path in texts
            if self.is_test(path) and Path(path).parent not in folders
        }

    def is_test(self, path: str) -> bool:
        """Whether the file belongs to the tests."""
        return path.startswith(f"{TESTS}/")

    def has_tests(self, path: str) -> bool:
        """Whether pytest looks for tests in the file."""
        return self.is_test(path) and _name(path).startswith("test_")

    def module_files(self, name: str) -> Iterator[str]:
        """Files that an import of a dotted name reads: packages, then the module."""
        parts = name.split(".")
        if parts[0] == PACKAGE:
            for i in range(1, len(parts) + 1):
                stem = "/".join(parts[:i])
                yield from {f"{stem}/__init__.py", f"{stem}.py"} & self.imports.keys()
        elif (helper := f"{TESTS}/{parts[0]}.py") in self.imports:
            yield helper

    @functools.cache  # noqa: B019
    def needs(self, path: str) -> set[str]:
        """Files that must be there before a file can be imported, itself excepted."""
        found = set(self._packages(path))
        if path in self.imports:
            for name in self.imports[path].always:
                found.update(self.module_files(name))
        return found - {path}

    def _packages(self, path: str) -> Iterator[str]:
        """``__init__.py`` or, for tests, ``conftest.py`` of the folders above."""
        if not self.is_test(path):
            name = "__init__.py"
        elif _name(path) == "conftest.py" or self.has_tests(path):
            name = "conftest.py"
        else:
            return
        for folder in Path(path).parents:
            if (package := f"{folder}/{name}") in self.imports:
                yield package

    @functools.cache  # noqa: B019
    def uses(self, path: str) -> set[str]:
        """Files that something in a file may import or read when it runs."""
        found = self.needs(path)
        if path not in self.imports:
            return found
        imports = self.imports[path]
        names: set[str] = set()
        if _name(path) != "conftest.py":  # its functions count where they are used
            names.update(*imports.later.values())
        if self.is_test(path):
            names |= imports.modules
            found.update(self._data_files(path))
            # Commands by their names, e.g. "sv_score"
            commands = {f"{PACKAGE}/bin/{word}.py" for word in imports.arguments}
            found.update(commands & self.imports.keys())
            for conftest in {*self._packages(path)} - {path}:
                for fixture, later in self.imports[conftest].later.items():
                    if fixture in imports.arguments:
                        names |= later
        for name in names:
            found.update(self.module_files(name))
        return found - {path}

    def _data_files(self, path: str) -> Iterator[str]:
        """Files that a test names."""
        imports = self.imports[path]
        for other in self.texts:
            if (
                self._data_folders.get(other) in imports.parts
                or (other.startswith("egs2/") and _below(other, imports.recipes))
                or (
                    Path(other).parent == Path(path).parent
                    and _name(other) in imports.parts
                )
            ):
                yield other

    @functools.cache  # noqa: B019
    def closure(self, path: str) -> frozenset[str]:
        """All files that a test uses, directly or not, itself included."""
        found, waiting = {path}, [path]
        while waiting:
            new = self.uses(waiting.pop()) - found
            found |= new
            waiting += new
        return frozenset(found)


def _name(path: str) -> str:
    return Path(path).name


def _below(path: str, folders: set[str]) -> bool:
    return any(f"{path}/".startswith(f"{folder}/") for folder in folders)


def assign(files: Files, parts: list[dict]) -> dict[str, int]:
    """Return the part of each file that is not for left-out tests only.

    Tests and what only they use come with the first part after which all is there that
    they use. All other files belong to the last part with a pattern that they match.

    Raises:
        PlanError: A file is in no part, or needs a file of a later part.
    """
    part_of = {}
    for path in files.texts:
        if not files.is_test(path):
            found = [i for i, part in enumerate(parts) if _matches(path, part["files"])]
            if not found:
                raise PlanError(f"{path} is in no part of patches.yaml")
            part_of[path] = found[-1]
    for path in sorted(part_of):
        for other in files.needs(path):
            if part_of[other] > part_of[path]:
                raise PlanError(
                    f"{path} imports {other} of the later part"
                    f" {parts[part_of[other]]['title']!r}: reorder patches.yaml"
                )
    tests = [path for path in files.texts if files.has_tests(path)]
    for path in tests:
        package = [part_of[p] for p in files.closure(path) if not files.is_test(p)]
        part_of[path] = max(package, default=0)
    for path in files.texts:
        if path not in part_of:
            users = [part_of[test] for test in tests if path in files.closure(test)]
            if users:
                part_of[path] = min(users)
    return part_of


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def groups(files: Files, paths: Iterable[str]) -> list[list[list[str]]]:
    """Order the files of a part.

    Returns:
        Groups of pieces of files. A piece cannot be separated, e.g. modules that import
        each other. A group is a piece of the package, then those of the tests that can
        run once it is there.
    """
    here = set(paths)
    package = {p: files.needs(p) & here for p in here if not files.is_test(p)}
    used = {p: files.closure(p) & here for p in here if files.has_tests(p)}
    done: set[str] = set()

    def ready_tests() -> Iterator[list[str]]:
        for test in sorted(used, key=lambda p: (len(used[p]), p)):
            if test not in done and used[test] & package.keys() <= done:
                piece = sorted(used[test] - done)
                done.update(piece)
                yield piece

    result = []
    for piece in cycles(package):
        done.update(piece)
        result.append([piece, *ready_tests()])
    assert done == here, here - done
    return result


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components, those needed by others first (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            cut = stack.index(node)
            result.append(sorted(stack[cut:]))
            del stack[cut:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return result


def patches(
    files: Files, paths: Iterable[str], max_files: int, max_lines: int
) -> list[list[str]]:
    """Divide a part into patches within the limits.

    Raises:
        PlanError: Files that have to be in one patch are too large.
    """

    def size(candidate: list[str]) -> int:
        return sum(lines(files.texts[p]) for p in candidate)

    def fits(candidate: list[str], share: float = 1.0) -> bool:
        return (
            len(candidate) <= share * max_files and size(candidate) <= share * max_lines
        )

    pieces = []
    for group in groups(files, paths):
        whole = [path for piece in group for path in piece]
        pieces += [whole] if fits(whole) else group
    for piece in pieces:
        if not fits(piece):
            raise PlanError(
                f"{', '.join(piece)} cannot be separated, but are too large for a"
                f" patch: {len(piece)} files, {size(piece)} lines"
            )

    def divide(share: float) -> list[list[str]]:
        result: list[list[str]] = []
        for piece in pieces:
            if result and fits(result[-1] + piece, share):
                result[-1] += piece
            else:
                result.append(list(piece))
        return result

    # As few as possible, and then of similar size
    fewest = len(divide(1.0))
    return next(d for share in _SHARES if len(d := divide(share)) == fewest)


def lines(text: str | None) -> int:
    """Lines that a patch adds for a file; one for a link."""
    return 1 if text is None else len(text.splitlines())
