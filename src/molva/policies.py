"""Settings -> the rules that the parts of a server keep to: at start, and again at each SIGHUP."""

from molva.http.connection import ConnectionRule
from molva.http.guard import Guards
from molva.http.hosts import ANY, HostPolicy
from molva.http.origin import OriginPolicy
from molva.http.proxies import TrustedProxies
from molva.http.rate import RateLimiter, RateRule
from molva.http.state import Limits, SessionLimits
from molva.loopback import is_loopback
from molva.settings import Settings
from molva.speech.live import LiveRule

KEY_OF_SETTINGS = "MOLVA_API_KEY"
"""Name of the key that is a setting, wherever it is from."""


def rate_rule(settings: Settings) -> RateRule | None:
    """How often an address may ask; None sets no bound."""
    per_minute = settings.rate_limit_per_minute
    return RateRule(per_minute, settings.rate_limit_burst) if per_minute else None


def connection_rule(settings: Settings) -> ConnectionRule:
    """How many connections there may be, and how long a request may take to come."""
    return ConnectionRule(settings.max_connections, settings.header_timeout_secs)


def guards(settings: Settings) -> Guards:
    """What stands before the doors. Where other machines can reach them, they may call this one by any name."""
    return Guards(
        limiter=RateLimiter(rate_rule(settings)),
        proxies=TrustedProxies(settings.trusted_proxies),
        hosts=HostPolicy(settings.allow_host if is_loopback(settings.host) else (ANY,)),
        body_timeout_s=settings.body_timeout_secs,
    )


def limits(settings: Settings) -> Limits:
    """Of requests."""
    return Limits(
        body_bytes=settings.body_limit_bytes,
        bodies_bytes=settings.bodies_limit_bytes,
        max_audio_s=settings.max_audio_secs,
        inference_timeout_s=settings.inference_timeout_s,
        upload_bytes=settings.upload_limit_bytes or None,
        upload_audio_s=settings.upload_max_audio_secs or None,
    )


def session_limits(settings: Settings) -> SessionLimits:
    """Of live sessions."""
    return SessionLimits(
        checkout_timeout_s=settings.checkout_timeout_s,
        idle_timeout_s=settings.idle_timeout_secs,
        max_session_s=settings.max_session_secs,
        inference_timeout_s=settings.inference_timeout_s,
        rule=LiveRule(min_silence_ms=settings.min_silence_ms, endpoint=settings.endpoint_mode != "manual"),
    )


def origin_policy(settings: Settings) -> OriginPolicy:
    """Which web pages may ask."""
    return OriginPolicy(settings.allow_origin, settings.cors_allow_any, settings.allow_host)


def extra_keys(settings: Settings) -> dict[str, str]:
    """Keys beside those of the file, by name."""
    return {KEY_OF_SETTINGS: settings.api_key.get_secret_value()} if settings.api_key else {}
