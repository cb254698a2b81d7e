"""Tables that programs write into documents."""

from pathlib import Path

import pytest

from tests.reports import replace_section


def test_what_is_between_the_markers_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n<!-- b --><!-- /b -->\n")
    for _ in range(2):
        replace_section(document, "a", ["| new |", "|---|"])
        assert document.read_text() == (
            "before\n<!-- a -->\n\n| new |\n|---|\n\n<!-- /a -->\nafter\n<!-- b --><!-- /b -->\n"
        )


@pytest.mark.parametrize("text", ["", "<!-- a -->", "<!-- /a --><!-- a -->", "<!-- a --><!-- a --><!-- /a -->"])
def test_a_document_without_the_section_is_an_error(tmp_path: Path, text: str) -> None:
    document = tmp_path / "document.md"
    document.write_text(text)
    with pytest.raises(ValueError, match="section"):
        replace_section(document, "a", ["new"])
    assert document.read_text() == text
