"""In notebooks values show themselves: well-formed, escaped, cheap."""

import pickle
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import given

import fdm
from fdm._text import bars, table
from fdm.store._facts import Facts
from fdm.testing import pipelines


EVIL = '<script>alert("x")</script>&amp;'


def rows(n, note=""):
    return fdm.Table(
        {"x": torch.arange(n).float(), "label": torch.arange(n) % 3, "text": fdm.Ragged.of([note or "a"] * n)}
    )


def stated(train):
    return {"mean": train["x"].mean(), "note": EVIL, "classes": 3}


P = fdm.pipeline(
    fdm.load(rows, n=60, note=EVIL),
    fdm.split({"train": 0.75, "val": None}, stratify="label"),
    fdm.measure(stated).on("train"),
    fdm.shuffle().on("train"),
    fdm.batch(8),
)


def parsed(html):
    """The texts of a piece of HTML, which has to be well-formed as XML; a script in it is none of ours."""
    root = ET.fromstring(f"<body>{html}</body>")
    assert [] == [tag for tag in root.iter() if tag.tag.endswith("script")]
    return [text.strip() for text in root.itertext() if text.strip()]


@pytest.fixture
def data(tmp_path):
    with fdm.open(P, store=tmp_path) as opened:
        yield opened


def test_a_pipeline_shows_its_picture_and_its_stages():
    texts = parsed(P._repr_html_())
    assert "<svg" in P._repr_html_()
    assert "fdm.Pipeline of 5 stages, seed 0" in texts
    assert {"load", "split", "measure", "shuffle", "batch", "on train"} <= set(texts)


@given(pipelines())
def test_every_pipeline_shows_itself(p):
    assert f"fdm.Pipeline of {len(p.stages)} stages, seed {p.seed}" in parsed(p._repr_html_())


def test_a_table_shows_columns_and_first_rows():
    texts = parsed(rows(60, note=EVIL)._repr_html_())
    assert {"fdm.Table of 60 rows", "float32", "int64", "ragged str", "4", "4.0"} & set(texts) >= {
        "ragged str",
        "int64",
    }
    assert any("script" in text for text in texts)
    assert "5" not in texts, "five rows are shown, and they count from 0"


@pytest.mark.parametrize(
    "column",
    [
        torch.zeros(0, 3),
        torch.zeros(3, 0, 2),
        torch.rand(4, 3, 5, 5),
        torch.full((2,), torch.nan),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, dtype=torch.bool),
        fdm.Ragged.of([b"\x00\xff", b"x" * 99]),
        fdm.Ragged.of([torch.arange(99), torch.arange(0)]),
    ],
)
def test_tables_of_all_kinds_of_columns_show_themselves(column):
    assert f"fdm.Table of {len(column)} rows" in parsed(fdm.Table({EVIL: column})._repr_html_())


def test_opened_data_shows_splits_and_facts(data, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "numpy", lambda tensor: pytest.fail("to show data reads no column"))
    texts = parsed(data._repr_html_())
    monkeypatch.undo()
    assert {"train", "val", "45", "15", "75.0%", "facts"} <= set(texts)
    assert EVIL in " ".join(texts)
    data.close()
    assert "closed" in parsed(data._repr_html_())[0]


def test_a_loader_shows_its_plan(data):
    loader = data.loader("train", epoch=2)
    plan = loader.plan()
    assert (2, 6, 45, 0, [5]) == tuple(plan[name] for name in ("epoch", "steps", "examples", "dropped", "tail"))
    assert {"fdm.Loader of 'train'", "world size", "45"} <= set(parsed(loader._repr_html_()))


def test_a_loader_by_length_shows_its_buckets_in_a_table(tmp_path):
    p = fdm.pipeline(fdm.load(of_many_lengths), fdm.batch(64, of="tokens", edges=(4, 16)))
    with fdm.open(p, store=tmp_path) as data:
        loader = data.loader("all")
        plan, texts = loader.plan(), parsed(loader._repr_html_())
    assert f"{plan['padding']:.1%}" in texts
    first = texts.index("padded to")
    cells = [str(cell) for bucket in plan["buckets"] for cell in bucket.values()]
    assert ["padded to", "examples", "steps", "examples of a full step", *cells] == texts[first:]


def of_many_lengths():
    return fdm.Table({"tokens": fdm.Ragged.of([torch.arange(number % 17) for number in range(100)])})


@pytest.mark.parametrize("world_size", [1, 2, 7, 50])
def test_a_plan_counts_what_the_ranks_see(tmp_path, world_size):
    ranks = []
    for rank in range(world_size):
        with fdm.open(P, store=tmp_path, context=fdm.RankContext(rank=rank, world_size=world_size)) as data:
            loader = data.loader("train")
            ranks.append(len(loader))
            plan = loader.plan()
            seen = sum(len(loader.indices(step)) for step in range(len(loader)))
            assert seen <= plan["examples"]
    steps = plan["steps"] if isinstance(plan["steps"], list) else [plan["steps"]] * world_size
    assert ranks == steps


def test_a_plan_tells_what_is_dropped(tmp_path):
    with fdm.open(fdm.replace(P, fdm.batch(8, drop_last=True)), store=tmp_path) as data:
        plan = data.loader("train").plan()
        assert (5, 40, 5, []) == tuple(plan[name] for name in ("steps", "examples", "dropped", "tail"))
        assert data.loader("train", start=data.loader("train").snapshot(5)).plan()["epoch"] == 1


def test_facts_are_a_mapping_that_cannot_be_changed(data):
    facts = data.facts
    assert {"mean", "note", "classes"} == set(facts) == facts.keys()
    assert facts == dict(facts)
    assert facts | {"more": 1} == {**facts, "more": 1} == {"more": 1} | facts
    assert "classes" in facts
    assert 3 == len(facts) == facts["classes"] == facts.copy()["classes"] == {**facts}["classes"]
    assert None is facts.get("no such")
    with pytest.raises(TypeError):
        facts["new"] = 1
    with pytest.raises(KeyError, match="did you mean 'classes'"):
        facts["clases"]
    with pytest.raises(AttributeError):
        facts.more = 1
    facts["mean"].add_(100)
    assert data.facts["mean"] < 100
    assert facts.keys() == pickle.loads(pickle.dumps(facts)).keys()


def test_facts_show_themselves_escaped():
    texts = parsed(Facts({EVIL: EVIL, "image": torch.zeros(9, 9)})._repr_html_())
    assert [EVIL, "<tensor 9x9>"] == [texts[2], texts[-1]]


def test_charts_and_tables_escape_and_take_nothing():
    assert [EVIL, "0", "0.0%"] == parsed(bars({EVIL: 0}))
    assert [] == parsed(bars({}))
    assert [EVIL] * 3 == parsed(table([EVIL], [[EVIL]], EVIL))[:3]


def test_a_profile_shows_its_stages_and_its_advice(data):
    profile = data.profile("train", steps=2)
    texts = parsed(profile._repr_html_())
    assert {"stage", "ms a batch", "share", "batches/s alone", "100%"} <= set(texts)
    assert {stage.name for stage in profile.stages} <= set(texts)
    assert any(text.startswith("limit: ") and profile.advice in text for text in texts)
