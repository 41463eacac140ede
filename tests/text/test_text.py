"""Text: what is cut off is as long as it may be, and what cannot be JSON is told apart."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdm._text import aligned, cut, plain, short, shortened


TEXTS = st.text(max_size=60)


@given(TEXTS, st.integers(0, 70), st.sampled_from(["...", "…", ".."]))
def test_a_cut_text_is_the_longest_beginning_that_fits(text, most, dots):
    found = cut(text, most, dots=dots)
    if len(text) <= most:
        assert text == found
    elif most >= len(dots):
        assert (most, text[: most - len(dots)] + dots) == (len(found), found)
    else:
        assert dots == found


@given(TEXTS, st.integers(2, 70))
def test_a_text_is_cut_by_any_width(text, most):
    def width(some):
        return len(json.dumps(some)) - 2

    found = cut(text, most, width, "..")
    assert width(found) <= most
    if found != text:
        assert text.startswith(found.removesuffix(".."))
        assert width(f"{text[: len(found) - 1]}..") > most


@given(st.one_of(TEXTS, st.lists(TEXTS)), st.integers(3, 70))
def test_short_values_and_texts_have_one_line(value, most):
    assert len(short(value, most)) <= most
    assert 1 >= len(short(value, most).splitlines())
    assert len(shortened(str(value), most)) <= most
    assert 1 >= len(shortened(str(value), most).splitlines())


@given(st.lists(st.tuples(st.sampled_from(["a", "bcd", ""]), st.integers(), st.just("x"))))
def test_columns_stand_below_each_other(rows):
    lines = aligned(rows)
    assert len(rows) == len(lines)
    assert 1 >= len({len(line) for line in lines})


def test_columns_at_the_right_are_asked_for_or_numbers():
    assert ["a   bc     1", "de   f  23.5"] == aligned([["a", "bc", 1], ["de", "f", 23.5]], indent="", right=[1])
    assert [] == aligned([])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_plain_values_are_plain_already(value):
    assert value == plain(value) == json.loads(json.dumps(plain(value), allow_nan=False))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), {1: 2}, {1}, object, b"x"])
def test_what_json_has_no_form_for_is_as_the_caller_says(odd):
    assert {"x": [repr(odd)]} == plain({"x": (odd,)})
    assert ["odd"] == plain([odd], lambda _: "odd")


def test_a_pipeline_is_no_drawing_program():
    script = "import sys, fdm; print([name for name in sys.modules if 'pictures' in name])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "[]" == ran.stdout.strip()
