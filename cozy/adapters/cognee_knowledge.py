"""Knowledge in Cognee: passages by their distance to the query, in the datasets that are configured.

A search always says in which datasets, and what it brings is held to that. Documents are known by their
names; how many passages they became is not told, so it is 0 here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from cozy.adapters.engine_http import Ask, EngineHttp, relevance
from cozy.adapters.engine_values import field_of, list_of, moment, records, text_of
from cozy.adapters.sql_engine import required
from cozy.errors import EngineInvalidRequest, EngineUnavailable, did_you_mean
from cozy.ports.knowledge import Document, Passage
from cozy.storage.schema import storable, utc_now
from cozy.turn import UserId

API = "/api/v1"
LONGEST_NAME_BYTES = 240
"""Of a document: on the server it is the name of a file."""
SUFFIX = ".txt"
_UNSAFE = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]')


class CogneeKnowledge:
    """Fills `KnowledgeBase`."""

    def __init__(self, http: EngineHttp) -> None:
        self._http = http
        self._configured = http.settings.datasets

    async def check(self) -> None:
        """Raises EngineError where it is not up."""
        await self._http.value(Ask("GET", "/health"), authenticated=False)

    async def search(
        self, query: str, *, user_id: UserId, datasets: Sequence[str], top_k: int
    ) -> Sequence[Passage]:
        """Documents are the installation's: its one account reads them for every user."""
        del user_id
        asked = await self._resolved([self._allowed(name) for name in datasets or self._configured])
        if not query.strip() or top_k <= 0 or not asked:
            return []
        found = await self._search(query, asked, top_k)
        best = {passage.id: passage for passage in sorted(found, key=lambda passage: passage.score)}
        return sorted(best.values(), key=lambda passage: -passage.score)[:top_k]

    async def add(self, *, dataset: str, name: str, text: str) -> Document:
        """Take a document in, and wait until it can be found."""
        name = storable(required(self._http.name, "the document's name", name, LONGEST_NAME_BYTES))
        content = storable(text).encode()
        if not content.strip():
            raise EngineInvalidRequest(self._http.name, "the document is empty")
        file = _file_name(name)
        if len(file.encode()) > LONGEST_NAME_BYTES:
            raise EngineInvalidRequest(
                self._http.name, f"the document's name is longer than {LONGEST_NAME_BYTES} bytes"
            )
        self._allowed(dataset)
        known = await self._known()
        before = await self._data(known[dataset], dataset) if dataset in known else {}
        limit = self._http.settings.learn_timeout_s
        where = {"datasetId" if _is_id(dataset) else "datasetName": dataset}
        told = await self._http.value(
            Ask("POST", f"{API}/add", file=(file, content), form=where, timeout_s=limit)
        )
        self._is_completed(told)
        dataset_id, ids = _id_of(self._http, told, "dataset_id"), self._data_ids(told)
        body = {"datasetIds": [dataset_id], "runInBackground": False}
        runs = await self._http.value(Ask("POST", f"{API}/cognify", body=body, timeout_s=limit))
        self._is_completed(field_of(self._http, runs, dataset_id, dict))
        for old in before.values():  # last: until the new one can be found, this one can
            if old.name == name and old.id not in ids:
                await self._forget(dataset_id, old.id)
        return Document(ids[0], dataset, name, 0, len(text), utc_now())

    async def documents(self, dataset: str | None = None) -> Sequence[Document]:
        if dataset is not None:
            self._allowed(dataset)
        found: list[Document] = []
        for name, dataset_id in (await self._known()).items():
            if dataset in (None, name):
                found += (await self._data(dataset_id, name)).values()
        return sorted(found, key=lambda document: (document.dataset, document.name))

    async def datasets(self) -> Sequence[str]:
        """Those that are configured, and there."""
        return sorted(await self._known())

    async def remove(self, *, dataset: str, name: str | None = None) -> int:
        self._allowed(dataset)
        dataset_id = (await self._known()).get(dataset)
        if dataset_id is None:
            return 0
        documents = (await self._data(dataset_id, dataset)).values()
        if name is None:
            await self._http.value(Ask("DELETE", f"{API}/datasets/{dataset_id}"))
            return len(documents)
        chosen = [document for document in documents if document.name == name]
        for document in chosen:
            await self._forget(dataset_id, document.id)
        return len(chosen)

    def _allowed(self, dataset: str) -> str:
        if dataset not in self._configured:
            raise EngineInvalidRequest(
                self._http.name,
                f"the dataset `{dataset}` is none of `engines.{self._http.name}.datasets`",
                hint=did_you_mean(dataset, self._configured),
            )
        return dataset

    async def _resolved(self, names: Sequence[str]) -> dict[str, str]:
        """What is asked: id or name, as it is sent → as it is configured.

        With an id the server reads no names, so with one among them the names become ids.
        """
        if not any(_is_id(name) for name in names) or all(_is_id(name) for name in names):
            return {name.lower() if _is_id(name) else name: name for name in names}
        known = await self._known()
        return {known[name]: name for name in names if name in known} | {
            name.lower(): name for name in names if _is_id(name)
        }

    async def _search(self, query: str, asked: Mapping[str, str], top_k: int) -> list[Passage]:
        key = "datasetIds" if all(_is_id(name) for name in asked) else "datasets"
        body = {"query": query, "searchType": "CHUNKS", key: list(asked), "topK": top_k}
        answer = await self._http.answer(Ask("POST", f"{API}/search", body=body, reads=True))
        if answer.status == 404 and "NoDataError" in str(answer.fields().get("detail")):
            if len(asked) == 1:
                return []
            # one of them is empty, and nothing is said of the others
            found: list[Passage] = []
            for sent, name in asked.items():
                found += await self._search(query, {sent: name}, top_k)
            return found
        return [
            passage
            for part in records(self._http, self._http.read(answer))
            for passage in self._passages(part, asked)
        ]

    def _passages(self, part: dict[str, Any], asked: Mapping[str, str]) -> list[Passage]:
        if "search_result" not in part:
            raise EngineUnavailable(
                self._http.name,
                "does not say of which dataset its passages are: none of them is used",
                hint="its access control has to be on (ENABLE_BACKEND_ACCESS_CONTROL)",
            )
        ids = (part.get("dataset_id"), part.get("dataset_name"))
        dataset = next((asked[name] for name in ids if isinstance(name, str) and name in asked), None)
        if dataset is None:
            raise EngineUnavailable(
                self._http.name,
                "answered with passages of a dataset that was not asked: none of them is used",
            )
        return [
            Passage(
                text_of(self._http, hit, "id"),
                text_of(self._http, hit, "text"),
                _document_name(hit.get("document_name")),
                dataset,
                relevance(1 - field_of(self._http, {"score": _number(hit)}, "score", float)),
            )
            for hit in records(self._http, part, "search_result")
        ]

    async def _known(self) -> dict[str, str]:
        """The configured datasets that are there: name, as it is configured → id."""
        found: dict[str, str] = {}
        for record in records(self._http, await self._http.value(Ask("GET", f"{API}/datasets"))):
            dataset_id = _id_of(self._http, record, "id")
            name = record.get("name")
            found |= {own: dataset_id for own in self._configured if own == name or own.lower() == dataset_id}
        return found

    async def _data(self, dataset_id: str, dataset: str) -> dict[str, Document]:
        told = await self._http.value(Ask("GET", f"{API}/datasets/{dataset_id}/data"))
        found: dict[str, Document] = {}
        for record in records(self._http, told):
            data_id = _id_of(self._http, record, "id")
            size = record.get("dataSize")
            length = size if isinstance(size, int) and size >= 0 else 0
            name = _document_name(record.get("name"))
            found[data_id] = Document(data_id, dataset, name, 0, length, moment(record.get("createdAt")))
        return found

    async def _forget(self, dataset_id: str, data_id: str) -> None:
        body = {"datasetId": dataset_id, "dataId": data_id}
        await self._http.value(Ask("POST", f"{API}/forget", body=body))

    def _data_ids(self, run: Any) -> list[str]:
        """The ids of what was added, of which there are some: whatever is not among them may be forgotten."""
        infos = list_of(self._http, run, "data_ingestion_info")
        if not infos:
            self._http.nonsense("did not say which document it took in")
        return [_id_of(self._http, info, "data_id") for info in infos]

    def _is_completed(self, run: Any) -> None:
        """Raises EngineUnavailable for a run that was not."""
        status = text_of(self._http, run, "status")
        if not re.fullmatch(r"PipelineRun(Already)?Completed", status):
            raise EngineUnavailable(self._http.name, f"did not take the document in ({status[:40]})")


def _number(hit: Mapping[str, Any]) -> Any:
    """Its distance, from 0 to 2; whole numbers come without a point, and may be too large for a float."""
    score = hit.get("score")
    return float(min(max(score, 0), 2)) if isinstance(score, int) and not isinstance(score, bool) else score


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name.lower()
    except ValueError:
        return False


def _id_of(http: EngineHttp, record: Any, name: str) -> str:
    """An id that is one: in a path, nothing would be everything."""
    identity = text_of(http, record, name)
    if not _is_id(identity):
        http.nonsense(f"answered without a usable `{name}`")
    return identity.lower()


def _file_name(name: str) -> str:
    """A document's name as that of a file, which the server shows without its ending."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name) + SUFFIX


def _document_name(name: Any) -> str:
    return storable(unquote(name.removesuffix(SUFFIX))) if isinstance(name, str) else ""
