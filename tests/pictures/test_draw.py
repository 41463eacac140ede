"""Pictures: every pipeline as mermaid and SVG, and batches as PNG."""

import re
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import given

import fdm
from fdm._cli.png import images_of, save_png
from fdm._cli.target import UsageError
from fdm._pictures.lanes import lanes
from fdm._plans.branch import batch_of, streams
from fdm._stages.limits import branches
from fdm._stages.stage import Batch
from fdm.testing import pipelines


SVG = "{http://www.w3.org/2000/svg}"


def rows(n):
    return fdm.Table({"x": torch.arange(n)})


def noted(item, *, note):
    return {**item, "note": note}


def moved(item, key, *, by=1):
    return item


def with_note(note):
    return fdm.pipeline(fdm.clean(rows, n=5), fdm.batch(2), fdm.transform(noted, note=note))


WHOLE = fdm.pipeline(
    fdm.clean(rows, n=50),
    fdm.split({"train": 0.8, "val": 0.1, "test": None}),
    fdm.alias(predict="test"),
    fdm.shuffle().on("train"),
    fdm.augment(moved).on("train"),
    fdm.batch(4096).on("predict"),
    fdm.batch(8),
    fdm.transfer(),
    fdm.augment(moved, by=2).on("train", "val"),
)
LINE = re.compile(
    r'flowchart TD|  subgraph lane\d+\["[^"]*"\]|    s\d+\["[^"]*"\]|  end|  split\d+\(\["[^"]*"\]\)|'
    r'  s\d+ -->(\|"[^"]*"\|)? (s|split)\d+|  %% seed -?\d+'
)


def texts(svg):
    """The texts of a picture, in order; with the parts of a text joined."""
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


@given(pipelines())
def test_every_pipeline_can_be_drawn_with_all_its_stages(p):
    wrong = [line for line in fdm.draw(p).splitlines() if not LINE.fullmatch(line)]
    assert [] == wrong
    drawn = texts(fdm.draw_svg(p))
    for number, stage in enumerate(p.stages):
        assert f'    s{number}["{number} {stage.kind}' in fdm.draw(p)
        assert f"{number} {stage.kind}" in drawn


@given(pipelines())
def test_a_picture_says_of_each_split_what_the_plan_says(p):
    boxes = {box.number: box for lane in lanes(p.stages) for box in lane.boxes}
    for split, names in branches(p.stages).items():
        if split == "others":
            continue
        held = {number for number, _ in streams(p, names)}
        shown = {
            number for number, box in boxes.items() if box.kind in ("transform", "augment") and split in box.branches
        }
        assert held == shown
        batches = [number for number, stage in enumerate(p.stages) if isinstance(stage, Batch)]
        assert [batch_of(p, names)[0]] == [number for number in batches if split in boxes[number].branches]


def test_stages_are_grouped_by_where_they_run():
    found = [(lane.place, [box.kind for box in lane.boxes]) for lane in lanes(WHOLE.stages)]
    assert [
        ("once per store", ["clean"]),
        ("in every process", ["split", "alias", "shuffle"]),
        ("per example", ["augment"]),
        ("per batch, on the host", ["batch", "batch"]),
        ("per batch, on the device", ["transfer", "augment"]),
    ] == found


def test_splits_are_branches_from_the_last_cut_on():
    text = fdm.draw(WHOLE)
    assert '  s2 -->|"train 0.8"| s3' in text
    assert '  s2 -->|"val 0.1, test rest"| s6' in text
    assert '  s2 -->|"predict = test"| s5' in text
    assert "  s5 --> s7" in text
    assert "  s7 --> s8" in text
    assert {"train 0.8", "val 0.1", "test rest", "predict = test"} <= set(texts(fdm.draw_svg(WHOLE)))


@pytest.mark.parametrize(
    "note",
    ["<b>&amp;</b>", '"; drop', "a\x00b\x1f\ud800\uffff", "`x` #35; |y|", "]]>", "日本語" * 40, "x" * 5000, "\n\n"],
)
def test_what_a_parameter_says_cannot_break_a_picture(note):
    p = with_note(note)
    assert [] == [line for line in fdm.draw(p).splitlines() if not LINE.fullmatch(line)]
    drawn = fdm.draw_svg(p).encode()  # as it is written to a file
    assert f"{SVG}svg" == ET.fromstring(drawn).tag
    assert b"<b>" not in drawn


