"""One URL read into one file: resumed where it provably is the same file, retried while there is hope."""

import re
import shutil
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import attrs
import requests
from urllib3.exceptions import HTTPError

from .._text import short
from .session import Secret, Session


def read(
    url: str, part: Path, count: Callable[[int], object], *, sha256: str | None, silence: float, secret: Secret
) -> bool:
    """Read a URL to the end of `part`, from where it stops; retried as long as anything comes.

    What is there is gone on with only if it provably is the beginning of the same file: by a strong ETag, or by the
    `sha256`, which is compared afterwards, by the caller. Returns whether all came in one answer. `silence` is the
    longest time between two blocks, in seconds; `secret` goes to its host alone.
    """
    if urlsplit(url).scheme == "file":
        part.unlink(missing_ok=True)
        shutil.copyfile(url2pathname(urlsplit(url).path), part)
        count(part.stat().st_size)
        return True
    attempt, most, known = 0, _size(part), _Known(is_pinned=sha256 is not None)
    while True:
        try:
            return _stream(url, part, count, known, silence=silence, secret=secret)
        except requests.RequestException as error:
            count(0)
            attempt = 1 if _size(part) > most else attempt + 1
            most = max(most, _size(part))
            if attempt >= _ATTEMPTS or not _is_passing(error):
                raise
            time.sleep(_pause(error, attempt))
        except (HTTPError, HTTPException, ValueError) as error:  # what requests lets through of a malformed answer
            msg = f"the server's answer cannot be read: {error}"
            raise requests.RequestException(msg) from error


@attrs.define
class _Known:
    """What is known of the file on the server that `part` is the beginning of."""

    is_pinned: bool  # a digest tells afterwards whether it was
    tag: str | None = None  # its strong ETag, which stands for the very bytes
    size: int | None = None
    has_ranges: bool = True  # until the server sends another range than it was asked for

    @property
    def is_provable(self) -> bool:
        """Whether it can be told that more of it is more of the same."""
        return self.has_ranges and (self.is_pinned or self.tag is not None)

    def rest(self, response: requests.Response, before: int) -> tuple[int, int] | None:
        """How many bytes a 206 brings and how many are missing; None if it is no continuation of this file at `before`."""
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or response.headers.get("Content-Type", "").lower().startswith("multipart/"):
            return None
        start, end = int(match[1]), int(match[2])
        total = int(match[3]) if match[3] != "*" else self.size
        if total is None and self.is_pinned:
            total = end + 1
        tag = _strong_tag(response)
        is_same = tag == self.tag if tag and self.tag else self.is_pinned
        is_next = total is not None and start == before <= end < total and self.size in (None, total)
        return (end + 1 - start, total - start) if is_same and is_next and total is not None else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _stream(
    url: str, part: Path, count: Callable[[int], object], known: _Known, *, silence: float, secret: Secret
) -> bool:
    before = _size(part) if known.is_provable else 0
    headers = {"Accept-Encoding": "identity"}  # the bytes as they are stored, which is what the digest is of
    if before:
        headers["Range"] = f"bytes={before}-"
        if known.tag:
            headers["If-Range"] = known.tag
    with Session(secret) as session, session.answer(url, headers, (_CONNECT, silence)) as response:
        if before and response.status_code == requests.codes.requested_range_not_satisfiable:
            if known.is_pinned and response.headers.get("Content-Range") == f"bytes */{before}":
                return False  # all of it was there; its digest tells whether it is right
            raise _begun_anew(part, known, f"the server has no more than {before} bytes", response)
        if before and response.status_code == requests.codes.partial_content:
            rest = known.rest(response, before)
            if rest is None or _odd_encoding(url, response, known) is not None:
                raise _begun_anew(
                    part, known, f"the server sent something else than the rest from byte {before}", response
                )
            coming, missing = rest
            with part.open("ab") as file:
                _copy(response, file, coming, count)
            if coming < missing:
                msg = f"the server sent {coming} of the {missing} bytes that it was asked for"
                raise requests.ConnectionError(msg, response=response)
            return False
        _check_whole(url, response, known)
        known.tag, known.size = _strong_tag(response), _length(response)
        with part.open("wb") as file:
            _copy(response, file, known.size, count)
        return True


