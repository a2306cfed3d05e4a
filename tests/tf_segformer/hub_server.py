"""A server on the loopback interface that speaks the Hugging Face Hub's file endpoints, and its faults.

It answers what huggingface_hub's client documents and reads: `/resolve/` with an etag and the commit, a
redirect to the storage for large files with `X-Linked-*`, error codes in `X-Error-Code`, ranges; for uploads
`/api/repos/create`, `preupload`, the Git LFS batch and `commit`.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = (".bin", ".h5", ".safetensors", ".keras")


class Repository:
    """Commits of files by path, and the names (branches, tags) that point to them."""

    def __init__(self, files: dict[str, bytes] | Path, token: str | None = None) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}
        self.token = token  # gated: whoever shows another one, or none, is refused
        self.granted = True
        self.commit(files)

    def commit(self, files: dict[str, bytes] | Path, ref: str = "main") -> str:
        if isinstance(files, Path):
            paths = [path for path in files.rglob("*") if path.is_file()]
            files = {str(path.relative_to(files)): path.read_bytes() for path in paths}
        commit = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[commit] = files
        self.refs[ref] = commit
        return commit


class HubServer(ThreadingHTTPServer):
    """`repositories` by id; `moved` from an old id to the new; `requests` is the log.

    Attributes:
        cut: Bytes after which a download from the storage breaks off, once each.
        down: Every request is answered with 503.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.moved: dict[str, str] = {}
        self.storage: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str | None] = []
        self.cut: list[int] = []
        self.down = False
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.storage_url = f"http://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def fetched(self) -> list[str]:
        """What was downloaded, without look-ups: paths of small files, and names of large ones."""
        return [
            path.rpartition("/")[2]
            for method, path in self.requests
            if method == "GET" and "/api/" not in path
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self._read()

    def do_GET(self) -> None:
        self._read()

    def _read(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        if self.server.down:
            return self._answer(503, b"", {})
        if match := re.fullmatch(r"/storage/(\w+)/[^/]+", path):
            return self._stored(self.server.storage[match[1]])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve(*match.groups())
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+|/tree/[^/]+)?", path):
            return self._describe(*match.groups())
        if path == "/api/whoami-v2":
            return self._json({"name": "me", "type": "user", "orgs": []})
        return self._answer(404, b"", {})

    def _resolve(self, name: str, revision: str, path: str) -> None:
        if name in self.server.moved:
            location = f"/{self.server.moved[name]}/resolve/{revision}/{path}"
            return self._answer(307, b"", {"Location": location})
        repository = self.server.repositories.get(name)
        if repository is None:
            return self._error(404, "RepoNotFound")
        if not self._may_read(repository):
            return None
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self._error(404, "RevisionNotFound")
        headers = {"X-Repo-Commit": commit}
        data = repository.commits[commit].get(path)
        if data is None:
            return self._error(404, "EntryNotFound", headers)
        if not path.endswith(LARGE):
            etag = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            return self._answer(200, data, {**headers, "ETag": f'"{etag}"'})
        digest = hashlib.sha256(data).hexdigest()
        self.server.storage[digest] = data
        # another host, as the Hub's storage is: the client follows redirects on its own host by itself
        location = f"{self.server.storage_url}/storage/{digest}/{path.rpartition('/')[2]}"
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "Location": location}
        return self._answer(302, b"", {**headers, **linked})

    def _may_read(self, repository: Repository) -> bool:
        if repository.token is None:
            return True
        shown = self.headers.get("Authorization")
        if shown is not None and shown != f"Bearer {repository.token}":
            self._answer(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
            return False
        if shown is None or not repository.granted:
            self._error(403 if shown else 401, "GatedRepo")
            return False
        return True

    def _stored(self, data: bytes) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        start = (
            int(match[1]) if (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")) else 0
        )
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        self._answer(206 if start else 200, data[start:], headers, cut=self.server.cut)

    def _describe(self, name: str, what: str | None) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            return self._error(404, "RepoNotFound")
        revision = what.rpartition("/")[2] if what else "main"
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self._error(404, "RevisionNotFound")
        files = repository.commits[commit]
        entries = [
            {"type": "file", "path": path, "size": len(data), "oid": "0"} for path, data in files.items()
        ]
        if what and what.startswith("/tree"):
            return self._json(entries)
        siblings = [{"rfilename": path} for path in files]
        return self._json({"id": name, "sha": commit, "siblings": siblings})

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, path))
        if self.headers.get("Authorization") != "Bearer write":
            return self._answer(403, b"{}", {})
        if path == "/api/repos/create":
            fields = json.loads(body)
            name = f"{fields.get('organization') or 'me'}/{fields['name']}"
            if name in self.server.repositories:
                return self._json({"url": f"{self.server.url}/{name}"}, 409)
            self.server.repositories[name] = Repository({".gitattributes": b""})
            return self._json({"url": f"{self.server.url}/{name}", "name": name})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", path):
            repository = self.server.repositories[match[1]]
            repository.refs[match[2]] = repository.refs["main"]
            return self._json({}, 201)
        if re.fullmatch(r"/api/models/.+/preupload/.+", path):
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [
                {
                    "path": file,
                    "uploadMode": "lfs" if file.endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            return self._json({"files": modes})
        if re.fullmatch(r"/.+\.git/info/lfs/objects/batch", path):
            objects = [
                {**item, "actions": {"upload": {"href": f"{self.server.url}/upload/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
            return self._commit(match[1], match[2], body)
        return self._answer(404, b"", {})

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.storage[self.path.rpartition("/")[2]] = data
        self._answer(200, b"", {})

    def _commit(self, name: str, ref: str, body: bytes) -> None:
        repository = self.server.repositories[name]
        files = dict(repository.commits[repository.refs[ref]])
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.storage[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        commit = repository.commit(files, ref)
        self._json(
            {"success": True, "commitOid": commit, "commitUrl": f"{self.server.url}/{name}/commit/{commit}"}
        )

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

    def _json(self, content: object, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(
        self, status: int, data: bytes, headers: dict[str, str], cut: list[int] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut:
            self.wfile.write(data[: cut.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(data)
