"""A last touch on a trained generator: as much ink as the images that it learned from."""

import torch
from torch import Tensor, nn

from gantools.imageset import ImageSet
from gantools.run import Run

WIDEST, HALVINGS = 8.0, 40  # of the search, in units of what tanh is given: 8 turns nearly black to nearly white


@torch.no_grad()
def match_mean(run: Run, dataset: ImageSet) -> Tensor:
    """Shift the bias of G's last layer until its images are on average as bright as those of `dataset`, by channel.

    Draws an image for each label of `dataset` (of z with seed 0) and changes `run.generator`, as it samples, in place.
    Returns the shift, float64 [C], in units of what the last tanh is given. For a generator that ends with a layer with
    a bias and tanh, as those of `rgan` do; between the two it may pose the image. Raises ValueError for any other, and
    for images of another shape than the run's.
    """
    *_, tanh = run.generator.modules()
    layers = [layer for layer in run.generator.modules() if isinstance(layer, (nn.ConvTranspose2d, nn.Conv2d))]
    if not isinstance(tanh, nn.Tanh) or not layers or layers[-1].bias is None:
        raise ValueError(
            f"match_mean() shifts the bias of a last convolution before tanh; recipe {run.recipe.name} has none"
        )
    if dataset.images.shape[1:] != run.recipe.image_shape:
        raise ValueError(
            f"match_mean(): images of {list(dataset.images.shape[1:])}, but this run draws "
            f"{list(run.recipe.image_shape)}; give the data set that it was trained on"
        )
    # tanh turned round; ±1 becomes infinite, and stays ±1 whatever is added.
    drawn = run.sample(len(dataset), labels=dataset.labels if run.recipe.classes else None).double().atanh()
    wanted = dataset.images.double().mean((0, 2, 3))  # [C]
    low, high = torch.full_like(wanted, -WIDEST), torch.full_like(wanted, WIDEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_dark = (drawn + middle[:, None, None]).tanh().mean((0, 2, 3)) < wanted
        low, high = torch.where(too_dark, middle, low), torch.where(too_dark, high, middle)
    layers[-1].bias.add_(middle.to(layers[-1].bias))
    return middle