def test_texts_stay_within_their_boxes():
    for p in (WHOLE, with_note("w" * 200), with_note("宽" * 200), fdm.pipeline(fdm.batch(1).on("a" * 300))):
        root = ET.fromstring(fdm.draw_svg(p))
        boxes = [
            {name: float(box.get(name)) for name in ("x", "y", "width", "height")} for box in root.iter(f"{SVG}rect")
        ]
        assert all(box["x"] + box["width"] <= float(root.get("width")) for box in boxes)
        for text in root.iter(f"{SVG}text"):
            if text.get("text-anchor") == "middle" or "monospace" not in text.get("font-family", ""):
                continue
            x, y, said = float(text.get("x")), float(text.get("y")), "".join(text.itertext())
            width = sum(13 if ord(char) > 0x2E80 else 6.6 for char in said)  # at least what fonts of 11.5 px take
            inside = [box for box in boxes if box["x"] <= x and x + width <= box["x"] + box["width"]]
            assert [box for box in inside if box["y"] <= y <= box["y"] + box["height"]], said


def test_a_picture_is_of_a_pipeline():
    for draw in (fdm.draw, fdm.draw_svg):
        with pytest.raises(fdm.PipelineError, match="takes a Pipeline"):
            draw(fdm.batch(3))
        assert draw(WHOLE) == draw(WHOLE)
    assert "seed 7" in fdm.draw_svg(fdm.pipeline(seed=7))


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((4, 8, 9), (4, 8, 9, 3)),
        ((4, 1, 8, 9), (4, 8, 9, 3)),
        ((4, 3, 8, 9), (4, 8, 9, 3)),
        ((4, 8, 9, 3), (4, 8, 9, 3)),
        ((4, 8, 9, 1), (4, 8, 9, 3)),
        ((4, 8), None),
        ((4, 5, 8, 9), None),
        ((0, 1, 8, 9), None),
    ],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_images_are_known_by_their_shape(shape, expected, dtype):
    made = images_of(torch.zeros(shape, dtype=dtype))
    assert expected == (None if made is None else tuple(made.shape))


def test_floats_are_stretched_and_what_is_not_finite_is_red():
    images = torch.linspace(-3, 5, 2 * 4 * 4).reshape(2, 1, 4, 4)
    assert (0, 255) == (int(images_of(images).min()), int(images_of(images).max()))
    images[1, 0, 2, 3] = torch.nan
    images[0, 0, 0, 0] = torch.inf
    made = images_of(images)
    assert [[255, 0, 0]] * 2 == [made[1, 2, 3].tolist(), made[0, 0, 0].tolist()]
    assert 2 == int((made == torch.tensor([255, 0, 0])).all(-1).sum())
    assert images_of(torch.full((1, 1, 4, 4), torch.nan)).float().mean() == 85


def drawn(batch, count, tmp_path):
    image = pytest.importorskip("PIL.Image")
    about = save_png(batch, range(count), str(tmp_path / "batch.png"))
    with image.open(tmp_path / "batch.png") as picture:
        assert (about["width"], about["height"]) == picture.size
        return about, picture.convert("RGB").getcolors(1 << 24)


def test_a_grid_has_the_pixels_of_the_images(tmp_path):
    images = torch.zeros(5, 3, 10, 10, dtype=torch.uint8)
    images[:, 0] = 200
    about, colours = drawn({"y": torch.arange(5), "image": images}, 5, tmp_path)
    counts = {colour: count for count, colour in colours}
    assert "image" == about["entry"]
    assert counts[200, 0, 0] == 5 * 110 * 110, "five images of ten pixels, each eleven times as large"


@pytest.mark.parametrize(
    "batch, entry",
    [
        ({"tokens": torch.randint(0, 50_000, (6, 300))}, "tokens"),
        ({"tokens": fdm.Ragged.of([torch.arange(n) for n in (3, 0, 900)])}, "tokens"),
        ({"x": torch.rand(3), "text": fdm.Ragged.of(["one", "zwei\n", "three" * 400])}, "text"),
        ((torch.rand(2, 3), ["a", "b"]), "batch[1]"),
        (torch.arange(8).reshape(2, 4), "batch"),
    ],
)
def test_tokens_and_text_are_drawn_as_lines(tmp_path, batch, entry):
    about, colours = drawn(batch, 3, tmp_path)
    assert entry == about["entry"]
    assert len(colours) > 1
    assert about["width"] < 1300


def test_a_batch_that_cannot_be_drawn_is_refused_with_what_it_has(tmp_path):
    pytest.importorskip("PIL.Image")
    with pytest.raises(UsageError, match="'x', 'y'"):
        save_png({"x": torch.rand(3), "y": torch.arange(3)}, range(3), str(tmp_path / "no.png"))
