"""Mermaid: a pipeline as the text of a flowchart."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from .._stages.limits import branches
from .._stages.stage import Stage
from .._text import visible
from .lanes import Box, lanes, last_cut, sizes_of


def flowchart(stages: Sequence[Stage], seed: int) -> str:
    """The stages as a mermaid flowchart, grouped by where they run, with an edge for each way that a split takes."""
    groups = lanes(stages)
    lines = ["flowchart TD"]
    for number, lane in enumerate(groups):
        lines.append(f'  subgraph lane{number}["{_escaped(lane.place)}"]')
        lines += [f'    s{box.number}["{_label(box)}"]' for box in lane.boxes]
        lines.append("  end")
    boxes = [box for lane in groups for box in lane.boxes]
    ends = list(branches(stages))
    lines += [f'  split{number}(["{_escaped(split)}"])' for number, split in enumerate(ends)]
    lines += list(_edges(boxes, ends, sizes_of(stages), last_cut(stages)))
    return "\n".join([*lines, f"  %% seed {seed}"])


def _edges(boxes: Sequence[Box], ends: Sequence[str], sizes: dict[str, str], cut: int) -> Iterator[str]:
    if not ends:
        yield from (f"  s{box.number} --> s{box.number + 1}" for box in boxes[:-1])
        return
    yield from (f"  s{number} --> s{number + 1}" for number in range(cut))
    taken: dict[tuple[str, str], list[str]] = {}
    for number, split in enumerate(ends):
        path = [f"s{box.number}" for box in boxes if box.number == cut or split in box.branches] + [f"split{number}"]
        for edge in pairwise(path):
            taken.setdefault(edge, []).append(f"{split} {sizes.get(split, '')}".strip())
    for (start, end), splits in taken.items():
        label = f'|"{_escaped(", ".join(splits))}"|' if start == f"s{cut}" and len(ends) > 1 else ""
        yield f"  {start} -->{label} {end}"


def _label(box: Box) -> str:
    return f"{box.number} {_escaped(box.kind)}" + (f"<br/>{_escaped(box.text)}" if box.text else "")


def _escaped(text: str) -> str:
    """Text in a quoted label: mermaid has entities of its own, and takes some characters for markup."""
    plain = visible(" ".join(text.split()))
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in plain)


_PLAIN = " .,:=+-_()[]{}/'"
