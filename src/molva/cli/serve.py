"""`molva serve`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from molva.settings import Settings


def setting(name: str, *flags: str) -> Any:
    """A flag for a setting, with the setting's own description and default."""
    field = Settings.model_fields[name]
    default = "" if field.default in (None, (), False) else f" Default: {field.default}."
    return typer.Option(
        *flags or (f"--{name.replace('_', '-')}",), help=f"{field.description}{default} [MOLVA_{name.upper()}]"
    )


def serve(
    host: Annotated[str | None, setting("host")] = None,
    port: Annotated[int | None, setting("port", "-p", "--port")] = None,
    bind_all: Annotated[bool | None, setting("bind_all", "--bind-all")] = None,
    allow_origin: Annotated[list[str] | None, setting("allow_origin")] = None,
    cors_allow_any: Annotated[bool | None, setting("cors_allow_any", "--cors-allow-any")] = None,
    allow_host: Annotated[list[str] | None, setting("allow_host")] = None,
    trust_proxy: Annotated[list[str] | None, setting("trust_proxy")] = None,
    rate_limit_per_minute: Annotated[int | None, setting("rate_limit_per_minute")] = None,
    rate_limit_burst: Annotated[int | None, setting("rate_limit_burst")] = None,
    max_connections: Annotated[int | None, setting("max_connections")] = None,
    header_timeout_secs: Annotated[float | None, setting("header_timeout_secs")] = None,
    body_timeout_secs: Annotated[float | None, setting("body_timeout_secs")] = None,
    model: Annotated[str | None, setting("model")] = None,
    model_dir: Annotated[Path | None, setting("model_dir")] = None,
    data_dir: Annotated[Path | None, setting("data_dir")] = None,
    device: Annotated[str | None, setting("device")] = None,
    precision: Annotated[str | None, setting("precision")] = None,
    max_models: Annotated[int | None, setting("max_models")] = None,
    workers: Annotated[int | None, setting("workers")] = None,
    lifecycle: Annotated[str | None, setting("lifecycle")] = None,
    model_idle_timeout_secs: Annotated[int | None, setting("model_idle_timeout_secs")] = None,
    gpu_poll_interval_secs: Annotated[int | None, setting("gpu_poll_interval_secs")] = None,
    pool_size: Annotated[int | None, setting("pool_size")] = None,
    max_waiting: Annotated[int | None, setting("max_waiting")] = None,
    pool_checkout_timeout_secs: Annotated[int | None, setting("pool_checkout_timeout_secs")] = None,
    inference_timeout_secs: Annotated[int | None, setting("inference_timeout_secs")] = None,
    body_limit_bytes: Annotated[int | None, setting("body_limit_bytes")] = None,
    max_audio_secs: Annotated[float | None, setting("max_audio_secs")] = None,
    idle_timeout_secs: Annotated[int | None, setting("idle_timeout_secs")] = None,
    max_session_secs: Annotated[int | None, setting("max_session_secs")] = None,
    ws_frame_max_bytes: Annotated[int | None, setting("ws_frame_max_bytes")] = None,
    endpoint_mode: Annotated[str | None, setting("endpoint_mode")] = None,
    min_silence_ms: Annotated[int | None, setting("min_silence_ms")] = None,
    alias: Annotated[list[str] | None, setting("alias")] = None,
    upload_limit_bytes: Annotated[int | None, setting("upload_limit_bytes")] = None,
    upload_max_audio_secs: Annotated[float | None, setting("upload_max_audio_secs")] = None,
    jobs: Annotated[bool | None, setting("jobs", "--jobs/--no-jobs")] = None,
    job_lease_secs: Annotated[float | None, setting("job_lease_secs")] = None,
    job_attempts: Annotated[int | None, setting("job_attempts")] = None,
    job_keep_audio: Annotated[bool | None, setting("job_keep_audio", "--job-keep-audio")] = None,
    job_retention_secs: Annotated[float | None, setting("job_retention_secs")] = None,
    webhooks: Annotated[bool | None, setting("webhooks", "--webhooks/--no-webhooks")] = None,
    webhook_attempts: Annotated[int | None, setting("webhook_attempts")] = None,
    webhook_first_wait_secs: Annotated[float | None, setting("webhook_first_wait_secs")] = None,
    webhook_max_wait_secs: Annotated[float | None, setting("webhook_max_wait_secs")] = None,
    webhook_timeout_secs: Annotated[float | None, setting("webhook_timeout_secs")] = None,
    job_url_host: Annotated[list[str] | None, setting("job_url_host")] = None,
    job_url_limit_bytes: Annotated[int | None, setting("job_url_limit_bytes")] = None,
    allow_network: Annotated[list[str] | None, setting("allow_network")] = None,
    shutdown_drain_secs: Annotated[int | None, setting("shutdown_drain_secs")] = None,
    metrics: Annotated[bool | None, setting("metrics", "--metrics")] = None,
    metrics_listen: Annotated[str | None, setting("metrics_listen")] = None,
    log_level: Annotated[str | None, setting("log_level")] = None,
    log_format: Annotated[str | None, setting("log_format")] = None,
) -> None:
    """Start the server."""
    flags = dict(locals())

    from molva import server
    from molva.cli.console import show_downloads, stderr
    from molva.logs import start_logging
    from molva.runtime.provision import Hub
    from molva.settings import read_settings

    settings = read_settings(**flags)
    start_logging(settings.log_level, settings.log_format)
    with show_downloads(stderr) as on_download:
        status = server.serve(
            settings, Hub.from_environment(), announce=lambda text: print(text, flush=True), on_download=on_download
        )
    raise typer.Exit(status)
