"""Files: what is downloaded, from where, what it must be, and what it is called."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, cast
from unicodedata import category, normalize
from urllib.parse import unquote, urlsplit

import attrs
from toolz import frequencies

from .._checks import checked, switch
from .._errors import PipelineError
from .._public import public
from .._text import STARS, bare_url, short
from .credentials import counted_url
from .unpack import leads_out


def _checked_url(_: object, attribute: "attrs.Attribute[Any]", url: object) -> None:
    try:
        known = isinstance(url, str) and urlsplit(url).scheme in ("http", "https", "file")
    except ValueError:
        known = False
    if not known:
        shown = bare_url(url) if isinstance(url, str) else url
        msg = f"File: {attribute.name} is an http:, https: or file: URL, not {shown!r}"
        raise PipelineError(msg)
    check_not_starred(attribute.name, cast("str", url))


def check_not_starred(what: str, url: str) -> None:
    if f"={STARS}" in url or f"?{STARS}" in url:
        msg = (
            f"File: {what} is {bare_url(url)!r}, as fdm shows URLs, with stars for what may be secret; give the URL "
            f"itself, such as load_from_checkpoint(path, url=...)"
        )
        raise PipelineError(msg)


def _checked_digest(_: object, attribute: "attrs.Attribute[str | None]", value: object) -> None:
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)):
        msg = f"File: {attribute.name} is 64 hexadecimal digits, not {value!r}"
        raise PipelineError(msg)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _checked_mirrors(_: object, attribute: "attrs.Attribute[tuple[str, ...]]", mirrors: tuple[str, ...]) -> None:
    for mirror in mirrors:
        _checked_url(None, attribute, mirror)


def _several(mirrors: Any) -> tuple[str, ...]:
    return tuple(mirrors) if isinstance(mirrors, Iterable) and not isinstance(mirrors, str) else (mirrors,)


def _pairs(headers: Any) -> Any:
    return tuple(sorted(headers.items())) if isinstance(headers, Mapping) else headers


def _checked_headers(_: object, attribute: "attrs.Attribute[Any]", headers: object) -> None:
    """Names of headers with those of environment variables; what is none may be a secret, so no message has it."""
    example = 'such as {"Authorization": "HUB_TOKEN"}'
    if not isinstance(headers, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in headers):
        msg = f"File: {attribute.name} is a mapping from headers to environment variables, {example}"
        raise PipelineError(msg)
    for header, variable in headers:
        if not isinstance(header, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header):
            msg = f"File: {attribute.name} has a name that no header may have; {example}"
            raise PipelineError(msg)
        if header.lower() in _OWN_HEADERS:
            msg = f"File: the header {header} is for download itself to set"
            raise PipelineError(msg)
        if not isinstance(variable, str) or not re.fullmatch("[A-Z_][A-Z0-9_]*", variable):
            msg = (
                f"File: {attribute.name} has for {header} something else than the name of an environment variable, in "
                f"capital letters, {example}; a secret itself stands in no pipeline"
            )
            raise PipelineError(msg)
    twice = next((name for name, times in frequencies(name.lower() for name, _ in headers).items() if times > 1), None)
    if twice is not None:
        msg = f"File: {attribute.name} has the header {twice} twice"
        raise PipelineError(msg)


def _check_parts(path: str) -> None:
    """Raise `PipelineError` for a path that not every file system has, or that downloads need for themselves."""
    parts = path.split("/")
    odd = next((part for part in parts if part in ("", ".") or not _is_written(part)), None)
    if odd is not None:
        msg = (
            f"File: {short(path, 300)} is no name of a file; its parts, between slashes, are names of 1 to {_LONGEST_NAME} "
            f"bytes without control characters, and {short(odd, 100)} is none"
        )
        raise PipelineError(msg)
    if parts[0].casefold() == ".partial":
        msg = f"File: {short(path, 300)} is in .partial, where download keeps what is not whole; give another name"
        raise PipelineError(msg)


def _is_written(part: str) -> bool:
    try:
        size = len(part.encode())
    except UnicodeEncodeError:  # a half of a character
        return False
    return size <= _LONGEST_NAME and not any(category(character) == "Cc" for character in part)


@public
@attrs.frozen(repr=False)
class File:
    """A file to download: where from, what it must be, and what to call it.

    `sha256` is checked; `name` (default: the last part of the URL) is the path below the folder; `unpack` takes a tar,
    zip or gz apart into that folder; `mirrors` are tried in turn where `url` fails.

    `headers` gives headers by the names of the environment variables that have their values, which are read when the
    download runs, and sent to the host of `url` alone. Secrets are no part of what the file is: neither headers, nor a
    user, password or token in a URL; and none of it is shown.

    >>> File("https://example.org/data/train.csv").path
    'train.csv'
    >>> File("https://example.org/train.csv?token=abc", headers={"Authorization": "HUB_TOKEN"}).headers
    (('Authorization', 'HUB_TOKEN'),)

    Raises `PipelineError` for a URL of another kind, a digest that is none, a name that leaves the folder, or a header
    that does not name a variable.
    """

    url: str = attrs.field(validator=_checked_url)
    sha256: str | None = attrs.field(default=None, converter=_lower, validator=_checked_digest)
    name: str | None = None
    unpack: bool = attrs.field(default=False, **checked(switch, PipelineError, "File: {field}"))
    mirrors: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_checked_mirrors)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs, validator=_checked_headers)

    def __attrs_post_init__(self) -> None:
        if self.headers and urlsplit(self.url).scheme == "file":
            msg = "File: a file: URL has no host that headers could be sent to; leave out headers"
            raise PipelineError(msg)
        written = self.path if isinstance(self.path, str) else ""
        if not PurePosixPath(written).name or leads_out(written) or "\\" in written or "\0" in written:
            msg = f"File: {self.path!r} is no name of a file below the folder; give one: File(..., name='train.csv')"
            raise PipelineError(msg)
        _check_parts(written)

    @property
    def path(self) -> str:
        """Where the file goes below the folder."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name) if self.name is None else self.name

    def counted(self) -> dict[str, Any]:
        """The fields that decide what the file is, as they count in fingerprints: without secrets."""
        is_verified = self.sha256 is not None
        url, *mirrors = [counted_url(url, is_verified=is_verified) for url in (self.url, *self.mirrors)]
        same = {"sha256": self.sha256, "name": self.name, "unpack": self.unpack}
        return {"url": url, **same, "mirrors": tuple(mirrors)}

    def __repr__(self) -> str:
        urls = {"url": bare_url(self.url), "mirrors": tuple(map(bare_url, self.mirrors))}
        shown = attrs.asdict(self, recurse=False) | urls
        fields = (f"{name}={value!r}" for name, value in shown.items() if name != "headers" or value)
        return f"File({', '.join(fields)})"


def check_apart(paths: Sequence[str]) -> None:
    """Raise `PipelineError` for two paths that are one on some file systems, and for a file that another one lies in."""
    folded = {normalize("NFC", normalize("NFC", path).casefold()): path for path in paths}
    if len(folded) < len(paths):
        twice = next(path for path in paths if path not in folded.values())
        msg = (
            f"download: another file has the name {twice!r} but for the case of letters or how accents are written, which "
            f"is one file on some file systems; tell them apart: File(..., name=...)"
        )
        raise PipelineError(msg)
    for key, path in folded.items():
        above = next((folded[str(folder)] for folder in PurePosixPath(key).parents if str(folder) in folded), None)
        if above is not None:
            msg = (
                f"download: {above!r} would be a file, and the folder that {path!r} lies in; tell them apart: "
                f"File(..., name=...)"
            )
            raise PipelineError(msg)


_OWN_HEADERS = frozenset({"accept-encoding", "content-length", "host", "if-range", "range", "transfer-encoding"})
_LONGEST_NAME = 255  # bytes, on nearly all file systems
