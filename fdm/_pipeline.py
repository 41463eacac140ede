"""Pipelines: frozen sequences of stages in the order of the grammar, and the functions that edit them."""

import inspect
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
from toolz import concat

from ._checks import checked, integer
from ._errors import ParameterError, PipelineError, did_you_mean, listed
from ._fingerprint.canonical import Value, digest
from ._habits.attributes import OtherNames, OtherOperators
from ._habits.calls import guided
from ._public import is_module_of_fdm, public
from ._stages.describe import described, summary
from ._stages.digest import stage_digest
from ._stages.function import Function
from ._stages.grammar import check_grammar, last_place
from ._stages.stage import Mix, Stage
from ._text import aligned, hidden, page, short, table


def _check_stages(_: object, __: object, stages: Any) -> None:
    if not isinstance(stages, tuple) or not all(isinstance(stage, Stage) for stage in stages):
        msg = f"a Pipeline has a tuple of stages, as fdm.pipeline makes it, not {short(stages, 60)}"
        raise PipelineError(msg)


@public
@attrs.frozen(eq=False, repr=False)
class Pipeline(OtherNames, OtherOperators, Value):
    """A frozen sequence of stages: a value that can be compared, hashed, pickled, printed and edited.

    Made by `pipeline`. `str(p)` is a numbered table of the stages.
    """

    stages: tuple[Stage, ...] = attrs.field(validator=_check_stages)
    seed: int = attrs.field(default=0, **checked(integer, PipelineError, "pipeline: {field}"))

    def of_kind(self, *kinds: type | UnionType) -> Iterator[tuple[int, Any]]:
        """The stages of these classes or families with their numbers, in order."""
        return ((number, stage) for number, stage in enumerate(self.stages) if isinstance(stage, kinds))

    if not TYPE_CHECKING:  # else checkers would take it for a sequence

        def __getitem__(self, _: object) -> NoReturn:
            msg = "a pipeline is no sequence; its stages are one: p.stages[0], and len(p.stages)"
            raise ParameterError(msg)

        def __len__(self) -> int:
            return self[0]

        def __bool__(self) -> bool:
            return True  # since it has a length that cannot be asked for

    def __str__(self) -> str:
        lines = aligned(((stage.kind, *summary(stage)) for stage in self.stages), indent="")
        width = len(str(len(lines) - 1))
        return "\n".join([*(f"{number:>{width}} {line}" for number, line in enumerate(lines)), f"seed {self.seed}"])

    def __repr__(self) -> str:
        return f"<fdm.Pipeline of {len(self.stages)} stages, seed {self.seed}\n{self}>"

    def _repr_html_(self) -> str:
        rows = [(number, stage.kind, *summary(stage)) for number, stage in enumerate(self.stages)]
        stages = table(["", "stage", "", "splits"], rows)
        title = f"fdm.Pipeline of {len(self.stages)} stages, seed {self.seed}"
        return page(title, draw_svg(self), hidden("table of stages", stages))


@public
@guided
def pipeline(*stages: "Stage | Pipeline", seed: int | None = None) -> Pipeline:
    """The frozen pipeline of these stages; pipelines among them are spliced in.

    The order is `fetch? clean* load? (split | fold | alias)* measure* (shuffle | sample | take | pack | mix)*
    (transform | augment)* batch+ (transform | augment)* transfer? (transform | augment)*`, where any part may be left
    out. `seed` decides `shuffle`, `sample`, `mix` and `augment`; without it, it is the first spliced pipeline's, or 0.

    >>> import fdm
    >>> p = fdm.pipeline(
    ...     fdm.split({"train": 0.9, "val": None}),
    ...     fdm.shuffle().on("train"),
    ...     fdm.batch(32),
    ...     seed=7,
    ... )
    >>> print(p)
    0 split    train=0.9, val=rest, seed=0
    1 shuffle                               on train
    2 batch    32
    seed 7
    >>> fdm.pipeline(p, fdm.transfer()).seed
    7

    Raises `PipelineError` for stages out of order, and `ParameterError` for a function that cannot be called.
    """
    flat = list(concat(map(_stages_of, stages)))
    check_grammar(flat)
    spliced = [stage.seed for stage in stages if isinstance(stage, Pipeline)]
    return Pipeline(tuple(flat), (spliced or [0])[0] if seed is None else seed)


