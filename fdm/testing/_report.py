"""Reports: what was found of each law, as a table for people and plain values for programs."""

from typing import Any, Literal

import attrs
from toolz import frequencies

from .._text import aligned, printable, shortened


@attrs.frozen
class Verdict:
    """Whether a pipeline keeps a law: `"holds"`, `"broken"`, or `"skipped"`, with the reason in `why`.

    Of a broken law, `number` and `stage` tell the stage to blame, as the pipeline's table shows it (None where no
    single one is), `counterexample` the smallest case that was found, and `remedy` what to write instead.
    """

    law: str
    outcome: Literal["holds", "broken", "skipped"]
    number: int | None = None
    stage: str | None = None
    counterexample: str | None = attrs.field(default=None, converter=attrs.converters.optional(printable))
    why: str | None = attrs.field(default=None, converter=attrs.converters.optional(printable))
    remedy: str | None = None


@attrs.frozen(repr=False)
class Report:
    """The verdicts on all laws, in order; `str(report)` is a table of them.

    >>> broken = Verdict(
    ...     "inputs are not changed", "broken", 2, "2 transform  scale()", "example 0: x is 0, then 1", remedy="copy it"
    ... )
    >>> report = Report((Verdict("batches are finite", "holds"), broken))
    >>> print(report)
    law                     verdict  stage                 counterexample
    batches are finite      holds
    inputs are not changed  broken   2 transform  scale()  example 0: x is 0, then 1
    to mend "inputs are not changed": copy it
    2 laws: 1 broken, 1 holds
    >>> report.passed
    False
    """

    results: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether no law is broken."""
        return not self.broken

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The verdicts on the laws that are broken."""
        return tuple(verdict for verdict in self.results if verdict.outcome == "broken")

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {"passed": self.passed, "results": [attrs.asdict(verdict) for verdict in self.results]}

    def __str__(self) -> str:
        rows = [
            (v.law, v.outcome, shortened(v.stage or "", _STAGE), shortened(v.counterexample or v.why or "", _CASE))
            for v in self.results
        ]
        outcomes = [verdict.outcome for verdict in self.results]
        counts = ", ".join(f"{times} {outcome}" for outcome, times in sorted(frequencies(outcomes).items()))
        remedies = [f'to mend "{verdict.law}": {verdict.remedy}' for verdict in self.broken if verdict.remedy]
        return "\n".join([*aligned([_HEAD, *rows], indent=""), *remedies, f"{len(rows)} laws: {counts}"])

    def __repr__(self) -> str:
        return f"<fdm report on {len(self.results)} laws, {len(self.broken)} broken\n{self}>"


_HEAD = ("law", "verdict", "stage", "counterexample")
_STAGE, _CASE = 60, 160
