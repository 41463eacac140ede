"""Credentials: what headers say is read from the environment when a download runs; what is secret stays out of words."""

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote, urlsplit

from .._errors import DownloadError
from .._text import STARS, bare_url, printable


def headers_from(environ: Mapping[str, str], names: Iterable[tuple[str, str]], path: str) -> dict[str, str]:
    """The headers of the file `path`, each with the value of the environment variable that is named for it.

    Raises `DownloadError` for a variable that is not set, or has what no header may have; no message has its value.
    """
    headers = {}
    for header, variable in names:
        value = environ.get(variable, "").strip()
        if not value:
            msg = (
                f"{path!r} is downloaded with the header {header}, whose value is in the environment variable {variable}; "
                f"that is not set. Set it, on every machine that downloads: export {variable}=..."
            )
            raise DownloadError(msg)
        if not (value.isascii() and value.isprintable()):
            msg = (
                f"the environment variable {variable}, the header {header} of {path!r}, has characters that no header may "
                f"have: a line break, or one beyond ASCII"
            )
            raise DownloadError(msg)
        headers[header] = value
    return headers


def counted_url(url: str, *, is_verified: bool) -> str:
    """A URL as it counts in an address: without user, password and what its query has to prove who asks.

    What else the query says may name the file, so it counts; where the file is verified by its sha256, what is a secret
    for some servers and a name for others does not.

    >>> counted_url("https://me:pw@example.org/get?file=a&token=b", is_verified=False)
    'https://example.org/get?file=a'
    """
    above, hash_mark, fragment = url.partition("#")
    start, mark, query = above.partition("?")
    naming, inside = _naming(query, is_verified), _naming(fragment, is_verified)
    mark, hash_mark = mark if naming or not query else "", hash_mark if inside or not fragment else ""
    return _without_login(start) + mark + naming + hash_mark + inside


def unsaid(text: str, urls: Iterable[str], values: Iterable[str]) -> str:
    """A text as it may be printed, without the secrets of these URLs, nor these values and the words in them."""
    for url in urls:
        text = text.replace(url, bare_url(url))
    words = [word for value in values for word in (value, *value.split())]
    parts = [part for url in urls for part in _secrets_in(url)]
    secrets = {form for each in (*words, *parts) for form in (each, unquote(each), quote(each), quote(each, safe=""))}
    for secret in sorted((each for each in secrets if len(each) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, STARS)
    return printable(text)


def environment() -> Mapping[str, str]:
    """The environment variables of this process, now."""
    return os.environ


def _without_login(start: str) -> str:
    # Only what certainly is a login: what is shown may lack more than that, but another file is another address.
    scheme, mark, rest = start.partition("://")
    authority, slash, path = rest.partition("/")
    return scheme + mark + authority.rpartition("@")[2] + slash + path


def _naming(query: str, is_verified: bool) -> str:
    """The entries of a query that may name the file."""
    entries = query.split("&")
    names = {_name_of(entry) for entry in entries}
    secret = _SECRET | (_SIGNED if names & _SIGNATURES else frozenset()) | (_PERHAPS if is_verified else frozenset())
    return "&".join(each for each in entries if not (_name_of(each) in secret or _name_of(each).startswith(_PREFIXES)))


def _secrets_in(url: str) -> list[str]:
    """User, password and the values of the query."""
    try:
        split = urlsplit(url)
    except ValueError:
        return []
    login, _, _ = split.netloc.rpartition("@")
    values = [entry.partition("=")[2] or entry for entry in re.split("[&;]", f"{split.query}&{split.fragment}")]
    return [login, *login.split(":", 1), *values]


def _name_of(entry: str) -> str:
    return re.sub(r"[-_.]", "", unquote(entry.partition("=")[0]).lower())


_SHORTEST = 4  # letters of a secret that is looked for in what servers say; shorter ones are in every word
_SECRET = frozenset(
    {"token", "auth", "authorization", "bearer", "jwt", "apikey", "accesskey", "secret", "secretkey", "clientsecret"}
    | {f"{kind}token" for kind in ("access", "api", "auth", "bearer", "id", "job", "oauth", "private", "security")}
    | {"sessiontoken", "downloadtoken", "password", "passwd", "pwd", "sig", "signature", "credential", "credentials"}
)
_PREFIXES = ("xamz", "xgoog")
_SIGNATURES = frozenset({"sig", "signature"})
# What belongs to a signature, and is made anew with it: of S3, Google, CloudFront and Azure.
_SIGNED = frozenset(
    {"awsaccesskeyid", "googleaccessid", "expires", "policy", "keypairid"}
    | {"sv", "st", "se", "sr", "sp", "spr", "sip", "ss", "srt", "skoid", "sktid", "skt", "ske", "sks", "skv"}
)
_PERHAPS = frozenset({"key", "code", "pass", "session", "sessionid", "ticket", "user", "username"})