def _stages_of(part: object) -> tuple[Stage, ...]:
    """A stage, or the stages of a pipeline that is spliced in."""
    if isinstance(part, Pipeline):
        return part.stages
    if isinstance(part, Stage):
        return (part,)
    remedy = "; leave out the brackets" if isinstance(part, list | tuple) else ""
    remedy = "; wrap it in a stage: fdm.load(fn), fdm.transform(fn)" if callable(part) else remedy
    if inspect.isfunction(part) and is_module_of_fdm(part.__module__):
        needed = any(each.default is each.empty for each in inspect.signature(part).parameters.values())
        remedy = f"; call it: fdm.{part.__name__}({'...' if needed else ''})"
    msg = f"pipeline takes stages such as fdm.batch(32), and pipelines, not {short(part, 60)}{remedy}"
    raise PipelineError(msg)


@public
def replace(p: Pipeline, /, *stages: Stage, seed: int | None = None) -> Pipeline:
    """`p` with each of these stages in place of the one of its kind, and with `seed` where that is given.

    A stage with a function takes the place of the one of its kind with a function of the same name. Among several
    candidates the one with the same `.on` (for `split`: the same `of`, for `mix`: the same `into`) is meant.

    >>> import fdm
    >>> p = fdm.pipeline(fdm.shuffle(), fdm.batch(32))
    >>> print(fdm.replace(p, fdm.batch(256), seed=3))
    0 shuffle
    1 batch    256
    seed 3

    Raises `PipelineError` if there is no such stage, or more than one.
    """
    new = list(p.stages)
    for stage in stages:
        if not isinstance(stage, Stage):
            msg = f"replace takes stages such as fdm.batch(32), not {short(stage, 60)}"
            raise PipelineError(msg)
        new[_place(new, stage)] = stage
    return pipeline(*new, seed=p.seed if seed is None else seed)


@public
def insert(p: Pipeline, /, *stages: Stage, before: str | None = None, after: str | None = None) -> Pipeline:
    """`p` with these stages put in: each last in the place where the order of stages allows it.

    A `take` goes behind the other order stages, a `transform` behind all others, so on the device where there is a
    `transfer`. `before` or `after` name the stage beside which they go: by its kind, or by the name of its function.

    >>> import fdm
    >>> p = fdm.pipeline(fdm.shuffle(), fdm.batch(32), fdm.transfer())
    >>> print(fdm.insert(p, fdm.take(10)))
    0 shuffle
    1 take      10
    2 batch     32
    3 transfer
    seed 0

    Raises `PipelineError` where they cannot stand, for a name that names no stage, or more than one, and for both names.
    """
    if before is not None and after is not None:
        msg = "insert: before and after name one place; give one of them"
        raise PipelineError(msg)
    new = list(_checked("insert", p).stages)
    beside = before if before is not None else after
    if not stages or not all(isinstance(stage, Stage) for stage in stages):
        msg = f"insert takes a pipeline and stages, such as insert(p, fdm.take(10)), not {short(stages, 60)}"
        raise PipelineError(msg)
    if beside is not None:
        place = _named(new, beside) + (before is None)
        return pipeline(*new[:place], *stages, *new[place:], seed=p.seed)
    for stage in stages:
        new.insert(last_place(new, stage), stage)
    return pipeline(*new, seed=p.seed)


@public
def without(p: Pipeline, /, *names: str) -> Pipeline:
    """`p` without the stages that these names name: kinds, such as `"shuffle"`, or names of functions.

    >>> import fdm
    >>> print(fdm.without(fdm.pipeline(fdm.shuffle(), fdm.batch(32)), "shuffle"))
    0 batch  32
    seed 0

    Raises `PipelineError` for a name that names no stage, with those that do.
    """
    known = {name for stage in p.stages for name in _names(stage)}
    for name in names:
        if name not in known:
            msg = f"without: no stage is named {name!r}{did_you_mean(name, known)}; there are {listed(known)}"
            raise PipelineError(msg)
    return pipeline(*(stage for stage in p.stages if not _names(stage) & set(names)), seed=p.seed)


@public
def describe(p: Pipeline, /) -> dict[str, Any]:
    """The pipeline as plain JSON values, for logs and hyperparameters.

    >>> import fdm
    >>> fdm.describe(fdm.pipeline(fdm.shuffle(seed=1), fdm.batch(32)))
    {'seed': 0, 'stages': [{'stage': 'shuffle', 'seed': 1}, {'stage': 'batch', 'size': 32, 'drop_last': False}]}
    """
    return {"seed": p.seed, "stages": [described(stage) for stage in p.stages]}


