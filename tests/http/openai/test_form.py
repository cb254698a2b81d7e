"""Fields of OpenAI's form: what each may say, what it means here, and by which name it is refused."""

import json
from collections.abc import Mapping

import pytest

from molva.errors import OptionError
from molva.http.openai.form import FORMATS, TRANSLATION_FORMATS, ResponseFormat, Wishes, parse_fields
from molva.speech.chunks import WindowRule

MODELS = ("served", "other")


def choose(name: str | None, language: str | None) -> str:
    """The model that was named, or the served one."""
    if (name or "served") not in MODELS:
        raise OptionError("model", "no such model")
    if language == "xx":
        raise OptionError("language", "no such language")
    return name or "served"


def parse(*fields: tuple[str, str], formats: tuple[ResponseFormat, ...] = FORMATS) -> Wishes:
    return parse_fields(fields, choose, formats=formats)


def refused(*fields: tuple[str, str], formats: tuple[ResponseFormat, ...] = FORMATS) -> str:
    """The name of the field that the form is refused by."""
    with pytest.raises(OptionError) as error:
        parse(*fields, formats=formats)
    assert str(error.value)
    return error.value.option


PLAIN = Wishes(
    model="served",
    language=None,
    prompt=None,
    temperature=None,
    response_format="json",
    segments=True,
    words=False,
    logprobs=False,
    stream=False,
    windows=None,
)


class TestNames:
    def test_nothing_but_the_file_is_needed(self) -> None:
        assert parse() == PLAIN

    @pytest.mark.parametrize(
        "name", ["model", "language", "prompt", "temperature", "response_format", "stream", "chunking_strategy"]
    )
    @pytest.mark.parametrize("empty", ["", " ", "\n"])
    def test_an_empty_field_is_an_absent_one(self, name: str, empty: str) -> None:
        assert parse((name, empty)) == PLAIN

    @pytest.mark.parametrize("name", ["user", "temperature2", "Model", "service_tier", "file_name", "[]", "", "ключ"])
    def test_names_that_the_api_does_not_have_are_ignored(self, name: str) -> None:
        assert parse((name, "whatever")) == PLAIN

    def test_the_last_of_repeated_fields_counts(self) -> None:
        assert parse(("model", "other"), ("model", "served"), ("language", "de"), ("language", "ru")).model == "served"

    @pytest.mark.parametrize("name", ["timestamp_granularities", "timestamp_granularities[]"])
    def test_lists_have_bracketed_and_bare_names(self, name: str) -> None:
        wishes = parse(("response_format", "verbose_json"), (name, "word"), (name, "segment"))
        assert (wishes.words, wishes.segments) == (True, True)
        assert parse((name.replace("timestamp_granularities", "include"), "logprobs")).logprobs


class TestModelAndLanguage:
    def test_the_model_is_chosen_by_its_name(self) -> None:
        assert parse(("model", " other ")).model == "other"
        assert refused(("model", "gpt-9")) == "model"

    @pytest.mark.parametrize(("value", "language"), [("ru", "ru"), ("RU", "ru"), (" en ", "en"), ("auto", None)])
    def test_a_language_is_a_code_in_any_case(self, value: str, language: str | None) -> None:
        assert parse(("language", value)).language == language

    def test_the_model_is_chosen_by_the_language_too(self) -> None:
        assert refused(("language", "XX")) == "language"

    def test_a_prompt_is_taken_as_it_is(self) -> None:
        assert parse(("prompt", "Иннокентий, GigaAM")).prompt == "Иннокентий, GigaAM"


class TestTemperature:
    @pytest.mark.parametrize(
        ("value", "temperature"), [("0.3", 0.3), ("1", 1.0), ("1e-1", 0.1), ("0", None), ("0.0", None), ("-0", None)]
    )
    def test_from_0_which_is_none_at_all_to_1(self, value: str, temperature: float | None) -> None:
        assert parse(("temperature", value)).temperature == temperature

    @pytest.mark.parametrize("value", ["hot", "-0.1", "1.01", "nan", "inf", "0,5", "0x1", "1e400"])
    def test_all_else_is_refused(self, value: str) -> None:
        assert refused(("temperature", value)) == "temperature"


