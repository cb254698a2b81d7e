"""Settings of the server: names, kinds, defaults and rules. configuration.py has where their values come from."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from molva.logs import LogFormat
from molva.loopback import is_loopback
from molva.webhooks.signing import parse_secret

Device = Literal["cpu", "cuda", "coreml"]
EndpointMode = Literal["auto", "assistant", "manual"]
Lifecycle = Literal["eager", "lazy"]
LogLevel = Literal["debug", "info", "warning", "error"]
Precision = Literal["auto", "int8", "u8", "fp16", "fp32"]

T = TypeVar("T")

RELOADABLE = "changes while the server runs"
Reloadable = Annotated[T, RELOADABLE]
"""The type of a setting that SIGHUP changes for new requests and sessions; the others wait for a restart."""

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
"""A name in ASCII or an address; IPv6 without brackets."""


class Settings(BaseSettings):
    """What `molva serve` was told. Each field is a key of the configuration file, the variable `MOLVA_NAME` and the
    flag `--name-with-dashes`.

    Secrets are no flags: every user of a machine can read the flags of its processes.
    """

    model_config = SettingsConfigDict(env_prefix="MOLVA_", frozen=True, extra="forbid", env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback needs --bind-all.")
    port: int = Field(9876, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    bind_all: bool = Field(False, description="Allow addresses that other machines can reach.")
    allow_origin: Reloadable[tuple[str, ...]] = Field(
        (), description="A foreign web origin to allow; may be given several times."
    )
    cors_allow_any: Reloadable[bool] = Field(False, description="Allow every web origin.")
    allow_host: tuple[str, ...] = Field(
        (),
        description="A name of this server: it is called by it on loopback, and its page is opened by it; * for any.",
    )
    trust_proxy: tuple[str, ...] = Field(
        (), description="Address or network of a proxy that tells clients' addresses; may be given several times."
    )
    rate_limit_per_minute: Reloadable[int] = Field(
        0, ge=0, description="Requests a minute from one address; 0 has no limit."
    )
    rate_limit_burst: Reloadable[int] = Field(10, ge=0, description="Requests from one address at once.")
    max_connections: Reloadable[int] = Field(1000, ge=1, le=1_000_000, description="Connections at once.")
    header_timeout_secs: Reloadable[float] = Field(15, gt=0, description="How long the head of a request may take.")
    body_timeout_secs: float = Field(30, gt=0, description="How long a request's body may pause.")
    api_key: Reloadable[SecretStr | None] = Field(None, description="A key to ask for, besides those of `molva keys`.")

    model: str = Field("auto", description="A name from `molva models list`, or auto.")
    model_dir: Path | None = Field(None, description="Folder of models. Default: DATA_DIR/models.")
    data_dir: Path = Field(Path("~/.molva"), description="Folder for everything molva keeps.")
    device: Device = Field("cpu", description="Where the engine runs.")
    precision: Precision = Field("auto", description="Weights of the encoder; auto takes INT8 on a CPU.")
    max_models: int = Field(1, ge=1, le=64, description="Models in memory; the idle one used longest ago makes room.")
    workers: int = Field(0, ge=0, le=256, description="Inference threads; 0 takes one for each core.")

    lifecycle: Lifecycle = Field("eager", description="When the model is loaded: at start, or when first needed.")
    model_idle_timeout_secs: Reloadable[int | None] = Field(
        None, ge=0, description="An unused model is unloaded after so long; 0 never does. Default: 300 if lazy, else 0."
    )
    gpu_poll_interval_secs: int = Field(30, ge=1, description="How often loading is tried while a GPU is full.")

    pool_size: int | None = Field(
        None, ge=1, le=1024, description="Sessions and requests that are served at once. Default: what was measured."
    )
    max_waiting: Reloadable[int] = Field(
        64, ge=0, description="Callers that may wait for a place; more are refused at once."
    )
    pool_checkout_timeout_secs: Reloadable[int] = Field(
        30, ge=0, description="How long a caller waits for a place; 0 is 1."
    )
    inference_timeout_secs: Reloadable[int] = Field(
        600, ge=0, description="Longest wait for the engine; 0 has no limit."
    )
    body_limit_bytes: Reloadable[int] = Field(50 * 2**20, ge=1, description="Largest body of the native routes.")
    bodies_limit_bytes: Reloadable[int] = Field(
        2**30, ge=1, description="Most that all bodies on the native routes take in memory at once."
    )
    max_audio_secs: Reloadable[float] = Field(7200, gt=0, description="Longest recording of the native routes.")
    idle_timeout_secs: Reloadable[int] = Field(300, ge=1, description="Longest silence of a live client on the wire.")
    max_session_secs: Reloadable[int] = Field(3600, ge=0, description="Longest live session; 0 has no limit.")
    ws_frame_max_bytes: Reloadable[int] = Field(512 * 2**10, ge=1024, description="Largest WebSocket message.")
    endpoint_mode: Reloadable[EndpointMode] = Field(
        "auto", description="What ends an utterance: silence, or in manual only stop."
    )
    min_silence_ms: Reloadable[int] = Field(500, ge=100, le=10_000, description="Silence that ends an utterance.")
    diarization: Reloadable[bool] = Field(
        False, description="Tell speakers apart where a native client does not say whether to."
    )
    alias: Reloadable[tuple[str, ...]] = Field(
        (), description="A name for a model, as NAME=MODEL; may be given several times."
    )
    upload_limit_bytes: Reloadable[int] = Field(
        2 * 2**30, ge=0, description="Largest upload of /v1/audio; 0 has no limit."
    )
    upload_max_audio_secs: Reloadable[float] = Field(
        36_000, ge=0, description="Longest recording of /v1/audio; 0 has no limit."
    )
    jobs: bool = Field(True, description="Take recordings in now and give transcripts later, at /jobs.")
    job_lease_secs: float = Field(15, ge=1, le=3600, description="After so long, the job of a dead server is taken up.")
    job_attempts: int = Field(3, ge=1, le=1000, description="Servers that may die at the same place of a job.")
    job_keep_audio: Reloadable[bool] = Field(False, description="Keep recordings after their jobs have ended.")
    job_retention_secs: Reloadable[float] = Field(0, ge=0, description="How long ended jobs are kept; 0 keeps them.")
    webhooks: bool = Field(True, description="Tell the addresses that jobs name of what happens.")
    webhook_secret: Reloadable[SecretStr | None] = Field(
        None, description="What webhooks are signed with; several by spaces."
    )
    webhook_attempts: Reloadable[int] = Field(19, ge=1, le=100, description="Attempts to deliver a webhook, in all.")
    webhook_first_wait_secs: Reloadable[float] = Field(
        1, gt=0, description="Wait after the first failure; each next is doubled."
    )
    webhook_max_wait_secs: Reloadable[float] = Field(86_400, gt=0, description="Longest wait between two attempts.")
    webhook_timeout_secs: float = Field(15, gt=0, le=600, description="Longest attempt to deliver a webhook.")
    job_url_host: tuple[str, ...] = Field(
        (), description="A host that recordings may be fetched from, or * for any; may be given several times."
    )
    job_url_limit_bytes: Reloadable[int] = Field(2 * 2**30, ge=1, description="Largest recording that is fetched.")
    allow_network: tuple[str, ...] = Field(
        (), description="A network, not public, that clients' addresses may be in; may be given several times."
    )
    shutdown_drain_secs: Reloadable[int] = Field(10, ge=0, description="How long running requests may finish; 0 is 1.")
    metrics: bool = Field(False, description="Serve metrics for Prometheus at /metrics.")
    metrics_listen: str | None = Field(
        None, description="ADDRESS:PORT that alone serves /metrics, without keys; not loopback needs --bind-all."
    )
    log_level: Reloadable[LogLevel] = Field("info", description="Least severe level to log.")
    log_format: LogFormat = Field("human", description="Log lines for people, or one JSON object each.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the name is pydantic's
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is given: configuration.py reads all sources, and notes which of them a value is from."""
        return (init_settings,)

    @property
    def models(self) -> Path:
        """Folder of models."""
        return at_home(self.model_dir or self.data_dir / "models")

    @property
    def key_file(self) -> Path:
        """Where `molva keys` keeps its keys."""
        return at_home(self.data_dir / "keys.json")

    @property
    def database(self) -> Path:
        """Where jobs and webhooks are kept."""
        return at_home(self.data_dir / "molva.db")

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        return tuple(self.webhook_secret.get_secret_value().split()) if self.webhook_secret else ()

    @property
    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where clients may send molva to besides public addresses."""
        return tuple(ip_network(network) for network in self.allow_network)

    @property
    def trusted_proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Who may tell whose request it is."""
        return tuple(ip_network(network) for network in self.trust_proxy)

    @property
    def job_url_hosts(self) -> frozenset[str] | None:
        """Hosts that recordings may be fetched from: none at all where it is empty, any where it is None."""
        return None if "*" in self.job_url_host else frozenset(host.lower() for host in self.job_url_host)

    @property
    def shelf(self) -> Path:
        """Where recordings of jobs are."""
        return at_home(self.data_dir / "jobs")

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the listener that serves metrics alone."""
        if self.metrics_listen is None:
            return None
        host, _, port = self.metrics_listen.rpartition(":")
        return host, int(port)

    @property
    def spool(self) -> Path:
        """Where uploads are kept while they are transcribed."""
        return at_home(self.data_dir / "spool")

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

    @field_validator("webhook_secret")
    @classmethod
    def _refuse_what_cannot_sign(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            for part in secret.get_secret_value().split() or [""]:  # blanks are no way to sign nothing
                parse_secret(part)
        return secret

    @field_validator("allow_network", "trust_proxy")
    @classmethod
    def _refuse_what_is_no_network(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)  # its own message says what is wrong with it
        return networks

    @field_validator("job_url_host", "allow_host")
    @classmethod
    def _refuse_what_is_no_host(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if host != "*" and not _HOST.fullmatch(host):
                raise ValueError(f"'{host}' is no host name: give it without a scheme, a port and a path")
        return hosts

    @field_validator("metrics_listen")
    @classmethod
    def _refuse_what_is_no_address(cls, address: str | None) -> str | None:
        if address is not None:
            host, _, port = address.rpartition(":")
            if not _HOST.fullmatch(host.strip("[]")) or not (port.isascii() and port.isdigit() and int(port) < 2**16):
                raise ValueError(f"'{address}' is no ADDRESS:PORT, such as 127.0.0.1:9090")
        return address

    @model_validator(mode="after")
    def _refuse_a_rate_that_nobody_can_keep(self) -> Self:
        if self.rate_limit_per_minute and not self.rate_limit_burst:
            raise ValueError("rate_limit_burst 0 with a rate lets nobody in; give it 1 or more")
        return self

    @model_validator(mode="after")
    def _refuse_open_addresses(self) -> Self:
        metrics = self.metrics_address
        if metrics is not None and not self.bind_all and not is_loopback(metrics[0]):
            raise ValueError(
                f"metrics_listen {metrics[0]} can be reached by other machines; add --bind-all if that is meant"
            )
        if not self.bind_all and not is_loopback(self.host):
            raise PydanticCustomError(
                "open_address",
                "host {host} can be reached by other machines; add --bind-all if that is meant",
                {"host": self.host, "setting": "host"},
            )
        return self


def is_reloadable(name: str) -> bool:
    """Whether SIGHUP changes this setting."""
    return RELOADABLE in Settings.model_fields[name].metadata


def is_secret(name: str) -> bool:
    """Whether a setting's value is shown nowhere."""
    return Settings.model_fields[name].annotation == SecretStr | None


def at_home(folder: Path) -> Path:
    """A path with its `~` replaced."""
    try:
        return folder.expanduser()
    except RuntimeError:  # a user id without a name and without HOME, as containers have
        return Path(*folder.parts[1:])
