"""Fields of a submission."""

from pathlib import Path

import pytest

from molva.errors import EmptyAudio, MissingAudio, OptionError
from molva.http.jobs.form import Wishes, digest_of, parse_form
from molva.http.multipart import Form, UploadedFile
from molva.jobs.job import JobPriority
from molva.speech.clustering import SpeakerCount

FILE = UploadedFile("a.ogg", 5)


def wishes(file: UploadedFile | None = FILE, /, **fields: str) -> Wishes:
    return parse_form(Form(tuple(fields.items()), file))


def test_a_recording_is_enough() -> None:
    assert wishes() == Wishes("transcribe", None, None, JobPriority.NORMAL, None, None)


def test_everything_that_can_be_asked_for() -> None:
    fields = {"language": " RU ", "task": "translate", "model": "whisper-1", "priority": "high"}
    assert wishes(**fields, webhook_url="http://a/b", other="x") == Wishes(
        "translate", "ru", "whisper-1", JobPriority.HIGH, "http://a/b", None
    )


def test_speakers_may_be_asked_for() -> None:
    assert wishes(diarization="true").speakers == SpeakerCount()
    assert wishes(diarization="TRUE", min_speakers="2", max_speakers="3").speakers == SpeakerCount(2, 3)
    assert wishes(diarization="true", num_speakers=" 4 ").speakers == SpeakerCount(4, 4)
    assert wishes(diarization="false").speakers is None
    assert wishes(diarization="", num_speakers="").speakers is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"diarization": "maybe"}, "diarization must be true or false"),
        ({"num_speakers": "2"}, "num_speakers needs diarization=true"),
        ({"diarization": "true", "num_speakers": "two"}, "num_speakers must be a whole number"),
        ({"diarization": "true", "num_speakers": "-1"}, "num_speakers must be a whole number"),
        ({"diarization": "true", "num_speakers": "9" * 5000}, "num_speakers must be a whole number"),
        ({"diarization": "true", "num_speakers": "0"}, "num_speakers must be 1 to 64, not 0"),
        ({"diarization": "true", "min_speakers": "3", "max_speakers": "2"}, "min_speakers 3 is more than"),
    ],
)
def test_nonsense_about_speakers(fields: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{message}"):
        wishes(**fields)


def test_an_address_may_stand_for_the_recording() -> None:
    assert wishes(None, audio_url="http://a/b.ogg").audio_url == "http://a/b.ogg"


@pytest.mark.parametrize("field", ["model", "priority", "webhook_url", "audio_url"])
def test_an_empty_field_is_an_absent_one(field: str) -> None:
    assert wishes(**{field: " "}) == wishes()


def test_of_a_repeated_field_the_last_counts() -> None:
    form = Form((("priority", "low"), ("priority", "high")), FILE)
    assert parse_form(form).priority == JobPriority.HIGH


def test_a_missing_recording() -> None:
    with pytest.raises(MissingAudio, match=r"^missing 'audio' field$"):
        wishes(None)
    with pytest.raises(MissingAudio):
        wishes(None, audio_url="")


def test_an_empty_recording() -> None:
    with pytest.raises(EmptyAudio, match=r"^audio field is empty$"):
        wishes(UploadedFile("a.ogg", 0))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("task", "diarize", r"^task must be 'transcribe' or 'translate'$"),
        ("task", "", r"^task must be 'transcribe' or 'translate'$"),
        ("language", "auto", "leave it out"),
        ("language", "Auto", "leave it out"),
        ("language", "", "leave it out"),
        ("priority", "urgent", "low, normal, high"),
        ("audio_url", "http://a/b", "either audio or audio_url"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(field: str, value: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as refused:
        wishes(**{field: value})
    assert refused.value.option == field


def test_the_digest_is_of_all_fields_in_any_order_and_of_the_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"sound")
    other.write_bytes(b"other sound")
    fields = (("language", "ru"), ("x", "1"))
    digest = digest_of(Form(fields, FILE), one)
    assert digest_of(Form(fields[::-1], UploadedFile("renamed", 5)), one) == digest
    assert digest_of(Form(fields, FILE), other) != digest
    assert digest_of(Form((("language", "ru"), ("x", "2")), FILE), one) != digest
    assert digest_of(Form((("language", "ru"),), FILE), one) != digest
