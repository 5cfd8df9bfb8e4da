"""Cognee: recorded bodies, datasets of documents that can be searched once they are cognified."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from tests.engines.server import FakeEngine, Reply, Request, overlap, recorded, running

KEY = "cognee-key-of-the-tests"
EMAIL, PASSWORD = "cozy@example.org", "a password of the tests"
ANOTHER_DATASET = "somebody_elses"
STRANGERS_SECRET = "The gold lies under the bridge"


def body(name: str, /, **values: Any) -> bytes:
    return recorded(f"cognee/{name}", **values)


@dataclass
class Document:
    id: str
    name: str
    text: str
    is_cognified: bool = False


@dataclass
class Dataset:
    id: str
    name: str
    documents: dict[str, Document] = field(default_factory=dict)


class FakeCognee(FakeEngine):
    """With `KEY`, or an account that logs in. `another_user`: a search brings another dataset's passages."""

    logins = ("/api/v1/auth/login",)
    errors: ClassVar[Mapping[str, bytes]] = {
        "401": body("unauthenticated"),
        "403": body("forbidden"),
        "429": body("rate_limited"),
        "500": body("internal"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[str, Dataset] = {}
        """By name."""
        self.access_control = True
        self.is_open = False
        """It was started without authentication."""
        self.pipelines_fail = False
        self.tokens: set[str] = set()

    def expire(self) -> None:
        """No token that was given out is good any more."""
        self.tokens.clear()

    def dataset(self, name: str) -> Dataset:
        """The dataset of this name, made where there is none."""
        return self.data.setdefault(name, Dataset(str(uuid5(NAMESPACE_OID, name)), name))

    def put(self, dataset: str, name: str, text: str) -> Document:
        """A document that can be found, past the API."""
        document = Document(str(uuid4()), name, text, is_cognified=True)
        self.dataset(dataset).documents[document.id] = document
        return document

    def answer(self, request: Request) -> Reply:
        if request.path == "/health":
            return Reply(body("health"))
        parts = request.path.removeprefix("/api/v1/").split("/")
        if parts == ["auth", "login"]:
            return self._login(request)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not (self.is_open or request.headers.get("x-api-key") == KEY or bearer in self.tokens):
            return Reply(body("unauthenticated"), 401)
        match request.method, parts:
            case "POST", ["search"]:
                return self._search(request.json)
            case "POST", ["add"]:
                return self._add(request)
            case "POST", ["cognify"]:
                return self._cognify(request.json)
            case "POST", ["forget"]:
                asked = request.json
                dataset = self._by_id(asked["datasetId"])
                assert dataset is not None
                dataset.documents.pop(asked["dataId"], None)
                return Reply(body("forgotten", dataset_id=dataset.id))
            case "GET", ["datasets"]:
                listed = [body("dataset", id=d.id, name=d.name) for d in self.data.values()]
                return Reply(body("datasets", datasets=listed))
            case "GET", ["datasets", key, "data"]:
                dataset = self._by_id(key)
                return self._forbidden() if dataset is None else Reply(self._listing(dataset))
            case "DELETE", ["datasets", key] if key:
                dataset = self._by_id(key)
                if dataset is None:
                    return self._forbidden()
                del self.data[dataset.name]
                return Reply(body("null"))
        raise AssertionError(f"{request.method} {request.path} is not for us to call")

    def _login(self, request: Request) -> Reply:
        given = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if (given.get("username"), given.get("password")) != (EMAIL, PASSWORD):
            return Reply(body("bad_login"), 400)
        token = f"jwt-{uuid4().hex}"
        self.tokens.add(token)
        cookie = {"set-cookie": f"auth_token={token}; HttpOnly; Path=/; SameSite=lax"}
        return Reply(body("login", access=token), 200, cookie)

    def _by_id(self, key: str) -> Dataset | None:
        return next((dataset for dataset in self.data.values() if dataset.id == str(UUID(key))), None)

    @staticmethod
    def _forbidden() -> Reply:
        return Reply(body("forbidden"), 403)

    @staticmethod
    def _listing(dataset: Dataset) -> bytes:
        listed = [
            body("datum", id=d.id, name=d.name, dataset_id=dataset.id, size=len(d.text.encode()))
            for d in dataset.documents.values()
        ]
        return body("data", data=listed)

    def _search(self, asked: dict[str, Any]) -> Reply:
        if not asked["query"]:
            return Reply(body("internal"), 500)
        assert asked["searchType"] == "CHUNKS"
        if ids := asked.get("datasetIds"):  # names beside them are not read
            chosen = [self._by_id(key) for key in ids]
        else:
            chosen = [self.data.get(name) for name in asked["datasets"]]
        if self.fault == "another_user":
            stranger = Dataset(str(uuid5(NAMESPACE_OID, ANOTHER_DATASET)), ANOTHER_DATASET)
            stranger.documents["x"] = Document(str(uuid4()), "map", STRANGERS_SECRET, is_cognified=True)
            chosen = [stranger]
        if any(dataset is None for dataset in chosen) and ids:
            return self._forbidden()
        for place, dataset in enumerate(chosen):
            if dataset is None or not any(d.is_cognified for d in dataset.documents.values()):
                name = dataset.name if dataset else asked["datasets"][place]
                detail = f"No searchable memory in dataset '{name}' yet; run cognify first. [NoDataError]"
                return Reply(body("no_data", detail=detail), 404)
        parts: list[bytes] = []
        for dataset in chosen:
            assert dataset is not None
            hits = self._hits(asked["query"], dataset)[: asked["topK"]]
            part = body("search_part", dataset_id=dataset.id, dataset_name=dataset.name, hits=hits)
            parts += [part] if self.access_control else hits
        return Reply(body("search", parts=parts))

    @staticmethod
    def _hits(query: str, dataset: Dataset) -> list[bytes]:
        """Every passage there is, nearest first: a vector search has no threshold."""
        near = [
            (1 - overlap(query, text), place, text, d)
            for d in dataset.documents.values()
            if d.is_cognified
            for place, text in enumerate(d.text.split("\n\n"))
        ]
        return [
            body(
                "hit",
                id=str(uuid5(UUID(d.id), str(place))),
                text=text,
                document_id=d.id,
                document_name=d.name,
                chunk_index=place,
                score=round(distance, 6),
            )
            for distance, place, text, d in sorted(near, key=lambda found: found[:3])
        ]

    def _add(self, request: Request) -> Reply:
        fields, file = _multipart(request)
        if file is None:
            return Reply(body("no_file"), 400)
        if "datasetId" in fields:
            dataset = self._by_id(fields["datasetId"])
            if dataset is None:
                return self._forbidden()
        elif "datasetName" in fields:
            dataset = self.dataset(fields["datasetName"])
        else:
            return Reply(body("bad_request"), 400)
        name, content = file
        text = content.decode()
        # known by its content, whatever it is called
        data_id = str(uuid5(UUID(dataset.id), text))
        is_known = data_id in dataset.documents
        if not is_known:
            dataset.documents[data_id] = Document(data_id, name.rpartition(".")[0], text)
        status = "PipelineRunAlreadyCompleted" if is_known else "PipelineRunCompleted"
        return Reply(
            body("added", dataset_id=dataset.id, dataset_name=dataset.name, status=status, data_id=data_id)
        )

    def _cognify(self, asked: dict[str, Any]) -> Reply:
        assert asked["runInBackground"] is False
        (key,) = asked["datasetIds"]
        dataset = self._by_id(key)
        assert dataset is not None
        status = "PipelineRunErrored" if self.pipelines_fail else "PipelineRunCompleted"
        for document in dataset.documents.values():
            document.is_cognified = document.is_cognified or not self.pipelines_fail
        return Reply(body("cognified", dataset_id=dataset.id, dataset_name=dataset.name, status=status))


def _multipart(request: Request) -> tuple[dict[str, str], tuple[str, bytes] | None]:
    """The fields, and the file in `data`."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    fields: dict[str, str] = {}
    file: tuple[str, bytes] | None = None
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        names = dict(re.findall(r'(\w+)="([^"]*)"', head.decode()))
        if "filename" in names:
            file = (names["filename"], content)
        else:
            fields[names["name"]] = content.decode()
    return fields, file


@asynccontextmanager
async def fake_cognee() -> AsyncGenerator[FakeCognee]:
    async with running(FakeCognee()) as fake:
        yield fake
