"""One URL read into one file: resumed where it stopped, retried while there is hope."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests

from .session import Secret, Session


def read(url: str, part: Path, tell: Callable[[int], object], secret: Secret) -> None:
    """Read a URL to the end of `part`, from where it stops; retried as long as anything comes."""
    if urlsplit(url).scheme == "file":
        part.unlink(missing_ok=True)
        shutil.copyfile(url2pathname(urlsplit(url).path), part)
        tell(part.stat().st_size)
        return
    attempt, most, validator = 0, _size(part), Validator()
    while True:
        try:
            _stream(url, part, tell, validator, secret)
        except requests.RequestException as error:
            tell(0)
            attempt = 1 if _size(part) > most else attempt + 1
            most = max(most, _size(part))
            if attempt >= _ATTEMPTS or not _is_passing(error):
                raise
            time.sleep(_pause(error, attempt))
        else:
            return


class Validator:
    """What tells whether a file has changed between two attempts."""

    tag: str | None = None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _stream(url: str, part: Path, tell: Callable[[int], object], validator: Validator, secret: Secret) -> None:
    before = _size(part)
    headers = {"Accept-Encoding": "identity"}  # the bytes as they are stored, which is what the digest is of
    if before:
        headers["Range"] = f"bytes={before}-"
        if validator.tag:
            headers["If-Range"] = validator.tag
    with Session(secret) as session, session.ask(url, headers, _TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable and before:
            if response.headers.get("Content-Range") == f"bytes */{before}":
                return  # all of it was there; its digest tells whether it is right
            part.unlink()  # what was there is no beginning of this file
            msg = f"{url} has no more than {before} bytes"
            raise requests.ConnectionError(msg, response=response)
        response.raise_for_status()
        tag = response.headers.get("ETag", "")
        validator.tag = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {before}-")
        with part.open("ab" if before and resumed else "wb") as file:
            _copy(response, file, tell)


def _copy(response: requests.Response, file: Any, tell: Callable[[int], object]) -> None:
    expected = response.headers.get("Content-Length")
    came = 0
    try:
        for block in response.raw.stream(_BLOCK, decode_content=False):
            file.write(block)
            came += len(block)
            tell(len(block))
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # the disk, not the net
            raise
        msg = f"the connection broke after {came} bytes: {error}"
        raise requests.ConnectionError(msg) from error
    if expected is not None and came != int(expected):
        msg = f"the connection ended after {came} of {expected} bytes"
        raise requests.ConnectionError(msg)


def _is_passing(error: requests.RequestException) -> bool:
    """Whether a later attempt may succeed: broken connections, and servers that are busy or failing; not a 404."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in (408, 425, 429) or error.response.status_code >= 500
    return isinstance(error, requests.ConnectionError | requests.Timeout)


def _pause(error: requests.RequestException, attempt: int) -> float:
    asked = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return min(60.0, float(asked)) if asked.isdecimal() else 0.25 * 2.0**attempt


_ATTEMPTS = 5  # without a single byte in between
_TIMEOUT = (10, 60)  # seconds to connect, and between two blocks
_BLOCK = 1 << 18
