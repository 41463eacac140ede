"""The gate: whether opened data may still be used."""

import attrs

from .._errors import DataError


@attrs.define
class Gate:
    """Open from `open` to `close`; what was made from the data asks it before it reads."""

    is_open: bool = True

    def check(self) -> None:
        """Raise `DataError` if the data is closed."""
        if not self.is_open:
            msg = "the data is closed; open the pipeline again, or use it inside its with block"
            raise DataError(msg)