@public
def fingerprint(p: Pipeline, /) -> str:
    """The fingerprint of a pipeline, 64 hexadecimal digits: equal for pipelines that make equal batches of equal code.

    Covers every stage with its parameters by value (mappings with their order, `tracked` paths by content), the seed,
    and, for the functions whose results are kept (fetch, clean, measure, split), their code and the user's helpers and
    constants that it reaches. Comments and formatting do not count, nor do docstrings that the code does not read.

    Raises `PipelineError` for code that has no source or no value, or changes a constant in place, with the remedy;
    `DataError` for a tracked path that is not there.
    """
    return digest({"seed": p.seed, "stages": [stage_digest(stage) for stage in p.stages]})


@public
def draw(p: Pipeline, /) -> str:
    """The pipeline as the text of a mermaid flowchart, which many sites and editors show as a picture.

    Stages are grouped by where they run: once per store, in every process, per example, per batch on the host and on
    the device. From the last split on, each split takes its own way through the stages that hold for it.

    >>> import fdm
    >>> print(draw(fdm.pipeline(fdm.shuffle().on("train"), fdm.batch(32))))
    flowchart TD
      subgraph lane0["in every process"]
        s0["0 shuffle"]
      end
      subgraph lane1["per batch, on the host"]
        s1["1 batch<br/>32"]
      end
      split0(["train"])
      split1(["others"])
      s0 --> s1
      s1 --> split0
      s1 --> split1
      %% seed 0

    Opens nothing. Raises `PipelineError` for what is no pipeline.
    """
    from ._pictures.mermaid import flowchart  # noqa: PLC0415 - a pipeline is no drawing program until it is drawn

    return flowchart(_checked("draw", p).stages, p.seed)


@public
def draw_svg(p: Pipeline, /) -> str:
    """The pipeline as the text of an SVG picture, stages from top to bottom, with a column for each split.

    Write it to a file, or into a page. It needs nothing else, and can be read on light and dark pages. A stage of which
    only a part has room tells all of it to who points at it.

    >>> import fdm
    >>> draw_svg(fdm.pipeline(fdm.batch(32)))[:38]
    '<svg xmlns="http://www.w3.org/2000/svg'

    Opens nothing. Raises `PipelineError` for what is no pipeline.
    """
    from ._pictures.svg import picture  # noqa: PLC0415 - likewise

    return picture(_checked("draw_svg", p).stages, p.seed)


def _checked(function: str, p: object) -> Pipeline:
    if not isinstance(p, Pipeline):
        msg = f"{function} takes a Pipeline, made by fdm.pipeline(...), not a {type(p).__name__}"
        raise PipelineError(msg)
    return p


def _place(stages: Sequence[Stage], new: Stage) -> int:
    """The number of the stage that `new` takes the place of."""
    same = [
        number
        for number, stage in enumerate(stages)
        if type(stage) is type(new) and _function_of(stage) == _function_of(new)
    ]
    if len(same) > 1:
        same = [number for number in same if _where(stages[number]) == _where(new)] or same
    if len(same) == 1:
        return same[0]
    label = f"{new.kind} {_function_of(new) or ''}".rstrip()
    if same:
        candidates = "; ".join(f"{number} {stages[number].kind} {' '.join(summary(stages[number]))}" for number in same)
        msg = f"replace: {label} could take the place of several stages: {candidates}; change them with .on, or build anew"
        raise PipelineError(msg)
    there = [f"{stage.kind} {_function_of(stage) or ''}".rstrip() for stage in stages]
    msg = f"replace: there is no {label}{did_you_mean(label, there)}; the stages are {', '.join(there) or 'none'}"
    raise PipelineError(msg)


def _named(stages: Sequence[Stage], name: str) -> int:
    """The number of the stage that a name names: by its kind, or its function."""
    numbers = [number for number, stage in enumerate(stages) if name in _names(stage)]
    if len(numbers) == 1:
        return numbers[0]
    known = {each for stage in stages for each in _names(stage)}
    found = "; ".join(
        f"{number} {stages[number].kind} {' '.join(summary(stages[number]))}".rstrip() for number in numbers
    )
    what = (
        f"several stages are named {name!r}: {found}"
        if numbers
        else (f"no stage is named {name!r}{did_you_mean(name, known)}; there are {listed(known)}")
    )
    msg = f"insert: {what}"
    raise PipelineError(msg)


def _where(stage: Stage) -> object:
    return stage.into if isinstance(stage, Mix) else getattr(stage, "splits", getattr(stage, "of", None))


def _function_of(stage: Stage) -> str | None:
    """The name of the function that a stage is about, if it is about one."""
    function = getattr(stage, "function", None)
    return function.name if isinstance(function, Function) else None


def _names(stage: Stage) -> set[str]:
    function = _function_of(stage)
    return {stage.kind, function} if function else {stage.kind}