def _begun_anew(part: Path, known: _Known, why: str, response: requests.Response) -> requests.ConnectionError:
    """Drop what is no beginning of the file, and ask for no ranges of it any more."""
    part.unlink()
    known.has_ranges = False
    return requests.ConnectionError(why, response=response)


def _check_whole(url: str, response: requests.Response, known: _Known) -> None:
    """Refuse every answer but the whole file, byte for byte."""
    if response.status_code != requests.codes.ok:
        msg = f"the server answered {response.status_code} {response.reason or ''}".rstrip()
        raise requests.HTTPError(msg, response=response)
    encoding = _odd_encoding(url, response, known)
    if encoding is not None:
        msg = (
            f"the server sent it compressed ({encoding}), though asked for the bytes as they are; give sha256=... of what "
            f"it sends if that is meant"
        )
        raise requests.HTTPError(msg, response=response)


def _odd_encoding(url: str, response: requests.Response, known: _Known) -> str | None:
    """What tells that an answer is not the bytes of the file; None where it is, or where its digest will tell."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    is_gz = encoding in ("gzip", "x-gzip") and urlsplit(url).path.lower().endswith((".gz", ".tgz"))  # its own bytes
    codings = {each.strip().lower() for each in response.headers.get("Transfer-Encoding", "").split(",")}
    if known.is_pinned:
        return None
    if not (is_gz or encoding in ("", "identity")):
        return f"Content-Encoding: {short(encoding, 60)}"
    odd = sorted(codings - {"", "chunked", "identity"})
    return f"Transfer-Encoding: {short(', '.join(odd), 60)}" if odd else None


def _strong_tag(response: requests.Response) -> str | None:
    tag = response.headers.get("ETag", "").strip()
    return tag if re.fullmatch(r'"[^"]+"', tag) else None


def _length(response: requests.Response) -> int | None:
    announced = response.headers.get("Content-Length")
    if announced is None:
        return None
    lengths = {length.strip() for length in announced.split(",")}  # some proxies write it twice
    if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,18}", min(lengths)):
        msg = f"the server's Content-Length is no length: {short(announced, 60)}"
        raise requests.exceptions.InvalidHeader(msg, response=response)
    return int(min(lengths))


def _copy(response: requests.Response, file: Any, expected: int | None, count: Callable[[int], object]) -> None:
    came = 0
    try:
        for block in response.raw.stream(_BLOCK, decode_content=False):
            count(len(block))  # ends here where nobody waits any more, before anything is written
            if expected is not None and came + len(block) > expected:
                msg = f"more came than the {expected} bytes that were announced"
                raise requests.exceptions.InvalidHeader(msg, response=response)  # noqa: TRY301 - nothing else sees it
            file.write(block)
            came += len(block)
    except requests.RequestException:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # the disk, not the net
            raise
        msg = f"the connection broke after {came} bytes: {error}"
        raise requests.ConnectionError(msg) from error
    if expected is not None and came != expected:
        msg = f"the connection ended after {came} of {expected} bytes"
        raise requests.ConnectionError(msg)


def _is_passing(error: requests.RequestException) -> bool:
    """Whether a later attempt may succeed: broken connections, and servers that are busy or failing; not a 404."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in (408, 425, 429, *range(500, 600))
    return isinstance(error, requests.ConnectionError | requests.Timeout)


def _pause(error: requests.RequestException, attempt: int) -> float:
    asked = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return min(60.0, float(asked)) if re.fullmatch(r"[0-9]+", asked) else 0.25 * 2.0**attempt


_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_ATTEMPTS = 5  # without a single byte in between
_CONNECT = 10  # seconds
_BLOCK = 1 << 18
