"""`/v1/models`: personalities are models, and so are the provider's models that clients may name."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from cozy.interfaces.http.endpoint import Call, endpoint
from cozy.interfaces.http.problems import UnknownModel
from cozy.interfaces.http.service import Service


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    """Seconds since 1970; Cozy does not know when a personality was written."""
    owned_by: str
    name: str | None = None
    """What people call a personality."""
    description: str | None = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


@endpoint("GET", "/v1/models", access="chat", tag="OpenAI", gives=ModelList)
async def list_models(call: Call[None, None]) -> ModelList:
    """List what `model` may name."""
    return ModelList(data=list(_models(call.service)))


@endpoint("GET", "/v1/models/{id:path}", access="chat", tag="OpenAI", gives=Model, errors=(404,))
async def show_model(call: Call[None, None]) -> Model:
    """Tell of one model."""
    models = {model.id: model for model in _models(call.service)}
    name = call.path("id")
    if name not in models:
        raise UnknownModel(name, list(models))
    return models[name]


def _models(service: Service) -> list[Model]:
    library = service.engine.library
    about = [library.graph(id_).persona.about for id_ in library.ids()]
    personalities = [
        Model(id=a.id, owned_by="cozy", name=a.name, description=a.description or None) for a in about
    ]
    return personalities + [Model(id=name, owned_by=name.partition("/")[0]) for name in service.models]


ENDPOINTS = (list_models, show_model)
