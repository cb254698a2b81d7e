"""Paths of requests -> templates of routes: few, whatever clients send, and without what is in the path."""

import re
from collections.abc import Iterable

from starlette.routing import compile_path

OTHER = "other"
"""Stands for every path that leads nowhere, and for every method that is none."""


class RouteTemplates:
    """The routes of a server by their paths."""

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths` as routes have them: `/v1/models/{model:path}`."""
        self._fixed: set[str] = set()
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        for path in dict.fromkeys(paths):
            if "{" in path:
                pattern, template, _ = compile_path(path)
                self._patterns.append((pattern, template))
            else:
                self._fixed.add(path)

    def of(self, path: str) -> str:
        """The template for the path of a request, `/v1/models/{model}`; OTHER where there is no such route."""
        if path in self._fixed:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), OTHER)
