"""The models that clients may name: OpenAI's list, and its entries one by one."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from molva.engines.base import Task
from molva.http.openai.problems import problem
from molva.http.openai.schemas import ERRORS, NO_MODEL
from molva.http.schemas import ModelObject
from molva.http.state import ServerState
from molva.models.catalog import CATALOG

router = APIRouter(tags=["openai"])


async def model_objects(state: ServerState) -> list[ModelObject]:
    """The model that is served, the others on this machine, and the aliases for them."""
    installed = await asyncio.to_thread(state.store.installed)
    names = dict.fromkeys([state.model, *(model.spec.name for model in installed)])
    objects = [_object(name) for name in names]
    for alias, target in state.aliases.items():
        if target == "auto" or target in names:
            objects.append(ModelObject(id=alias, owned_by="molva"))
    return objects


def _object(name: str) -> ModelObject:
    spec = CATALOG.get(name)
    if spec is None:
        return ModelObject(id=name, owned_by="molva")
    tasks: list[Task] = ["transcribe", "translate"] if spec.translates else ["transcribe"]
    return ModelObject(id=name, owned_by=spec.family, languages=list(spec.languages), tasks=tasks)


# The parameter is documented by hand: the framework would add a 422, and no name is malformed.
@router.get(
    "/v1/models/{model}",
    response_model=ModelObject,
    responses={**{status: ERRORS[status] for status in (401, 403, 429, 500)}, 404: NO_MODEL},
    openapi_extra={
        "parameters": [{"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]
    },
)
async def model(request: Request) -> ModelObject | Response:
    """One entry of the list."""
    name = request.path_params["model"]
    for entry in await model_objects(request.app.state.server):
        if entry.id == name:
            return entry
    return problem(404, f"The model '{name[:64]}' does not exist", param="model", code="model_not_found")


@router.options("/v1/models/{model}", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)