class TestFormat:
    @pytest.mark.parametrize("name", FORMATS)
    def test_each_can_be_asked_for(self, name: ResponseFormat) -> None:
        assert parse(("response_format", name)).response_format == name

    @pytest.mark.parametrize("name", ["xml", "JSON", "json ;", "md"])
    def test_others_are_refused_in_the_words_that_clients_know(self, name: str) -> None:
        with pytest.raises(OptionError, match=f"response_format '{name}' is not supported"):
            parse(("response_format", name))
        assert refused(("response_format", name)) == "response_format"

    def test_translations_know_no_speakers(self) -> None:
        assert refused(("response_format", "diarized_json"), formats=TRANSLATION_FORMATS) == "response_format"


class TestGranularities:
    @pytest.mark.parametrize(
        ("values", "segments", "words"),
        [
            ([], True, False),
            ([""], True, False),
            (["segment"], True, False),
            (["word"], False, True),
            (["word", "word"], False, True),
            (["segment", "word"], True, True),
        ],
    )
    def test_they_choose_what_verbose_json_lists(self, values: list[str], segments: bool, words: bool) -> None:
        wishes = parse(("response_format", "verbose_json"), *(("timestamp_granularities[]", value) for value in values))
        assert (wishes.segments, wishes.words) == (segments, words)

    def test_unknown_ones_are_refused(self) -> None:
        fields = ("response_format", "verbose_json"), ("timestamp_granularities[]", "letter")
        assert refused(*fields) == "timestamp_granularities"

    @pytest.mark.parametrize("name", [name for name in FORMATS if name != "verbose_json"])
    def test_they_need_verbose_json(self, name: str) -> None:
        fields = ("response_format", name), ("timestamp_granularities[]", "word")
        assert refused(*fields) == "timestamp_granularities"


class TestInclude:
    def test_logprobs_come_when_asked_for(self) -> None:
        assert parse(("include[]", "logprobs")).logprobs

    def test_unknown_ones_are_refused(self) -> None:
        assert refused(("include[]", "logprobs"), ("include[]", "faces")) == "include"

    @pytest.mark.parametrize("name", [name for name in FORMATS if name != "json"])
    def test_they_need_json(self, name: str) -> None:
        assert refused(("response_format", name), ("include[]", "logprobs")) == "include"


class TestStream:
    @pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", "yes", "on"])
    def test_words_for_yes(self, word: str) -> None:
        assert parse(("stream", word)).stream

    @pytest.mark.parametrize("word", ["false", "False", "0", "no", "off", ""])
    def test_words_for_no(self, word: str) -> None:
        assert not parse(("stream", word)).stream

    @pytest.mark.parametrize("word", ["maybe", "2", "truth"])
    def test_others_are_refused(self, word: str) -> None:
        assert refused(("stream", word)) == "stream"


VAD = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 250, "silence_duration_ms": 640}


