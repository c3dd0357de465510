"""A Hugging Face Hub on this machine: repositories, uploads with LFS, downloads.

It speaks as much of the Hub's HTTP protocol as ``huggingface_hub`` uses to create a
repository, check a model card, upload a folder and download a snapshot.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_token_of_the_tests"
LARGE = 10_000  # bytes; larger files, and weights, go through LFS
LICENSES = ("apache-2.0", "cc-by-4.0", "mit", "other")
_CARD = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


@dataclass
class Repository:
    """Files by path, and what was done to get there."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)  # paths of LFS files
    commits: list[list[str]] = field(default_factory=list)  # paths that each added

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(len(self.commits)).encode()).hexdigest()

    def oid(self, path: str) -> str:
        """Identity of a file: SHA-256 of an LFS file, else that of git."""
        data = self.files[path]
        if path in self.large:
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def card(self) -> dict:
        return card_metadata(self.files.get("README.md", b"").decode()) or {}

    def tags(self) -> list[str]:
        """Labels as the Hub shows them: those of the card, and what it derives."""
        card = self.card
        tags = [*card.get("tags", []), card.get("library_name", "")]
        tags += ["model-index"] if "model-index" in card else []
        for key, prefix in (("datasets", "dataset:"), ("base_model", "base_model:")):
            values = card.get(key) or []
            values = values if isinstance(values, list) else [values]
            tags += [prefix + value for value in values]
        tags += [f"license:{card['license']}"] if "license" in card else []
        return list(dict.fromkeys(filter(None, tags)))


def card_metadata(content: str) -> dict | None:
    found = _CARD.match(content)
    return yaml.safe_load(found[1]) if found else None


def card_problem(content: str) -> str | None:
    """What the Hub refuses in a card's metadata."""
    try:
        card = card_metadata(content)
    except yaml.YAMLError as e:
        return f"invalid YAML: {e}"
    if not isinstance(card, dict):
        return "no metadata"
    if card.get("license", "mit") not in LICENSES:
        return f'"license" must be one of [{", ".join(LICENSES)}]'
    for result in (card.get("model-index") or [{"results": []}])[0]["results"]:
        if not {"task", "dataset", "metrics"} <= result.keys():
            return '"model-index[0].results[0]" is incomplete'
    return None


class Hub:
    """The server, its repositories and what goes wrong.

    Attributes:
        url: Endpoint, as of HF_ENDPOINT.
        repositories: By ``ORGANISATION/NAME``.
        requests: ``METHOD path`` of every request.
        faults: Statuses by a regular expression of ``METHOD path``; 0 is no answer.
    """

    def __init__(self, url: str = ""):
        self.url = url
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # LFS storage
        self.requests: list[str] = []
        self.faults: dict[str, int] = {}
        self.closed = threading.Event()

    def asked(self, pattern: str) -> int:
        """Number of requests like a regular expression."""
        return sum(bool(re.search(pattern, request)) for request in self.requests)


