"""Grids: a batch as a picture, its images with labels side by side, or its tokens as text."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._arrays.ragged import Ragged
from .._errors import FdmError, listed
from .._text import cut
from .batch import leaves
from .target import UsageError


def save_png(batch: Any, ids: Sequence[int], file: str) -> dict[str, Any]:
    """Draw a batch into a PNG file, and say which of its entries was drawn.

    Images are a tensor of one or three channels, first or last, uint8, or floats, which are stretched to the range of
    the batch; what is not finite is red. Without images, integers and text are drawn as lines.

    Raises `UsageError` for a batch with neither, and `FdmError` without Pillow.
    """
    try:
        import PIL.Image  # noqa: F401, PLC0415 - an extra, asked for only here
    except ImportError:
        msg = "--png needs Pillow, which is in the extra `pictures`: pip install 'fdm[pictures]'"
        raise FdmError(msg) from None
    named = dict(leaves(batch))
    images = ((name, images_of(leaf)) for name, leaf in named.items())
    name, drawn = next(((name, image) for name, image in images if image is not None), ("", None))
    if drawn is not None:
        labels = zip(ids, _labels(named, len(ids)), strict=False)
        picture = _grid(drawn[:_MOST], [f"#{i}: {label}".removesuffix(": ") for i, label in labels])
    else:
        name = next((name for name, leaf in named.items() if _is_text(leaf)), "")
        if not name:
            msg = f"--png draws images, tokens and text; the batch has {listed(named)}, which are none of them"
            raise UsageError(msg)
        picture = _page([f"#{i}  {line}" for i, line in zip(ids, _lines(named[name]), strict=False)][:_MOST])
    picture.save(Path(file), format="PNG")
    return {"file": file, "entry": name, "width": picture.width, "height": picture.height}


def images_of(leaf: Any) -> Tensor | None:
    """A batch of images as uint8, shape (images, height, width, 3); None for what is none.

    >>> images_of(torch.zeros(2, 1, 8, 9)).shape
    torch.Size([2, 8, 9, 3])
    >>> images_of(torch.zeros(2, 8))
    """
    if not isinstance(leaf, Tensor) or not (leaf.dtype == torch.uint8 or leaf.is_floating_point()) or not leaf.numel():
        return None
    if leaf.ndim == 3:
        leaf = leaf[..., None]
    elif leaf.ndim == 4 and leaf.shape[1] in (1, 3) and leaf.shape[3] not in (1, 3):
        leaf = leaf.permute(0, 2, 3, 1)
    elif leaf.ndim == 4 and leaf.shape[1] in (1, 3) and leaf.shape[2] > 4 * leaf.shape[3]:
        leaf = leaf.permute(0, 2, 3, 1)  # an image three pixels wide is less likely than one with three channels
    if leaf.ndim != 4 or leaf.shape[3] not in (1, 3) or min(leaf.shape[1:3]) < 2:
        return None
    return _as_bytes(leaf.detach().cpu()).expand(-1, -1, -1, 3)


def _as_bytes(images: Tensor) -> Tensor:
    numbers = images.double()
    finite = numbers.isfinite()
    if images.dtype != torch.uint8:
        good = numbers[finite] if finite.any() else torch.zeros(1, dtype=torch.float64)
        low, high = good.min(), good.max()
        numbers = (numbers - low) / (high - low if high > low else 1) * 255
    elif int(images.max()) <= 16:  # few levels, such as digits of 17 shades: else they would be all but black
        numbers = numbers * (255 // max(1, int(images.max())))
    made = torch.where(finite, numbers, 0).clamp(0, 255).to(torch.uint8)
    if bool(finite.all()):
        return made
    odd = ~finite.all(-1, keepdim=True)
    return torch.where(odd, torch.tensor([255, 0, 0], dtype=torch.uint8), made.expand(-1, -1, -1, 3))


def _grid(images: Tensor, labels: Sequence[str]) -> Any:
    from PIL import Image  # noqa: PLC0415 - an extra

    count, height, width = images.shape[:3]
    scale = max(1, _CELL // max(height, width))
    cell_width, cell_height = max(width * scale, _NARROW) + _GAP, height * scale + _GAP + _LINE
    columns = ceil(sqrt(count * cell_height / cell_width))
    sheet, measured, write = _sheet(columns * cell_width + _GAP, ceil(count / columns) * cell_height + _GAP)
    for number, label in enumerate(labels[:count]):
        left, top = number % columns * cell_width + _GAP, number // columns * cell_height + _GAP
        image = Image.fromarray(images[number].contiguous().numpy())
        sheet.paste(image.resize((width * scale, height * scale), Image.Resampling.NEAREST), (left, top))
        write((left, top + height * scale + 2), cut(label, cell_width - _GAP, measured))
    return sheet


def _page(lines: Sequence[str]) -> Any:
    _, measured, _ = _sheet(1, 1)
    fitting = [cut(line, _WIDE, measured) for line in lines]
    width = ceil(max(map(measured, fitting), default=0))
    sheet, _, write = _sheet(width + 2 * _GAP, len(lines) * _LINE + 2 * _GAP)
    for number, line in enumerate(fitting):
        write((_GAP, number * _LINE + _GAP), line)
    return sheet


def _sheet(width: int, height: int) -> tuple[Any, Callable[[str], float], Callable[[tuple[int, int], str], None]]:
    """A sheet of paper, and what measures a text and writes it at a place."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - an extra

    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font: Any = None
    with suppress(ImportError, OSError):  # built without fonts that scale
        font = ImageFont.load_default(size=12)
    font = font or ImageFont.load_default()
    return sheet, partial(pen.textlength, font=font), partial(pen.text, fill=_INK, font=font)


def _labels(found: dict[str, Any], count: int) -> list[str]:
    """What is written below each image: the entry `label`, else the first that has one integer or text an example."""
    each = {name: leaf for name, leaf in found.items() if _is_label(leaf, count)}
    name = next((name for name in ("label", "labels", "target", *each) if name in each), None)
    if name is None:
        return [""] * count
    return [str(value) for value in (each[name].tolist() if hasattr(each[name], "tolist") else each[name])]


def _is_label(leaf: Any, count: int) -> bool:
    if isinstance(leaf, Tensor):
        return leaf.shape == (count,) and not leaf.is_floating_point() and not leaf.is_complex()
    if isinstance(leaf, Ragged):
        return leaf.kind == "str" and len(leaf) == count
    return isinstance(leaf, list) and len(leaf) == count


def _is_text(leaf: Any) -> bool:
    if isinstance(leaf, Tensor):
        return leaf.ndim == 2 and not leaf.is_floating_point() and not leaf.is_complex()
    if isinstance(leaf, Ragged):
        return leaf.values.ndim == 1
    return isinstance(leaf, list) and all(isinstance(value, str) for value in leaf)


def _lines(leaf: Any) -> list[str]:
    """The rows of tokens or text as lines; what has no room is cut later."""
    rows = leaf if isinstance(leaf, list) else [leaf[row] for row in range(len(leaf))]
    texts = [" ".join(map(str, row[:_WIDE].tolist())) if isinstance(row, Tensor) else row for row in rows]
    return [" ".join((text if isinstance(text, str) else repr(text))[:_WIDE].split()) for text in texts]


_CELL, _NARROW, _GAP, _LINE, _WIDE = 112, 56, 8, 17, 1100  # pixels
_MOST = 256  # images or lines in a picture
_PAPER, _INK = "#ffffff", "#111827"
