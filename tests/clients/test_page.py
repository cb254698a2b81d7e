"""The page on clients shows what the tests here run."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parent.parent / "docs" / "clients.md").read_text(encoding="utf-8")


def calls(source: str) -> set[str]:
    """Each call in it, in one spelling."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}


@pytest.mark.parametrize(("heading", "driver"), [("Pipecat", "pipecat_driver"), ("LiveKit agents", "livekit_driver")])
def test_every_call_on_the_page_is_made_by_a_driver(heading: str, driver: str) -> None:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    shown = {call for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL) for call in calls(block)}
    assert shown
    assert shown <= calls((HERE / f"{driver}.py").read_text(encoding="utf-8"))
