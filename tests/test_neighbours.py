import pytest
import torch

from gantools import neighbours


def cloud(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_two_draws_of_one_distribution_cover_each_other():
    density, coverage = neighbours.density_coverage(cloud(400), cloud(400, seed=1))
    assert density == pytest.approx(1, abs=0.2)
    assert coverage == pytest.approx(0.96, abs=0.03)


def test_features_cover_themselves():
    assert neighbours.density_coverage(cloud(50), cloud(50)[torch.randperm(50)])[1] == 1


@pytest.mark.parametrize(("real", "fake"), [(5, 100), (100, 5)])
def test_fewer_than_six_have_no_neighbours_enough(real, fake):
    with pytest.raises(ValueError, match="more than 5 images of either kind, not 5"):
        neighbours.density_coverage(cloud(real), cloud(fake))


def test_memorisation_is_a_ratio_of_median_distances():
    train = torch.zeros(10, 1, 1, 2)
    held_out = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2).repeat(3, 1, 1, 1)  # 5 away
    generated = torch.tensor([[0.0, 0], [0, 1], [0, 9]]).view(3, 1, 1, 2)  # 0, 1 and 9 away
    assert neighbours.memorisation(generated, held_out, train) == pytest.approx(0.2)


def test_the_nearest_is_found_in_a_later_block():
    train = torch.full((5_001, 1, 1, 1), 9.0)
    train[-1] = 1
    ones, twos = torch.ones(30, 1, 1, 1), torch.full((30, 1, 1, 1), 2.0)
    assert neighbours.memorisation(ones, twos, train) == pytest.approx(0, abs=1e-3)


def test_the_shuffled_order_is_fixed_and_complete():
    assert torch.equal(neighbours.shuffled(9), neighbours.shuffled(9))
    assert sorted(neighbours.shuffled(9).tolist()) == list(range(9))