class TestChunkingStrategy:
    def test_auto_is_the_usual_rule(self) -> None:
        assert parse(("chunking_strategy", "auto")).windows is None

    @staticmethod
    def check(windows: WindowRule | None) -> None:
        assert windows is not None
        assert windows.padding_s == 0.25
        assert not windows.keep_short
        assert (windows.speech.onset, windows.speech.release) == (0.6, 0.6 - 0.15)
        assert windows.speech.min_silence == 20  # frames of 32 ms

    def test_an_object_says_where_speech_is_cut(self) -> None:
        self.check(parse(("chunking_strategy", json.dumps(VAD))).windows)

    def test_the_members_of_an_object_may_be_fields_as_openais_clients_send_them(self) -> None:
        self.check(parse(*((f"chunking_strategy[{name}]", str(value)) for name, value in VAD.items())).windows)

    @pytest.mark.parametrize(
        ("member", "values"), [("threshold", (0.001, 0.999)), ("silence_duration_ms", (32, 10_000))]
    )
    def test_its_bounds_are_within_reach(self, member: str, values: tuple[float, float]) -> None:
        for value in values:
            windows = parse(("chunking_strategy", json.dumps(VAD | {member: value}))).windows
            assert windows is not None
            assert 0 < windows.speech.release < 1
            assert windows.speech.min_silence >= 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"type": "semantic_vad"},
            {"threshold": 0.5},
            VAD | {"threshold": 0},
            VAD | {"threshold": 1},
            VAD | {"threshold": "high"},
            VAD | {"prefix_padding_ms": -1},
            VAD | {"silence_duration_ms": 10_001},
            VAD | {"create_response": True},
        ],
    )
    def test_an_object_that_is_wrong_is_refused(self, wrong: Mapping[str, object]) -> None:
        assert refused(("chunking_strategy", json.dumps(wrong))) == "chunking_strategy"
        assert refused(*((f"chunking_strategy[{k}]", str(v)) for k, v in wrong.items())) == "chunking_strategy"

    @pytest.mark.parametrize("wrong", ["none", "{", "[]", "null", "17", '{"type":"server_vad"', "[" * 50_000, "NaN"])
    def test_what_is_no_object_is_refused(self, wrong: str) -> None:
        assert refused(("chunking_strategy", wrong)) == "chunking_strategy"


class TestKnownSpeakers:
    NAMES, REFERENCES = "known_speaker_names[]", "known_speaker_references[]"
    DIARIZED = ("response_format", "diarized_json")

    def test_each_name_has_its_reference(self) -> None:
        fields = [(self.NAMES, "Anna"), (self.REFERENCES, "data:a"), (self.NAMES, "Ben"), (self.REFERENCES, "data:b")]
        assert parse(self.DIARIZED, *fields).known_speakers == {"Anna": "data:a", "Ben": "data:b"}
        assert parse(self.DIARIZED).known_speakers == {}

    @pytest.mark.parametrize("name", [NAMES, REFERENCES])
    def test_other_formats_have_no_speakers(self, name: str) -> None:
        assert refused((name, "x")) == name.removesuffix("[]")
        assert parse((name, "")) == PLAIN

    @pytest.mark.parametrize("names", [["a"] * 2, ["a", "b", "c", "d", "e"], ["x" * 65], ["a\x00b"]])
    def test_names_that_are_none(self, names: list[str]) -> None:
        fields = [field for name in names for field in ((self.NAMES, name), (self.REFERENCES, "data:"))]
        assert refused(self.DIARIZED, *fields) == "known_speaker_names"

    def test_a_name_without_a_reference_and_the_other_way_round(self) -> None:
        assert refused(self.DIARIZED, (self.NAMES, "Anna")) == "known_speaker_references"
        assert refused(self.DIARIZED, (self.REFERENCES, "data:")) == "known_speaker_references"


class TestWhatCannotBeDoneHere:
    def test_what_would_change_the_text_is_refused_rather_than_ignored(self) -> None:
        assert refused(("keywords[]", "x")) == "keywords"
        assert parse(("keywords[]", "")) == PLAIN

    @pytest.mark.parametrize("name", ["languages[]", "languages"])
    def test_a_list_of_languages_may_name_one(self, name: str) -> None:
        assert parse((name, "RU")) == parse(("language", "ru"), (name, "ru")) == parse(("language", "ru"))
        assert parse((name, "")) == parse((name, "auto")) == PLAIN
        assert refused((name, "ru"), (name, "en")) == refused(("language", "ru"), (name, "en")) == "languages"


class TestOrder:
    def test_a_value_that_is_none_comes_before_the_model_and_the_format_after_it(self) -> None:
        temperature, model, response_format = ("temperature", "x"), ("model", "x"), ("response_format", "x")
        assert refused(response_format, model, temperature) == "temperature"
        assert refused(response_format, model) == "model"
        assert refused(response_format) == "response_format"

    @pytest.mark.parametrize("name", ["response_format", "model", "include", "timestamp_granularities"])
    def test_a_value_is_not_echoed_at_length(self, name: str) -> None:
        with pytest.raises(OptionError) as error:
            parse((name, "x" * 60_000))
        assert len(str(error.value)) < 200
