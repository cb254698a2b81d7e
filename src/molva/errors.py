"""Every error molva raises on purpose.

    MolvaError
    ├── AudioError                 invalid_audio        the bytes are not audio we can decode
    │   ├── EmptyAudio             empty_body           there are no bytes at all
    │   └── AudioTooLong           audio_too_long       longer than the limit of this door
    ├── OptionError                invalid_option       a value the caller chose is not allowed
    │   ├── MissingAudio           missing_audio        a submission without a recording
    │   ├── InvalidFormat          invalid_format       no such output format
    │   ├── UnsupportedTask        unsupported_task     the model cannot do what is asked
    │   └── UnsupportedOperation   unsupported_operation  no model here can translate
    ├── PayloadTooLarge            payload_too_large    more bytes than this door takes
    ├── InvalidKey                 invalid_api_key      no key, or one that does not open this server
    ├── OriginDenied               origin_denied        a web page of another host asks
    ├── MetricsDisabled            metrics_disabled     /metrics is off, or on a port of its own
    ├── HostDenied                 host_denied          the request is meant for a host that this is not
    ├── BodyTimeout                body_timeout         the rest of the request's body does not come
    ├── SettingsError              invalid_settings     configuration that cannot be served
    ├── ModelError                 model_error
    │   ├── UnknownModel           unknown_model        not in the catalog
    │   ├── ModelNotInstalled      model_not_installed  in the catalog, not on this machine
    │   ├── ModelFilesInvalid      model_files_invalid  files that do not fit each other or are damaged
    │   ├── DeviceUnavailable      device_unavailable   the asked execution device is not there
    │   └── DownloadError          download_failed
    │       ├── HubUnreachable     hub_unreachable      no network, or the hub does not answer
    │       ├── HashMismatch       hash_mismatch        what arrived is not what was promised
    │       └── DiskFull           disk_full            no room for the file
    ├── InferenceError             inference_error      the engine failed on this audio
    │   └── InferencePanic         inference_panic      it failed in a way that it should not
    ├── InferenceTimeout           inference_timeout    the run took longer than the operator allows
    ├── TryLater                   internal             refused now; the same request may pass a little later
    │   ├── Busy                   timeout              no place became free in time
    │   │   └── ModelNotReady      model_not_ready      the model is not in memory, and the caller cannot wait
    │   ├── TooManyConnections     too_many_connections  all connections that the server takes are in use
    │   ├── RateLimited            rate_limited         too many requests from this address
    │   └── QuotaExceeded          quota_exceeded       the key has used up what it may use
    ├── SpoolError                 store_unavailable    what is being uploaded cannot be kept now
    │   └── SpoolFull              disk_full            no room on the disk for it
    ├── StoreError                 store_unavailable    the database of jobs and webhooks cannot be used now
    │   └── StoreFull              disk_full            no room on the disk for it
    ├── JobNotFound                job_not_found        there is no such job, or it has been purged
    ├── JobFinished                job_finished         a job that has ended cannot be cancelled
    ├── JobNotDone                 job_not_done         the job has no result: not yet, or it never will
    ├── IdempotencyMismatch        idempotency_mismatch  the same Idempotency-Key came with another submission
    ├── ClaimLost                  claim_lost           a job in hand was cancelled, or another server has it now
    ├── AddressRefused             address_refused      molva may not connect to where it is told to
    ├── FetchFailed                fetch_failed         a recording did not arrive from where it is said to be
    ├── DiarizationUnavailable     diarization_not_available  speakers are asked for, and cannot be told apart here
    ├── ModelLoading               initializing         the server has started, its model has not
    ├── ShuttingDown               pool_closed          the server is draining
    └── Cancelled                  cancelled            the caller went away

`code` is stable and part of the API. The message is for people: it says what happened and what to do next, and
holds no path or internal detail unless the caller named it.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal


class MolvaError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class AudioError(MolvaError):
    """Failed to decode audio. Check the format: WAV, MP3, M4A, OGG, FLAC, WebM, MKV and AMR are supported."""

    code = "invalid_audio"


class EmptyAudio(AudioError):
    """Empty request body"""

    code = "empty_body"


class AudioTooLong(AudioError):
    """The audio is longer than the limit."""

    code = "audio_too_long"

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"The audio is longer than the limit of {limit_s:g} s. Split it into shorter files.")
        self.limit_s = limit_s


class OptionError(MolvaError):
    """An option has a value that is not allowed."""

    code = "invalid_option"

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


class MissingAudio(OptionError):
    """missing 'audio' field"""

    code = "missing_audio"

    def __init__(self) -> None:
        super().__init__("audio", type(self).__doc__ or "")


class InvalidFormat(OptionError):
    """There is no such output format."""

    code = "invalid_format"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__("format", f"Unknown format '{name[:40]}'. Known: {', '.join(known)}.")


class UnsupportedTask(OptionError):
    """The loaded model cannot do this task."""

    code = "unsupported_task"

    def __init__(self, task: str) -> None:
        super().__init__("task", f"task '{task}' is not supported by the loaded model")


class UnsupportedOperation(OptionError):
    """No model here can translate. `molva models pull whisper-small` gets one that can."""

    code = "unsupported_operation"

    def __init__(self) -> None:
        super().__init__("model", type(self).__doc__ or "")


class PayloadTooLarge(MolvaError):
    """Request body exceeds the configured size limit"""

    code = "payload_too_large"


class InvalidKey(MolvaError):
    """Incorrect API key provided."""

    code = "invalid_api_key"


class OriginDenied(MolvaError):
    """Origin not allowed"""

    code = "origin_denied"


class HostDenied(MolvaError):
    """This server is not the host that the request names. `--allow-host` tells it its names."""

    code = "host_denied"


class BodyTimeout(MolvaError):
    """The rest of the request did not come"""

    code = "body_timeout"


class SettingsError(MolvaError):
    """The configuration cannot be used."""

    code = "invalid_settings"


class ModelError(MolvaError):
    """The model cannot be used."""

    code = "model_error"


class UnknownModel(ModelError):
    """The model is not in the catalog."""

    code = "unknown_model"

    def __init__(self, name: str) -> None:
        super().__init__(f"Model '{name}' is not in the catalog. `molva models list` shows what is.")
        self.name = name


class ModelNotInstalled(ModelError):
    """The model is not on this machine."""

    code = "model_not_installed"


class ModelFilesInvalid(ModelError):
    """The model's files are damaged or do not belong together."""

    code = "model_files_invalid"

    def __init__(self, file_name: str, problem: str) -> None:
        super().__init__(
            f"Model file '{file_name}': {problem}. `molva models verify` says what is damaged and how to repair it."
        )
        self.file_name = file_name
        self.problem = problem