@contextlib.contextmanager
def serve():
    """Serve an empty Hub on the loopback address."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.closed.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def _handle(self):
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        for pattern, status in self.hub.faults.items():
            if re.search(pattern, request):
                if status == 0:
                    self.hub.closed.wait()
                    self.close_connection = True
                    return
                self._answer(status, {"error": "the Hub has a bad day"})
                return
        for pattern, action in ROUTES:
            found = re.fullmatch(pattern, request)
            if found:
                action(self, body, **found.groupdict())
                return
        self._answer(404, {"error": f"no such page: {request}"})

    do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status, content, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refused(self) -> bool:
        """Whether the token was wrong, which is told."""
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return False
        self._answer(401, {"error": "Invalid username or password."})
        return True

    def _found(self, repo) -> Repository | None:
        repository = self.hub.repositories.get(repo)
        if repository is None:
            self._answer(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
        return repository

    # Uploading

    def validate(self, body):
        problem = card_problem(json.loads(body)["content"])
        if problem:
            message = {"errors": [{"message": problem}], "warnings": []}
            self._answer(400, {"error": problem, **message})
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def create(self, body):
        if self._refused():
            return
        wanted = json.loads(body)
        repo = f"{wanted['organization']}/{wanted['name']}"
        known = repo in self.hub.repositories
        if not known:
            private = wanted.get("visibility") == "private" or bool(
                wanted.get("private")
            )
            self.hub.repositories[repo] = Repository(private)
        content = {"url": f"{self.hub.url}/{repo}", "name": repo}
        self._answer(409 if known else 200, content)

    def preupload(self, body, repo):
        repository = self._found(repo)
        if repository is None or self._refused():
            return
        files = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            large = file["size"] > LARGE or path.endswith(".pth")
            old = repository.oid(path) if path in repository.files else None
            files.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": old,
                }
            )
        self._answer(200, {"files": files})

    def lfs_batch(self, body, repo):
        if self._refused():
            return
        wanted = json.loads(body)
        assert wanted["operation"] == "upload" and "basic" in wanted["transfers"]
        objects = []
        for entry in wanted["objects"]:
            answer = {"oid": entry["oid"], "size": entry["size"]}
            if entry["oid"] not in self.hub.objects:
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"},
                    "verify": {"href": f"{self.hub.url}/lfs-verify"},
                }
            objects.append(answer)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, body, oid):
        self.hub.objects[oid] = body
        self._answer(200, b"")

    def lfs_verify(self, body):
        wanted = json.loads(body)
        data = self.hub.objects.get(wanted["oid"], b"")
        right = hashlib.sha256(data).hexdigest() == wanted["oid"]
        whole = len(data) == wanted["size"]
        self._answer(200 if right and whole else 404, {})

    def commit(self, body, repo):
        repository = self._found(repo)
        if repository is None or self._refused():
            return
        added = []
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.objects[value["oid"]]
                repository.large.add(value["path"])
            if entry["key"] != "header":
                added.append(value["path"])
        repository.commits.append(added)
        url = f"{self.hub.url}/{repo}/commit/{repository.sha}"
        self._answer(200, {"commitUrl": url, "commitOid": repository.sha})

    # Reading

    def info(self, body, repo, revision="main"):
        repository = self._found(repo)
        if repository is None:
            return
        content = {
            "_id": "0",
            "id": repo,
            "modelId": repo,
            "private": repository.private,
            "sha": repository.sha,
            "tags": repository.tags(),
            "siblings": [{"rfilename": path} for path in repository.files],
        }
        if "pipeline_tag" in repository.card:
            content["pipeline_tag"] = repository.card["pipeline_tag"]
        self._answer(200, content)

    def tree(self, body, repo, revision):
        repository = self._found(repo)
        if repository is None:
            return
        entries = []
        for path, data in repository.files.items():
            entry = {"type": "file", "path": path, "size": len(data)}
            entry["oid"] = repository.oid(path)
            if path in repository.large:
                entry["lfs"] = {
                    "oid": entry["oid"],
                    "size": len(data),
                    "pointerSize": 130,
                }
            entries.append(entry)
        self._answer(200, entries)

    def resolve(self, body, repo, revision, path):
        repository = self._found(repo)
        if repository is None:
            return
        if path not in repository.files:
            self._answer(404, {"error": "no entry"}, X_Error_Code="EntryNotFound")
            return
        self._answer(
            200,
            repository.files[path],
            ETag=f'"{repository.oid(path)}"',
            X_Repo_Commit=repository.sha,
        )


_REPO = r"(?P<repo>[^/]+/[^/]+)"
ROUTES = [
    (r"POST /api/validate-yaml", _Handler.validate),
    (r"POST /api/repos/create", _Handler.create),
    (rf"POST /api/models/{_REPO}/preupload/main", _Handler.preupload),
    (rf"POST /{_REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (r"PUT /lfs/(?P<oid>\w+)", _Handler.lfs_put),
    (r"POST /lfs-verify", _Handler.lfs_verify),
    (rf"POST /api/models/{_REPO}/commit/main", _Handler.commit),
    (rf"GET /api/models/{_REPO}", _Handler.info),
    (rf"GET /api/models/{_REPO}/revision/(?P<revision>\w+)", _Handler.info),
    (rf"GET /api/models/{_REPO}/tree/(?P<revision>\w+)", _Handler.tree),
    (rf"(GET|HEAD) /{_REPO}/resolve/(?P<revision>\w+)/(?P<path>.+)", _Handler.resolve),
]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that huggingface_hub talks to in this process, as with HF_ENDPOINT."""
    from huggingface_hub import constants, hf_api

    with serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        # large files by LFS; the storage that hf_xet speaks to is not part of the Hub
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        yield hub
