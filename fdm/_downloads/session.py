"""Sessions: requests whose redirects keep to https, and whose secrets go to one host alone."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import attrs
import requests
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, requote_uri


@attrs.frozen(repr=False)
class Secret:
    """Headers that are for the host of one URL."""

    url: str
    headers: Mapping[str, str]


class Session(requests.Session):
    """Connections whose redirects are followed by `answer` alone: requests reads their bodies, and leaves https.

    Secret headers go to their host alone, neither to a mirror, nor on from the first redirect that leads elsewhere; so do
    user and password of a URL. Both come before what a netrc file has for the host.
    """

    def __init__(self, secret: Secret) -> None:
        super().__init__()
        self._secret = secret

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nothing that requests itself would follow."""

    def answer(self, url: str, headers: Mapping[str, str], timeout: tuple[float, float]) -> requests.Response:
        """The first answer that is no redirect; nothing of its contents is read yet."""
        start, login = url, get_auth_from_url(url)
        has_login, is_home = any(login), self._is_same_host(self._secret.url, url)
        for _ in range(_REDIRECTS):
            secret = self._secret.headers if is_home else {}
            auth = _as_it_is if _authorizes(secret) else HTTPBasicAuth(*login) if has_login else None
            response = self.get(url, headers={**secret, **headers}, auth=auth, stream=True, timeout=timeout)
            target = super().get_redirect_target(response)
            if target is None:
                return response
            response.close()
            url = urljoin(response.url, requote_uri(target))
            if urlsplit(response.url).scheme == "https" and urlsplit(url).scheme != "https":
                msg = (
                    f"it is redirected from https to {urlsplit(url).scheme}://{urlsplit(url).hostname}, where anybody on "
                    f"the way could change it; give that URL itself if it is to be trusted"
                )
                raise requests.exceptions.InvalidSchema(msg)
            has_login = has_login and self._is_same_host(start, url)
            is_home = is_home and self._is_same_host(self._secret.url, url)
        msg = f"it is redirected more than {_REDIRECTS} times"
        raise requests.TooManyRedirects(msg)

    def _is_same_host(self, url: str, other: str) -> bool:
        leads_away: Any = self.should_strip_auth  # also by another port, or by a scheme that is no safer
        return not leads_away(url, other)


def _authorizes(headers: Mapping[str, str]) -> bool:
    return any(name.lower() == "authorization" for name in headers)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


_REDIRECTS = 30