class DeviceUnavailable(ModelError):
    """The asked device is not available."""

    code = "device_unavailable"


class DownloadError(ModelError):
    """The model could not be downloaded."""

    code = "download_failed"


class HubUnreachable(DownloadError):
    """The model hub cannot be reached."""

    code = "hub_unreachable"


class HashMismatch(DownloadError):
    """The downloaded file is not the expected one."""

    code = "hash_mismatch"


class DiskFull(DownloadError):
    """There is no room left on the disk."""

    code = "disk_full"


class InferenceError(MolvaError):
    """Transcription failed."""

    code = "inference_error"


class InferencePanic(InferenceError):
    """Inference failed unexpectedly."""

    code = "inference_panic"


class InferenceTimeout(MolvaError):
    """Inference timed out."""

    code = "inference_timeout"


class TryLater(MolvaError):
    """Try again later"""

    def __init__(self, retry_after_s: float, message: str | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Busy(TryLater):
    """Server busy, try again later"""

    code = "timeout"


class ModelNotReady(Busy):
    """The model is not in memory; try again later"""

    code = "model_not_ready"

    def __init__(self, state: str, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.state = state
        """`unloaded`, `loading` or `waiting_for_gpu`."""


class TooManyConnections(TryLater):
    """Too many connections, try again later"""

    code = "too_many_connections"


class RateLimited(TryLater):
    """Too many requests"""

    code = "rate_limited"


class QuotaExceeded(TryLater):
    """This key has used up its quota"""

    code = "quota_exceeded"


class SpoolError(MolvaError):
    """The server cannot keep this upload now; try again later"""

    code = "store_unavailable"


class SpoolFull(SpoolError):
    """The server's disk has no room for this upload; try again later"""

    code = "disk_full"


class StoreError(MolvaError):
    """The job store does not answer; try again later."""

    code = "store_unavailable"


class StoreFull(StoreError):
    """The server's disk has no room for more jobs; try again later."""

    code = "disk_full"


class MetricsDisabled(MolvaError):
    """metrics endpoint disabled"""

    code = "metrics_disabled"


class JobNotFound(MolvaError):
    """There is no such job."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} not found")


class JobFinished(MolvaError):
    """The job has ended."""

    code = "job_finished"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} is already in terminal state {status}")


class JobNotDone(MolvaError):
    """The job has no result, or whatever else is wanted of it."""

    code = "job_not_done"

    def __init__(self, job_id: str, status: str, wanted: Literal["result", "waveform"] = "result") -> None:
        told = {
            "result": "Only a job that is done has one.",
            "waveform": "It has one once its recording has been looked through.",
        }
        super().__init__(f"job {job_id} has no {wanted}: it is {status}. {told[wanted]}")


class IdempotencyMismatch(MolvaError):
    """This Idempotency-Key was used for another submission. Choose a new key for a new submission."""

    code = "idempotency_mismatch"


class ClaimLost(MolvaError):
    """The job was cancelled, or another server has taken it up."""

    code = "claim_lost"


class AddressRefused(MolvaError):
    """The server may not connect to this address."""

    code = "address_refused"


class FetchFailed(MolvaError):
    """The recording could not be fetched from its URL."""

    code = "fetch_failed"


class DiarizationUnavailable(MolvaError):
    """Speakers cannot be told apart here."""

    code = "diarization_not_available"

    def __init__(self, way_out: str) -> None:
        super().__init__(f"Speakers cannot be told apart here. {way_out}")


class ModelLoading(MolvaError):
    """The model is still loading; GET /ready tells when it is done"""

    code = "initializing"


class ShuttingDown(MolvaError):
    """Server is shutting down"""

    code = "pool_closed"


class Cancelled(MolvaError):
    """The caller went away."""

    code = "cancelled"
