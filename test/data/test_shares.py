import pytest

from espnet2_sv.data.shares import select_split
from espnet2_sv.errors import SVError


@pytest.mark.parametrize("count", [1, 3, 20])
def test_every_item_is_in_one_share(count):
    items = list(range(11))
    shares = [list(select_split(items, f"{i}/{count}")) for i in range(1, count + 1)]
    assert sorted(x for share in shares for x in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_none_is_all():
    assert list(select_split([1, 2], None)) == [1, 2]


@pytest.mark.parametrize("share", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(
        SVError, match=f"{share}' is not understood; write i/n, for example 3/8"
    ):
        select_split([], share)
