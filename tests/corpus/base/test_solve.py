import pytest
from solve import answer, fit


def test_line():
    model = fit([(0, 1), (1, 3), (2, 5)])
    assert model["slope"] == pytest.approx(2, rel=1e-6)
    assert model["intercept"] == pytest.approx(1, rel=1e-6)


def test_answer():
    assert answer({"slope": 2, "intercept": 1}, 3) == 7


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_shift(shift):
    model = fit([(0, shift), (1, shift + 1)])
    assert abs(model["intercept"] - shift) < 1e-9
