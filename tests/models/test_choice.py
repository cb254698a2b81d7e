"""Which model serves a request."""

import pytest

from molva.errors import OptionError, SettingsError, UnsupportedOperation
from molva.models.catalog import CATALOG
from molva.models.choice import ALIASES, AUTO, Candidate, candidate, choose, parse_aliases

GIGAAM = candidate(CATALOG["gigaam-v3-e2e-rnnt"])
CTC = candidate(CATALOG["gigaam-v3-ctc"])
WHISPER = candidate(CATALOG["whisper-base"])
TURBO = candidate(CATALOG["whisper-large-v3-turbo"])


def chosen(
    name: str | None = None, language: str | None = None, *here: Candidate, translate: bool = False, **aliases: str
) -> str:
    return choose(name, language, translate=translate, candidates=here, aliases={**ALIASES, **aliases})


@pytest.mark.parametrize("name", [None, "", AUTO, "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"])
def test_names_that_leave_it_open_mean_the_served_model(name: str | None) -> None:
    assert chosen(name, None, GIGAAM, WHISPER) == GIGAAM.name
    assert chosen(name, None, WHISPER, GIGAAM) == WHISPER.name


@pytest.mark.parametrize("alias", [alias for alias, model in ALIASES.items() if model != AUTO])
def test_names_of_other_servers_mean_models_of_the_catalog(alias: str) -> None:
    spec = CATALOG[ALIASES[alias]]
    assert chosen(alias, None, WHISPER, candidate(spec)) == spec.name


def test_a_model_of_its_own_name_serves_also_where_it_is_not_the_served_one() -> None:
    assert chosen("whisper-base", None, GIGAAM, WHISPER) == "whisper-base"


@pytest.mark.parametrize("name", ["gigaam-v3-ctc", "v3_ctc", "../../etc/passwd", "https://evil.example/x", "GIGAAM"])
def test_a_name_that_is_not_here_is_refused_in_the_words_that_clients_know(name: str) -> None:
    with pytest.raises(OptionError, match="is not available") as error:
        chosen(name, None, GIGAAM, WHISPER)
    assert error.value.option == "model"
    assert name in str(error.value)


def test_a_long_name_is_cut() -> None:
    with pytest.raises(OptionError) as error:
        chosen("x" * 10_000, None, GIGAAM)
    assert len(str(error.value)) < 100


class TestLanguage:
    def test_russian_goes_to_gigaam_where_it_is_here(self) -> None:
        assert chosen(None, "ru", WHISPER, TURBO, CTC) == CTC.name
        assert chosen("whisper-1", "ru", WHISPER, TURBO) == WHISPER.name

    def test_of_several_the_served_one_comes_first(self) -> None:
        assert chosen(None, "ru", CTC, GIGAAM) == CTC.name
        assert chosen(None, "de", TURBO, WHISPER) == TURBO.name

    def test_other_languages_go_to_a_model_that_knows_them(self) -> None:
        assert chosen(None, "de", GIGAAM, WHISPER) == WHISPER.name

    def test_a_language_that_none_knows_is_refused(self) -> None:
        with pytest.raises(OptionError, match="language 'de'") as error:
            chosen(None, "de", GIGAAM, CTC)
        assert error.value.option == "language"

    def test_a_model_that_was_named_is_not_replaced(self) -> None:
        with pytest.raises(OptionError) as error:
            chosen(GIGAAM.name, "de", GIGAAM, WHISPER)
        assert error.value.option == "language"
        assert chosen(WHISPER.name, "ru", GIGAAM, WHISPER) == WHISPER.name


class TestTranslation:
    def test_it_goes_to_a_model_that_can(self) -> None:
        assert chosen(None, None, GIGAAM, WHISPER, translate=True) == WHISPER.name
        assert chosen(None, "ru", GIGAAM, WHISPER, translate=True) == WHISPER.name

    def test_turbo_was_not_taught_to(self) -> None:
        assert chosen(None, None, TURBO, WHISPER, translate=True) == WHISPER.name

    @pytest.mark.parametrize("name", [None, GIGAAM.name])
    def test_where_none_can_it_is_refused_rather_than_left_in_russian(self, name: str | None) -> None:
        with pytest.raises(UnsupportedOperation) as error:
            chosen(name, None, GIGAAM, CTC, translate=True)
        assert (error.value.option, error.value.code) == ("model", "unsupported_operation")


class TestAliases:
    def test_the_operators_come_on_top(self) -> None:
        aliases = parse_aliases(["best=gigaam-v3-rnnt", " any = auto ", "whisper-1=whisper-base"])
        assert aliases == {
            **ALIASES,
            "best": "gigaam-v3-rnnt",
            "any": "auto",
            "whisper-1": "whisper-base",
        }
        assert choose("whisper-1", None, translate=False, candidates=[GIGAAM, WHISPER], aliases=aliases) == WHISPER.name

    @pytest.mark.parametrize("text", ["best", "best=", "=auto", "best=nonsense", "best=a=b", ""])
    def test_others_are_refused_at_start(self, text: str) -> None:
        with pytest.raises(SettingsError, match="NAME=MODEL"):
            parse_aliases([text])

    def test_every_alias_leads_to_the_catalog(self) -> None:
        assert {model for model in ALIASES.values() if model != AUTO} <= CATALOG.keys()
        assert not ALIASES.keys() & CATALOG.keys()
