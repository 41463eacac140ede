"""Files in folders: a ready-made load or clean function, whose source reads a file when its example is asked for."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import attrs
import torch
from torch import Tensor

from .._arrays.ragged import Ragged
from .._arrays.table import Table
from .._checks import one_of, text
from .._errors import DataError, UnknownNameError, unknown
from .._public import public
from .._splits.source import View


@attrs.frozen(eq=False, repr=False)
class Files:
    """Files below a folder, as a source: their names, and by number the examples, of which each reads its file."""

    root: Path
    names: tuple[str, ...]
    labels: Tensor | None

    @property
    def column_names(self) -> list[str]:
        """The names of the entries of an example."""
        return ["file", "name", *(["label"] if self.labels is not None else [])]

    def gather(self, ids: Tensor) -> dict[str, Any]:
        """The batch of these examples."""
        return dict(self._columns([self.names[index] for index in ids.tolist()], ids))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self._column(index)
        name = self.names[index]
        example: dict[str, Any] = {"file": _read(self.root / name), "name": name}
        return example if self.labels is None else {**example, "label": int(self.labels[index])}

    def _column(self, name: str) -> Any:
        if name not in self.column_names:
            raise UnknownNameError(unknown("column", name, self.column_names))
        if name == "label":
            return self.labels
        return list(self.names) if name == "name" else Ragged.of([_read(self.root / each) for each in self.names])

    def _columns(self, names: Sequence[str], ids: Tensor) -> Iterator[tuple[str, Any]]:
        yield "file", Ragged.of([_read(self.root / name) for name in names])
        yield "name", Ragged.of(names)
        if self.labels is not None:
            yield "label", self.labels[ids]

    def __repr__(self) -> str:
        return f"<{len(self)} files below {self.root}>"


@public
def files(root: str | PurePath, pattern: str, label: str | None = None) -> Files:
    """The files below a folder whose paths match `pattern`, for `clean` and `load`: an example has the bytes of one.

    `"file"` is the content (bytes) and `"name"` the path below `root`, with `/` between folders; with `label="folder"`,
    `"label"` (int64) is the number of the folder that the file lies in, among the names of all such folders, sorted:
    `fdm.measure(fdm.class_names).on("train")` makes these names a fact. Examples are sorted by `"name"`.

        fdm.clean(fdm.files, root=fdm.tracked("photos"), pattern="**/*.jpg", label="folder")   # first: copied, once
        fdm.clean(fdm.files, pattern="**/*.jpg", label="folder")                               # after fetch: of its folder
        fdm.load(fdm.files, root="photos", pattern="**/*.jpg")                                 # read when asked for

    `**` stands for any number of folders, `*`, `?` and `[...]` for letters of one name, as they are written, large or
    small. What begins with a dot is hidden, and left out. A link to a folder within `root` is not followed, since its
    files are there already.

    Raises `DataError` where nothing matches, and for what matches and leads out of `root` or nowhere, cannot be read, is
    no file, or, to be labelled, lies in `root` itself.
    """
    if not isinstance(root, str | PurePath):
        msg = f"files: root is the path of a folder, as fetch hands one on, or root=..., not a {type(root).__name__}"
        raise DataError(msg)
    if label is not None:
        one_of("files: label", label, DataError, ["folder"])
    folder, parts = Path(root).expanduser().absolute(), _parts(pattern)
    if not folder.is_dir():
        msg = f"files: root is a folder, and {folder} is {'a file' if folder.exists() else 'not there'}"
        raise DataError(msg)
    names = sorted(_matching(folder, folder.resolve(), "", parts, _closed({0}, parts)))
    if not names:
        raise _nothing(folder, pattern)
    return Files(folder, tuple(names), None if label is None else _labels(names, folder))


@public
def class_names(source: Any) -> dict[str, list[str]]:
    """The fact `class_names` of what `files(..., label="folder")` labelled, for `measure`: the name of each label.

    They are those of all files, since labels are numbered among all, also where a split lacks a class; a label that
    another stage has left out altogether has an empty name.
    """
    whole: Any = source.source if isinstance(source, View) else source
    there = list(whole.keys()) if isinstance(whole, Table) else getattr(whole, "column_names", [])
    lacking = [name for name in ("name", "label") if name not in there]
    if lacking:
        msg = (
            f"class_names reads the columns 'name' and 'label' that fdm.files makes, and there is no {lacking[0]!r}; keep it "
            f"in the clean after it"
        )
        raise DataError(msg)
    labels: Any = whole["label"]
    names: Any = whole["name"]
    classes = [""] * (int(labels.max()) + 1)
    for number in torch.unique(labels).tolist():
        classes[number] = _class_of(names[int((labels == number).nonzero()[0])])
    return {"class_names": classes}


def _labels(names: Sequence[str], folder: Path) -> Tensor:
    bare = [name for name in names if "/" not in name]
    if bare:
        msg = (
            f"files: {bare[0]!r} lies in {folder} itself, so no folder labels it; leave such files out: a pattern that begins "
            f"with '*/', or label=None"
        )
        raise DataError(msg)
    classes = {name: number for number, name in enumerate(sorted(set(map(_class_of, names))))}
    return torch.tensor([classes[_class_of(name)] for name in names], dtype=torch.int64, device="cpu")


def _class_of(name: str) -> str:
    return PurePosixPath(name).parent.name


def _parts(pattern: Any) -> list[str]:
    parts = text("files: pattern is a text such as '**/*.jpg'", pattern, DataError).split("/")
    if any(part in ("", ".", "..") for part in parts):
        msg = f"files: pattern is relative to root, with '/' between its parts, such as '**/*.jpg', not {pattern!r}"
        raise DataError(msg)
    return parts


def _matching(folder: Path, root: Path, prefix: str, parts: Sequence[str], at: frozenset[int]) -> Iterator[str]:
    """The names of the files below a folder that match what is left of a pattern, from the places `at` on."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        msg = f"files: the folder {folder} cannot be read: {error.strerror or error}"
        raise DataError(msg) from error
    for entry in found:
        after, path = _after(at, parts, entry.name), Path(entry.path)
        if _is_folder(entry):
            if after - {len(parts)}:
                if not entry.is_symlink():
                    yield from _matching(path, root, f"{prefix}{entry.name}/", parts, after)
                else:
                    _check_within(path, root)
        elif len(parts) in after:
            _check_file(path, root, is_link=entry.is_symlink())
            yield f"{prefix}{entry.name}"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _after(at: frozenset[int], parts: Sequence[str], name: str) -> frozenset[int]:
    """Where in a pattern one may be after a name."""
    stay = {place for place in at if place < len(parts) and parts[place] == "**"}
    go = {place + 1 for place in at - stay if place < len(parts) and fnmatchcase(name, parts[place])}
    return _closed(stay | go, parts)


