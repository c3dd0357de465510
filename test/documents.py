"""Finds links, paths, commands and options of Markdown documents that do not exist."""

import ast
import functools
import importlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from espnet2_sv.bin.main import VERBS

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "egs2/TEMPLATE/sv1"
# What recipes and set-up make, fixtures of tests, and hidden folders
SKIPPED = re.compile(r"\..*|venv.*|data|downloads|dump|exp|logs|test|.*egg-info")
TASKS = ("sv_train", "sv_transfer_train", "sv_adaptor_train", "sv_distill_train")
# Options of scripts whose value is passed on to a command or script
PASSED_ON = {
    "--sv_args": TASKS,
    "--lmft_args": TASKS,
    "--format_args": ("sv_format_wav",),
    "--inference_args": ("sv_embed", "sv_joint"),
    "--pack_args": ("sv_pack",),
    "--score_norm_args": ("sv_score_norm",),
    "--calibrate_args": ("sv_calibrate",),
}


def documents(root: Path = ROOT) -> list[Path]:
    """The project's Markdown files."""
    found = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not SKIPPED.fullmatch(name)]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


def problems(text: str, folder: Path) -> list[str]:
    """What is wrong in a document that lies in a folder, a line each."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    found = [*broken_links(re.sub(r"`[^`]*`", "code", prose), folder)]
    for language, block in blocks:
        if language == "python":
            found += unknown_imports(block)
        elif language == "sh":
            found += unknown_in_script(block, folder)
    for span in spans:
        found += unknown_in_span(span, folder)
    found += unknown_in_option_tables(prose)
    return found


# Links and paths


def broken_links(prose: str, folder: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)", prose):
        if re.match(r"[a-z]+:", target):  # https:, mailto:
            continue
        path, _, anchor = target.partition("#")
        if not (folder / path).exists():
            yield f"link {target}: there is no {path}"
        elif anchor:
            page = (folder / path).read_text() if path else prose
            if anchor not in anchors(page):
                yield f"link {target}: there is no heading {anchor}"


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings, e.g. ``use-a-model``."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def missing_paths(word: str, folder: Path) -> Iterator[str]:
    """A path that the project or the document's recipe should have and has not."""
    if re.search(r"[*<$]|TASK|^tools/venv", word):  # a pattern, or made by set-up
        return
    if re.match(r"(espnet2_sv|tools|ci|test)/", word):
        base = ROOT
    elif re.match(r"(conf|local|scripts)/", word) and (folder / "conf").exists():
        base = folder
    else:
        return
    for path in expand_braces(word):
        if not (base / path).exists():
            yield f"path {path} does not exist"


def expand_braces(word: str) -> list[str]:
    """Expand as bash does: ``a{b,c}`` is ``ab`` and ``ac``."""
    match = re.search(r"\{([^{}]*)\}", word)
    if match is None:
        return [word]
    before, after = word[: match.start()], word[match.end() :]
    return [
        path
        for part in match[1].split(",")
        for path in expand_braces(before + part + after)
    ]


# Python


