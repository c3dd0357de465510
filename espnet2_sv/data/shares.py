"""Dividing work among the jobs of a cluster."""

from collections.abc import Sequence

from espnet2_sv.errors import SVError


def select_split[T](items: Sequence[T], share: str | None) -> Sequence[T]:
    """Return every n-th item.

    Args:
        items: All of them.
        share: ``"i/n"`` with i from 1 to n; None for all.

    Raises:
        SVError: ``share`` is something else.
    """
    if share is None:
        return items
    index, _, count = share.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise SVError(f"shard {share!r} is not understood; write i/n, for example 3/8")
    return items[int(index) - 1 :: int(count)]
