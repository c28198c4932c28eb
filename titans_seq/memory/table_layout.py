"""What a table is made of, and how many slots it gets: `TableSpec` and `Layout`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from titans_seq.errors import ConfigError

HITS = 16
"""Latest predictions of an order whose hits are counted."""
SHORT = 1 << 16
"""Streams up to this length have one layout, so that a short one reads the same wherever it stands."""
CERTAIN = 4
"""Sights of one follower, and of no other, from which on a context is certain of it."""
_LEAST = 1 << 10


@dataclass(frozen=True, slots=True)
class TableSpec:
    """An associative table over tokens ``0 .. alphabet - 1``; ``alphabet`` itself stands for an unknown token.

    Attributes
    ----------
    alphabet : at most 254.
    complement : partner of each token on the other strand, which is then written and read too; None for data that has
        only one direction.
    orders : lengths of the contexts whose followers are counted, ascending.
    copies : context lengths at which the last sight is looked up and followed (`Copies`); on both strands where there
        is a complement.
    sight : which sight of such a context is kept, ``last`` or ``first``.
    store : which followers are counted: ``all``, or only those that were ``unexpected``. Then, each order by itself, a
        context that at the last chunk border had been followed by this token, `CERTAIN` times or more, and by no
        other is left as it is.
    tolerance : most misses, of the last W tokens, with which a copy is followed.
    chunk : tokens that are read before they are written, at absolute positions; at most 64.
    megabytes : upper limit for one stream, in 10^6 bytes.

    Raises
    ------
    ConfigError
    """

    alphabet: int = 4
    complement: tuple[int, ...] | None = (3, 2, 1, 0)
    orders: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 16, 18, 22)
    copies: tuple[int, ...] = (12, 24)
    sight: Literal["last", "first"] = "last"
    store: Literal["all", "unexpected"] = "all"
    tolerance: int = 16
    chunk: int = 64
    megabytes: float = 1024.0

    def __post_init__(self) -> None:
        if not 2 <= self.alphabet <= 254:
            raise ConfigError(f"expected an alphabet of 2 to 254 tokens, found {self.alphabet}")
        for name, values in (("orders", self.orders), ("copies", self.copies)):
            if not values or list(values) != sorted(set(values)) or values[0] < 1:
                raise ConfigError(f"expected ascending {name} from 1 on, found {values}")
        longest = 62 // max(1, (self.alphabet - 1).bit_length())
        if self.copies[-1] > longest:
            raise ConfigError(f"expected copies of at most {longest} tokens of this alphabet, found {self.copies}")
        if not 1 <= self.chunk <= 64:
            raise ConfigError(f"expected a chunk of 1 to 64 tokens, found {self.chunk}")
        if self.sight not in ("last", "first"):
            raise ConfigError(f"expected a sight of last or first, found {self.sight!r}")
        if self.store not in ("all", "unexpected"):
            raise ConfigError(f"expected to store all or unexpected, found {self.store!r}")
        if self.complement is not None and sorted(self.complement) != list(range(self.alphabet)):
            raise ConfigError(f"expected a partner for each of {self.alphabet} tokens, found {self.complement}")

    @property
    def certain(self) -> int:
        """Sights from which on a sure follower is not counted any more; 0 where all are."""
        return CERTAIN if self.store == "unexpected" else 0

    @property
    def strands(self) -> tuple[bool, ...]:
        """Whether each strand that copies are sought on is the other one."""
        return (False,) if self.complement is None else (False, True)

    @property
    def followed(self) -> tuple[tuple[int, bool], ...]:
        """Context length and strand of every copy."""
        return tuple((k, reverse) for k in self.copies for reverse in self.strands)


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of a table that is to hold a stream of so many tokens.

    Attributes
    ----------
    slots : of each order's region: A^k where that is fewer, else a power of two.
    places : of the last-sight plane of each copy length, a power of two.
    capacity : latest tokens of the stream that are kept, a power of two.
    """

    spec: TableSpec
    tokens: int
    slots: tuple[int, ...] = field(init=False)
    places: int = field(init=False)
    capacity: int = field(init=False)

    def __post_init__(self) -> None:
        spec = self.spec
        least = _power(max(_LEAST, 4 * (spec.orders[-1] + spec.chunk)))
        size = max(least, SHORT, _power(self.tokens))
        while True:
            wanted = size * (1 if spec.complement is None else 2)
            slots = tuple(min(spec.alphabet**k, wanted) for k in spec.orders)
            for name, value in (("slots", slots), ("places", 2 * size), ("capacity", size)):
                object.__setattr__(self, name, value)
            if self.bytes <= spec.megabytes * 1e6:
                return
            if size == least:
                raise ConfigError(
                    f"a table of {spec.megabytes:g} MB is too small: {len(slots)} orders take at least "
                    f"{self.bytes / 1e6:.1f} MB"
                )
            size //= 2

    @property
    def regions(self) -> tuple[int, ...]:
        """Slots set aside for each order: even, as two neighbours make a bucket."""
        return tuple(size + size % 2 for size in self.slots)

    @property
    def bytes(self) -> int:
        """Size of one stream's table."""
        history = 1 + 8 * len(self.spec.strands)
        return (
            sum(self.regions) * (self.spec.alphabet + 2)
            + self.places * 4 * len(self.spec.copies)
            + self.capacity * history
        )


def _power(number: int) -> int:
    """The smallest power of two that is not below ``number``."""
    return 1 << max(0, number - 1).bit_length()