def unknown_imports(block: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("espnet2_sv"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    yield f"{node.module} has no {alias.name}"


# Commands and scripts


@functools.cache
def options_of_command(name: str) -> frozenset[str] | None:
    """The options of a module in espnet2_sv.bin; None if there is no such command."""
    if find_spec(f"espnet2_sv.bin.{name}") is None:
        return None
    parser = importlib.import_module(f"espnet2_sv.bin.{name}").get_parser()
    return frozenset(parser._option_string_actions)


@functools.cache
def options_of_script(path: Path) -> frozenset[str]:
    """The options of a shell script: variables before parse_options.sh, or cases."""
    text = path.read_text()
    options = {"--help"} | set(re.findall(r"^ *(?:-\w \| )?(--\w+)\)", text, re.M))
    if "utils/parse_options.sh" in text:
        head = text[: text.index("utils/parse_options.sh")]
        options |= {f"--{name}" for name in re.findall(r"^(\w+)=", head, re.M)}
    else:
        for name in ("sv.sh", "run.sh"):  # that it passes its options on to
            if f"./{name} " in text and path.name != name:
                options |= options_of_script(path.with_name(name))
    return frozenset(options)


@functools.cache
def all_options() -> frozenset[str]:
    """Every option of any command and any recipe script."""
    found: set[str] = set()
    for name in VERBS.values():
        found |= options_of_command(name)
    for script in (*ROOT.glob("egs2/*/sv1/*.sh"), *ROOT.glob("egs2/*/sv1/*/*.sh")):
        found |= options_of_script(script)
    for script in (*ROOT.glob("tools/*.sh"), *ROOT.glob("tools/*/*.py")):
        found |= set(re.findall(r"--\w+", script.read_text()))
    return frozenset(found)


def unknown_in_script(block: str, folder: Path) -> Iterator[str]:
    """What the lines of a shell block call and give that does not exist."""
    for line in block.replace("\\\n", " ").splitlines():
        for words in commands(line):
            if words[0] == "cd" and len(words) == 2:
                folder = next(
                    (
                        base / words[1]
                        for base in (folder, ROOT)
                        if (base / words[1]).is_dir()
                    ),
                    TEMPLATE,  # a recipe that the reader makes
                )
            yield from unknown_in_command(words, folder)


def commands(line: str) -> Iterator[list[str]]:
    """The simple commands of a line, without assignments in front."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|()"):
            while words and re.match(r"\w+=", words[0]):
                del words[0]
            if words:
                yield words
            words = []
        else:
            words.append(word)


def unknown_in_command(words: list[str], folder: Path) -> Iterator[str]:
    """Check one simple command: its program, its paths and its options."""
    for word in words:
        yield from missing_paths(word, folder)
    module = next((w for w in words if w.startswith("espnet2_sv.bin.")), None)
    if module is not None:
        name = module.removeprefix("espnet2_sv.bin.")
        known = {} if name == "NAME" else options_of_command(name)
        if known is None:
            yield f"there is no command {module}"
        elif known:
            yield from unknown_options(words[words.index(module) :], known, folder)
    elif words[0] == "espnet2-sv" and len(words) > 1 and words[1] != "VERB":
        if words[1] in ("--help", "--version"):
            return
        name = VERBS.get(words[1].replace("_", "-"))
        if name is None:
            yield f"espnet2-sv has no verb {words[1]}"
        else:
            yield from unknown_options(words[2:], options_of_command(name), folder)
    elif words[0].endswith(".py") and words[0].startswith("tools/"):
        texts = [p.read_text() for p in (ROOT / words[0]).parent.glob("*.py")]
        known = set(re.findall(r"--\w+", "".join(texts)))
        yield from unknown_options(words[1:], known, folder)
    elif words[0].endswith(".sh") and not words[0].startswith("ci/"):
        places = [base / words[0] for base in (folder, ROOT, TEMPLATE)]
        script = next((place for place in places if place.exists()), None)
        if script is None:
            yield f"there is no script {words[0]}"
        else:
            known = options_of_script(script)
            yield from unknown_options(words[1:], known, script.parent)


def unknown_options(
    words: Iterable[str], known: Iterable[str], folder: Path
) -> Iterator[str]:
    """Options that are not known, those in values that are passed on included."""
    option = ""
    for word in words:
        if word == "--":
            return
        if option in PASSED_ON:
            inner = frozenset().union(*map(options_of_command, PASSED_ON[option]))
            yield from unknown_options(word.split(), inner, folder)
        elif option == "--local_data_opts" and "-" in word:
            inner = options_of_script(folder / "local/data.sh")
            yield from unknown_options(word.split(), inner, folder)
        elif word.startswith("--") and word.partition("=")[0] not in known:
            yield f"option {word} is not known"
        option = word


def unknown_in_span(span: str, folder: Path) -> Iterator[str]:
    """Check inline code that is a command, an option or a path."""
    try:
        found = list(commands(span))
    except ValueError:  # an unpaired quotation mark: no command
        return
    for words in found:
        if len(words) == 1 and words[0].endswith(".sh"):  # a name, not a call
            yield from missing_paths(words[0], folder)
        else:
            yield from unknown_in_command(words, folder)
        if words[0].startswith("--"):
            yield from unknown_options(words, all_options(), folder)


def unknown_in_option_tables(prose: str) -> Iterator[str]:
    """Names without dashes, in the first column of tables headed ``option``."""
    for table in re.findall(r"^\| option \|.*\n((?:\|.*\n)+)", prose, re.MULTILINE):
        for row in table.splitlines():
            for name in re.findall(r"`(\w+)`", row.split("|")[1]):
                if f"--{name}" not in all_options():
                    yield f"option {name} is not known"