def _closed(at: set[int], parts: Sequence[str]) -> frozenset[int]:
    """These places, and those behind a `**`, which may stand for no folder at all."""
    places = set(at)
    for place, part in enumerate(parts):
        if place in places and part == "**":
            places.add(place + 1)
    return frozenset(places)


def _check_file(path: Path, root: Path, *, is_link: bool) -> None:
    if is_link:
        _check_within(path, root)
    if not path.is_file():
        msg = f"files: {path} is {'no file' if path.exists() else 'not there any more'}; take it away, or choose another pattern"
        raise DataError(msg)
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        msg = f"files: the name of {str(path)!r} is no text; rename it"
        raise DataError(msg) from error
    if not os.access(path, os.R_OK):
        msg = f"files: {path} cannot be read by this user"
        raise DataError(msg)


def _check_within(path: Path, root: Path) -> None:
    """Raise `DataError` for a link that leads out of the root, or nowhere."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        msg = f"files: the link {path} leads nowhere; take it away, or choose another pattern"
        raise DataError(msg) from error
    if not target.is_relative_to(root):
        msg = f"files: the link {path} leads out of {root}, to {target}; copy it there, or give the folder that has both as root"
        raise DataError(msg)


def _nothing(folder: Path, pattern: str) -> DataError:
    suffixes = Counter(path.suffix or "no suffix" for path in islice(folder.rglob("*"), _LOOK) if path.is_file())
    there = ", ".join(f"{count} of {suffix}" for suffix, count in suffixes.most_common(5)) or "no files at all"
    hint = "" if "**" in pattern else f"; '**/{pattern}' looks in all folders below"
    return DataError(f"files: nothing below {folder} matches {pattern!r}; there are {there}{hint}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"files: {path} cannot be read: {error.strerror or error}"
        raise DataError(msg) from error


_LOOK = 10_000  # files that are looked at to tell what there is
