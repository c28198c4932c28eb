"""The `table` section: the associative memory beside the network, see `titans_seq.memory.table`."""

from typing import Annotated, Literal

from pydantic import Field

from titans_seq.config.sections import Fraction, NonNegative, NonNegativeReal, Section

Order = Annotated[int, Field(ge=1, le=31)]


class TableSection(Section):
    """What the table stores and how its predictions are mixed in.

    Attributes
    ----------
    megabytes
        Most that the table of one stream may take, in 10^6 bytes; a short stream takes less. 0 leaves the table out.
    orders
        Lengths of the contexts whose following bases are counted, ascending.
    copies
        Lengths of the contexts whose latest sight is looked up and followed, on both strands, ascending.
    tolerance
        Most mismatches in the last 31 bases with which such a copy is followed.
    store
        Which followers are counted: all, or only the unexpected: those that a context was not certain of already.
    rate
        Step of the mixture's weights while reading; 0 keeps the trained ones.
    drop
        Share of rows and steps that train without the table, so that the network can do without.
    """

    megabytes: NonNegativeReal = 0.0
    orders: tuple[Order, ...] = (1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 16, 18, 22)
    copies: tuple[Order, ...] = (12, 24)
    tolerance: NonNegative = 16
    store: Literal["all", "unexpected"] = "all"
    rate: NonNegativeReal = 0.002
    drop: Fraction = 0.1
