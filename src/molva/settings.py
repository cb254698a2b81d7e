"""Settings of the server: the only reader of the environment. Defaults < `MOLVA_…` variables < flags."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from molva.errors import SettingsError

Device = Literal["cpu", "cuda", "coreml"]
EndpointMode = Literal["auto", "assistant", "manual"]
Lifecycle = Literal["eager", "lazy"]
Precision = Literal["auto", "int8", "fp32"]


class Settings(BaseSettings):
    """What `molva serve` was told. Each field is the flag `--name-with-dashes` and the variable `MOLVA_NAME`.

    `api_key` is a variable only: every user of a machine can read the flags of its processes.
    """

    model_config = SettingsConfigDict(env_prefix="MOLVA_", frozen=True, extra="forbid", env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback needs --bind-all.")
    port: int = Field(9876, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    bind_all: bool = Field(False, description="Allow addresses that other machines can reach.")
    allow_origin: tuple[str, ...] = Field((), description="A foreign web origin to allow; may be given several times.")
    cors_allow_any: bool = Field(False, description="Allow every web origin.")
    api_key: SecretStr | None = Field(None, description="A key to ask for, besides those of `molva keys`.")

    model: str = Field("auto", description="A name from `molva models list`, or auto.")
    model_dir: Path | None = Field(None, description="Folder of models. Default: DATA_DIR/models.")
    data_dir: Path = Field(Path("~/.molva"), description="Folder for everything molva keeps.")
    device: Device = Field("cpu", description="Where the engine runs.")
    precision: Precision = Field("auto", description="Weights of the encoder; auto takes INT8 on a CPU.")
    max_models: int = Field(1, ge=1, le=64, description="Models in memory; the idle one used longest ago makes room.")
    workers: int = Field(0, ge=0, le=256, description="Inference threads; 0 takes one for each core.")

    lifecycle: Lifecycle = Field("eager", description="When the model is loaded: at start, or when first needed.")
    model_idle_timeout_secs: int | None = Field(
        None, ge=0, description="An unused model is unloaded after so long; 0 never does. Default: 300 if lazy, else 0."
    )
    gpu_poll_interval_secs: int = Field(30, ge=1, description="How often loading is tried while a GPU is full.")

    pool_size: int | None = Field(
        None, ge=1, le=1024, description="Sessions and requests that are served at once. Default: what was measured."
    )
    max_waiting: int = Field(64, ge=0, description="Callers that may wait for a place; more are refused at once.")
    pool_checkout_timeout_secs: int = Field(30, ge=0, description="How long a caller waits for a place; 0 is 1.")
    inference_timeout_secs: int = Field(600, ge=0, description="Longest wait for the engine; 0 has no limit.")
    body_limit_bytes: int = Field(50 * 2**20, ge=1, description="Largest body of the native routes.")
    max_audio_secs: float = Field(7200, gt=0, description="Longest recording of the native routes.")
    idle_timeout_secs: int = Field(300, ge=1, description="Longest silence of a live client on the wire.")
    max_session_secs: int = Field(3600, ge=0, description="Longest live session; 0 has no limit.")
    ws_frame_max_bytes: int = Field(512 * 2**10, ge=1024, description="Largest WebSocket message.")
    endpoint_mode: EndpointMode = Field("auto", description="What ends an utterance: silence, or in manual only stop.")
    min_silence_ms: int = Field(500, ge=100, le=10_000, description="Silence that ends an utterance.")
    alias: tuple[str, ...] = Field((), description="A name for a model, as NAME=MODEL; may be given several times.")
    upload_limit_bytes: int = Field(2 * 2**30, ge=0, description="Largest upload of /v1/audio; 0 has no limit.")
    upload_max_audio_secs: float = Field(36_000, ge=0, description="Longest recording of /v1/audio; 0 has no limit.")
    shutdown_drain_secs: int = Field(10, ge=0, description="How long running requests may finish; 0 is 1.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level to log.")

    @property
    def models(self) -> Path:
        """Folder of models."""
        return _at_home(self.model_dir or self.data_dir / "models")

    @property
    def key_file(self) -> Path:
        """Where `molva keys` keeps its keys."""
        return _at_home(self.data_dir / "keys.json")

    @property
    def spool(self) -> Path:
        """Where uploads are kept while they are transcribed."""
        return _at_home(self.data_dir / "spool")

    @property
    def model_idle_timeout_s(self) -> float | None:
        """Of a model that nobody uses; None keeps it in memory."""
        if self.model_idle_timeout_secs is None:
            return 300 if self.lifecycle == "lazy" else None
        return self.model_idle_timeout_secs or None

    @property
    def checkout_timeout_s(self) -> float:
        return max(self.pool_checkout_timeout_secs, 1)

    @property
    def drain_s(self) -> float:
        return max(self.shutdown_drain_secs, 1)

    @property
    def inference_timeout_s(self) -> float | None:
        return self.inference_timeout_secs or None

    @field_validator("api_key")
    @classmethod
    def _refuse_what_no_header_can_carry(cls, key: SecretStr | None) -> SecretStr | None:
        value = key.get_secret_value() if key else ""
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise ValueError("a key is letters, digits and signs of ASCII, without spaces and line ends")
        return key

    @model_validator(mode="after")
    def _refuse_open_addresses(self) -> Self:
        if not self.bind_all and not is_loopback(self.host):
            raise ValueError(f"host {self.host} can be reached by other machines; add --bind-all if that is meant")
        return self


def read_settings(**flags: Any) -> Settings:
    """Settings from the environment and from `flags`; those that are None were not given.

    Raises SettingsError that names what is wrong.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{name}: {message}" if name else message)
        raise SettingsError("; ".join(problems)) from None


def _at_home(folder: Path) -> Path:
    try:
        return folder.expanduser()
    except RuntimeError:  # a user id without a name and without HOME, as containers have
        return Path(*folder.parts[1:])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`: localhost, ::1 or anything in 127.0.0.0/8."""
    name = host.strip("[]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
