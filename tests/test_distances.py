import math

import pytest
import torch

from gantools import distances


def normal(count: int, size: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def statistics(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    return features.double().mean(0), features.double().T.cov(), len(features)


def test_a_reference_is_at_no_distance_from_itself():
    assert distances.frechet(*statistics(normal(500)), normal(500)) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_of_a_shift_is_its_square_and_of_a_scale_that_of_the_deviations():
    features = normal(500)
    moved = features + torch.tensor([3.0, 4] + [0] * 6)
    assert distances.frechet(*statistics(features), moved) == pytest.approx(25, rel=1e-5)
    mean, covariance, count = statistics(features - features.mean(0))
    wider = 3 * (features - features.mean(0))  # the traces of C + 9 C - 2 · 3 C
    assert distances.frechet(mean, covariance, count, wider) == pytest.approx(4 * float(covariance.trace()), rel=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_no_numbers_give_nan_and_no_perfect_score(value):
    reference, features = statistics(normal(100)), normal(100)
    assert math.isnan(distances.frechet(*reference, torch.full((100, 8), value)))
    features[3, 4] = value
    assert math.isnan(distances.frechet(*reference, features))


def test_the_kernel_distance_tells_a_shift_from_another_draw():
    near, far = (distances.kernel(normal(2_000), normal(2_000, seed=1) + shift) for shift in (0, 1))
    assert abs(near) < 0.01
    assert far > 0.3


def test_the_kernel_distance_takes_as_few_as_there_are():
    assert math.isfinite(distances.kernel(normal(30), normal(40, seed=1)))


def test_the_inception_score_runs_from_one_to_the_number_of_classes():
    certain = 50 * torch.eye(5).repeat(100, 1)
    assert distances.inception_score(torch.zeros(500, 5)) == pytest.approx(1)
    assert distances.inception_score(certain) == pytest.approx(5, rel=0.05)  # random tenths are not balanced
    assert distances.inception_score(certain[::5]) == pytest.approx(1), "certain, but always of the same class"


def test_numbers_repeat_and_leave_the_random_state_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    once, again = (distances.kernel(normal(1_500), normal(1_500, seed=1)) for _ in range(2))
    assert once == again
    assert distances.inception_score(normal(200)) == distances.inception_score(normal(200))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("features", [normal(1), normal(50, size=7), torch.zeros(50)])
def test_features_that_do_not_fit_the_reference_are_refused(features):
    with pytest.raises(ValueError, match=r"expected features \[at least 2, 8\]"):
        distances.frechet(*statistics(normal(50)), features)
    with pytest.raises(ValueError, match=r"expected features \[at least 2, 8\]"):
        distances.kernel(normal(50), features)
