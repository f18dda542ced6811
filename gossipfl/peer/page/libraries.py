"""The libraries that serve a page."""

from __future__ import annotations

from gossipfl.extras import require_extra

__all__ = ["require_libraries"]


def require_libraries() -> None:
    """Require the libraries that serve a page.

    Raises
    ------
    SettingError
        One is not installed.
    """
    require_extra("page", ("starlette", "hypercorn", "prometheus_client"), what="a page")
