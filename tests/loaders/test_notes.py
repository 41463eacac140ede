"""Notes on errors: what each kind of a user's function gets told, and stages found by what notes know, not say."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
import torch

import fdm
from fdm import _errors
from fdm.testing import examine, example_table


class MisleadingError(Exception):
    """One with a note of the user's own that begins like fdm's."""

    def __init__(self, message):
        super().__init__(message)
        self.add_note("stage 12 of the warp")
        self.add_note("in stage 99, nowhere")


def failing(*_, **__):
    message = "stage 12 fails"
    raise MisleadingError(message)


class Failing:
    """A source that cannot be read."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return failing()


def failing_source():
    return Failing()


def parts():
    return ["one", "two"]


def failing_part(part):
    return failing()


def opened(*stages):
    def first_batch(store, **options):
        with fdm.open(fdm.pipeline(*stages), store=store, **options) as data:
            next(iter(data.loader("all" if "all" in data.splits else "train")))

    return first_batch


ROWS = fdm.load(example_table, n=12)
HALVES = fdm.split({"train": 6, "val": None})
PLACE = "split 'train', epoch 0, rank 1 of 2, example"
FUNCTIONS = {
    "fetch": ((fdm.fetch(failing), fdm.clean(failing_part)), 0, ["rank 1 of 2"]),
    "clean": ((fdm.clean(failing),), 0, ["rank 1 of 2"]),
    "parts": ((fdm.clean(failing_part).each(failing),), 0, ["each", "rank 1 of 2"]),
    "part": ((fdm.clean(failing_part).each(parts),), 0, ["part 'one'", "rank 1 of 2"]),
    "load": ((fdm.load(failing),), 0, ["rank 1 of 2"]),
    "read": ((fdm.load(failing_source), HALVES, fdm.batch(2)), 0, ["failing_source()", PLACE, "reading from"]),
    "split": ((ROWS, fdm.split(failing)), 1, ["of split 'all'"]),
    "stratify": ((ROWS, fdm.split({"a": None}, stratify=failing)), 1, ["of split 'all'"]),
    "groups": ((ROWS, fdm.fold(2, 0, groups=failing)), 1, ["of split 'all'"]),
    "key": ((ROWS, HALVES, fdm.split({"a": None}, of="val", key=failing)), 2, ["of split 'val'"]),
    "measure": ((ROWS, HALVES, fdm.measure(failing).on("train")), 2, ["split 'train', rank 1 of 2"]),
    "weights": ((ROWS, HALVES, fdm.sample(failing).on("train"), fdm.batch(2)), 2, ["split 'train', epoch 0, rank 1 of 2"]),
    "transform": ((ROWS, HALVES, fdm.transform(failing), fdm.batch(2)), 2, [PLACE]),
    "augment": ((ROWS, HALVES, fdm.augment(failing), fdm.batch(2)), 2, [PLACE]),
    "ambient": ((ROWS, HALVES, fdm.augment(fdm.ambient(failing)), fdm.batch(2)), 2, [PLACE]),
    "collate": ((ROWS, HALVES, fdm.batch(2, collate=failing)), 2, [PLACE]),
    "on batches": ((ROWS, HALVES, fdm.batch(2), fdm.transform(failing)), 3, [PLACE]),
    "on the device": ((ROWS, HALVES, fdm.batch(2), fdm.transfer(), fdm.augment(failing)), 4, [PLACE]),
}  # fmt: skip


def check_notes(error, number, words):
    notes = "\n".join(error.__notes__)
    assert number == _errors.stage_of(error)
    assert f"in stage {number}, " in notes
    assert "test_notes.py:" in notes
    assert [] == [word for word in words if word not in notes], notes


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_note_names_stage_function_line_split_epoch_example_and_rank(name, tmp_path):
    stages, number, words = FUNCTIONS[name]
    context = fdm.RankContext(rank=1, world_size=2)
    pool = ThreadPoolExecutor(1)
    with pytest.raises(MisleadingError) as caught:
        opened(*stages)(tmp_path, context=context, pool=pool)
    check_notes(caught.value, number, words)
    assert caught.value.__notes__[:2] == ["stage 12 of the warp", "in stage 99, nowhere"]


@pytest.mark.parametrize(
    "options", [{"threads": 1}, {"workers": 1, "start_method": "fork"}, {"workers": 1, "start_method": "spawn"}]
)
def test_notes_know_their_stage_after_a_way_between_processes(options, tmp_path):
    with pytest.raises(MisleadingError) as caught:
        opened(*FUNCTIONS["transform"][0])(tmp_path, context=fdm.RankContext(rank=1, world_size=2), **options)
    check_notes(caught.value, 2, [PLACE])


def test_parts_that_fail_in_a_pool_of_processes_name_their_stage(tmp_path):
    with pytest.raises(MisleadingError) as caught:
        opened(*FUNCTIONS["part"][0])(tmp_path)
    check_notes(caught.value, 0, ["part 'one'"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_note_is_a_string_and_comes_back_from_pickle_with_its_number(protocol):
    note = _errors.stage_note(3, "transform f()", "split 'train'")
    again = pickle.loads(pickle.dumps(note, protocol))
    assert ("in stage 3, transform f(); split 'train'", 3) == (again, again.number)
    assert type(note) is type(again)


@pytest.mark.parametrize("name", ["read", "transform", "augment", "collate", "on batches", "on the device"])
def test_examine_blames_the_stage_that_fails_whatever_the_users_own_notes_say(name):
    stages, number, _ = FUNCTIONS[name]
    verdicts = [verdict for verdict in examine(fdm.pipeline(*stages)).results if verdict.outcome == "broken"]
    assert verdicts
    assert {number} == {verdict.number for verdict in verdicts}
    assert all(str(number) == verdict.stage.split()[0] for verdict in verdicts)


def test_a_batch_that_is_no_dict_is_blamed_on_the_stage_that_names_the_ids():
    def first(p):
        with fdm.open(p) as data:
            data.loader("all")[0]

    with pytest.raises(fdm.DataError, match="is a Tensor") as caught:
        first(fdm.pipeline(fdm.load(torch.arange, end=4), fdm.batch(2, ids="id")))
    assert 1 == _errors.stage_of(caught.value)


class WithNotesError(Exception):
    """One whose notes are whatever somebody has put there."""


@attrs.frozen
class UnchangingError(Exception):
    """One that nobody may add a note to."""

    why: str = "frozen"


def with_notes(item, *, notes):
    error = WithNotesError("bad row")
    error.__notes__ = {"text": "mine", "tuple": ("mine",), "number": 12, "mixed": ["mine", 3]}[notes]
    raise error


def unchanging(item):
    raise UnchangingError


@pytest.mark.parametrize("options", [{}, {"threads": 1}, {"workers": 1}])
def test_an_error_whose_notes_are_no_list_is_told_as_itself(options):
    for notes, said in (("text", "mine"), ("tuple", "mine"), ("number", "12"), ("mixed", "3")):
        p = fdm.pipeline(ROWS, fdm.transform(with_notes, notes=notes), fdm.batch(2))
        with fdm.open(p, **options) as data, pytest.raises(WithNotesError, match="bad row") as caught:
            next(iter(data.loader("all")))
        assert said in caught.value.__notes__
        assert "in stage 1, transform" in caught.value.__notes__[-1]
    with (
        fdm.open(fdm.pipeline(ROWS, fdm.transform(unchanging), fdm.batch(2)), **options) as data,
        pytest.raises(UnchangingError) as caught,
    ):
        next(iter(data.loader("all")))
    assert "in stage 1, transform" in caught.value.__notes__[-1]
