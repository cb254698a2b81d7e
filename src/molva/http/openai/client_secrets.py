"""`/v1/realtime/client_secrets` and its beta form: a short-lived token that carries a session's settings."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from molva.http.middleware import KEY_NAME
from molva.http.openai.realtime_events import new_id
from molva.http.openai.realtime_settings import DEFAULT, BetaSession, GaSession, Settings, Shape, patched
from molva.http.openai.schemas import ERRORS, OpenAiProblem
from molva.http.openai.transcriptions import chooser
from molva.http.state import ServerState

router = APIRouter(tags=["openai"])

DEFAULT_SECONDS = 60

RESPONSES = {code: ERRORS[code] for code in (400, 401, 403, 429, 500, 503)} | {
    "default": {"model": OpenAiProblem, "description": "Any other error"}
}


class ExpiresAfter(Shape):
    """For how long sessions may be opened with a token. A session that has begun goes on."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=10, le=7200)] = DEFAULT_SECONDS


class ClientSecretRequest(Shape):
    """What the token is to be like."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: GaSession = GaSession()


class BetaClientSecret(Shape):
    """`client_secret` of the beta request."""

    expires_at: ExpiresAfter | None = None


class TranscriptionSessionRequest(BetaSession):
    """A session's settings in the words of the beta dialect."""

    client_secret: BetaClientSecret | None = None


class ClientSecret(Shape):
    """A token."""

    value: str
    expires_at: int
    """Unix seconds."""


class ClientSecretAnswer(ClientSecret):
    """A token, and what sessions with it begin with."""

    session: dict[str, Any]


class TranscriptionSessionAnswer(Shape):
    """A session's settings, and a token for sessions that begin with them."""

    id: str
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    expires_at: int
    client_secret: ClientSecret
    input_audio_format: str
    input_audio_transcription: dict[str, Any]
    turn_detection: dict[str, Any] | None
    input_audio_noise_reduction: dict[str, Any] | None
    include: list[str] | None


@router.post("/v1/realtime/client_secrets", responses=RESPONSES)
async def client_secrets(request: Request, wishes: ClientSecretRequest | None = None) -> ClientSecretAnswer:
    """A token `ek_…` for WebSockets to /v1/realtime: safe to hand to a page."""
    wishes = wishes or ClientSecretRequest()
    settings = patched(DEFAULT, wishes.session.patch)
    model, secret = await _create(request, settings, wishes.expires_after)
    session = {
        "id": new_id("sess"),
        "object": "realtime.transcription_session",
        "expires_at": secret.expires_at,
        **settings.told(model, beta=False),
    }
    return ClientSecretAnswer(value=secret.value, expires_at=secret.expires_at, session=session)


@router.post("/v1/realtime/transcription_sessions", responses=RESPONSES)
async def transcription_sessions(
    request: Request, wishes: TranscriptionSessionRequest | None = None
) -> TranscriptionSessionAnswer:
    """The same in the beta dialect."""
    wishes = wishes or TranscriptionSessionRequest()
    settings = patched(DEFAULT, wishes.patch)
    lifetime = wishes.client_secret.expires_at if wishes.client_secret is not None else None
    model, secret = await _create(request, settings, lifetime or ExpiresAfter())
    return TranscriptionSessionAnswer(
        id=new_id("sess"),
        expires_at=secret.expires_at,
        client_secret=secret,
        **settings.told(model, beta=True),
    )


@router.options("/v1/realtime/client_secrets", include_in_schema=False)
@router.options("/v1/realtime/transcription_sessions", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


async def _create(request: Request, settings: Settings, lifetime: ExpiresAfter) -> tuple[str, ClientSecret]:
    """The model that will serve, and a token. Raises OptionError, ModelLoading, ShuttingDown, Busy."""
    state: ServerState = request.app.state.server
    model = (await chooser(state, state.admit().info, "transcribe"))(settings.model, settings.language)
    key_name = request.scope.get("state", {}).get(KEY_NAME)
    value, token = state.ephemeral.create(settings, seconds=lifetime.seconds, key_name=key_name)
    return model, ClientSecret(value=value, expires_at=token.expires_at)
