"""Sessions: requests that give secret headers to one host alone."""

from collections.abc import Mapping
from typing import Any

import attrs
import requests


@attrs.frozen(repr=False)
class Secret:
    """Headers that are for the host of one URL."""

    url: str
    headers: Mapping[str, str]


class Session(requests.Session):
    """A session that sends secret headers to their host alone: neither to a mirror, nor where that host redirects to.

    Where one of them is the authorization, it holds, whatever a netrc file has for the host.
    """

    def __init__(self, secret: Secret) -> None:
        super().__init__()
        self._secret, self._is_home = secret, True

    def ask(self, url: str, headers: Mapping[str, str], timeout: tuple[float, float]) -> requests.Response:
        """The response to a request, whose body is still to come."""
        self._is_home = self._is_at_home(url)
        secret = self._secret.headers if self._is_home else {}
        is_authorized = any(name.lower() == "authorization" for name in secret)
        auth = _as_it_is if is_authorized else None
        return self.get(url, headers={**secret, **headers}, auth=auth, stream=True, timeout=timeout)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Leave the headers away from the first redirect on that leads elsewhere, as requests does with its own."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # requests has no types here
        self._is_home = self._is_home and self._is_at_home(str(prepared_request.url))
        for name, value in self._secret.headers.items():
            if self._is_home:
                prepared_request.headers[name] = value
            elif prepared_request.headers.get(name) == value:
                del prepared_request.headers[name]

    def _is_at_home(self, url: str) -> bool:
        leads_away: Any = self.should_strip_auth
        return not leads_away(self._secret.url, url)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
