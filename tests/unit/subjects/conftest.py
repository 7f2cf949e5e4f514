"""A vLLM tree of the test's own, and a package index of the test's own on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import re
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field

import pytest

DECODE_FILE = "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"

KEYWORDS = (
    "q, kv_cache, swa_k_cache, swa_only, topk_indices, topk_lens, swa_indices, swa_lens, "
    "attn_sink, scale, head_dim, nope_head_dim, rope_head_dim, output"
)
STEP = dict.fromkeys(KEYWORDS.split(", "))


@pytest.fixture(scope="session")
def decode_file():
    """The decode file's path from a tree's root."""
    return DECODE_FILE


@pytest.fixture(scope="session")
def keywords():
    """The fourteen parameters as source text."""
    return KEYWORDS


@pytest.fixture(scope="session")
def step():
    """The fourteen keywords, each None."""
    return STEP


@pytest.fixture
def make_tree(tmp_path):
    """A function that writes a vLLM tree with this decode file and gives its root."""

    def make(source, version="9.9.9", name="tree", **others):
        root = tmp_path / name
        files = {DECODE_FILE: source, "vllm/_version.py": f"__version__ = version = '{version}'\n"}
        for path, text in (files | others).items():
            if text is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
        return root

    return make


def sdist(version, files=None, extra_members=()):
    """The bytes of a source archive of this version."""
    if files is None:
        files = {
            DECODE_FILE: "x = 1\n",
            "vllm/_version.py": f"version = '{version}'\n",
            "PKG-INFO": f"Metadata-Version: 2.4\nName: vllm\nVersion: {version}\n",
            "vllm/unwanted.py": "x = 2\n",
        }
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"vllm-{version}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for member in extra_members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return body.getvalue()


def wheel(files, links=()):
    """The bytes of a wheel that holds these files, and these of them as links."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(member, text)
    return body.getvalue()


@dataclass
class Index:
    """A simple package index: files by name, the digests it claims, and what was asked of it."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    sdist = staticmethod(sdist)
    wheel = staticmethod(wheel)

    def add(self, version, body=None, *, digest=None, send_bytes=None, name=None):
        """Serve an archive: with a false digest, or cut short, where asked."""
        name = name or f"vllm-{version}.tar.gz"
        self.files[name] = sdist(version) if body is None else body
        true_digest = hashlib.sha256(self.files[name]).hexdigest()
        self.digests[name] = true_digest if digest is None else digest
        if send_bytes is not None:
            self.cut[name] = send_bytes
        return name


@pytest.fixture
def index(monkeypatch, tmp_path):
    """An index on 127.0.0.1 that `PIP_INDEX_URL` points to, and an empty cache."""
    served = Index()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.requests.append(self.path)
            name = self.path.rpartition("/")[2]
            if match := re.fullmatch(r"/simple/([^/]+)/", self.path):
                links = (
                    f'<a href="/files/{n}#sha256={served.digests[n]}">{n}</a>'
                    if served.digests.get(n)
                    else f'<a href="/files/{n}">{n}</a>'
                    for n in served.files
                    if n.startswith(f"{match[1]}-")
                )
                self.reply("<html><body>" + "".join(links) + "</body></html>", "text/html")
            elif name in served.files:
                body = served.files[name]
                self.reply(body, "application/gzip", served.cut.get(name))
            else:
                self.send_error(404)

        def reply(self, body, kind, send_bytes=None):
            data = body.encode() if isinstance(body, str) else body
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:send_bytes])

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    monkeypatch.setenv("PIP_INDEX_URL", served.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OOM_SUITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("OOM_SUITE_CACHE_KEY", raising=False)
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
