"""Sections of documents that programs write."""

from pathlib import Path

import pytest

from tests.reports import replace_section


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n<!-- a -->\nold\nolder\n<!-- /a -->\n<!-- b -->\n<!-- /b -->\nend\n", encoding="utf-8")
    replace_section(page, "a", ["new", "я"])
    replace_section(page, "a", ["new", "я"])
    expected = "# Page\n<!-- a -->\nnew\nя\n<!-- /a -->\n<!-- b -->\n<!-- /b -->\nend\n"
    assert page.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(
    "text",
    ["", "<!-- a -->\n", "<!-- /a -->\n<!-- a -->\n", "<!-- a -->\n<!-- /a -->\n<!-- a -->\n<!-- /a -->\n"],
)
def test_a_page_without_the_section_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no section"):
        replace_section(page, "a", ["new"])
    assert page.read_text(encoding="utf-8") == text
