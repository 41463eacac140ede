"""Pictures of pipelines: as mermaid text, and as SVG."""

from ._errors import PipelineError
from ._pictures.mermaid import flowchart
from ._pictures.svg import picture
from ._pipeline import Pipeline
from ._public import public


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
    return picture(_checked("draw_svg", p).stages, p.seed)


def _checked(function: str, p: object) -> Pipeline:
    if not isinstance(p, Pipeline):
        msg = f"{function} takes a Pipeline, made by fdm.pipeline(...), not a {type(p).__name__}"
        raise PipelineError(msg)
    return p
