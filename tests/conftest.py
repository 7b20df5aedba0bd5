"""What every test starts from: an empty cache, one thread, a CPU, and a few tiny fixtures."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import Tensor, nn

import gantools
from gantools import data, judge, nets, recipes
from gantools.data import ImageSet
from gantools.recipe import Recipe
from gantools.run import Run

os.environ["ACCELERATE_USE_CPU"] = "true"  # equality to the last bit is promised on a CPU only


@pytest.fixture(autouse=True)
def clean_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTOOLS_DATA", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("GANTOOLS_PROFILE", raising=False)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # Started in the background, Python ignores Ctrl-C; the tests that press it need it heard.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def random_set(
    count: int = 40, shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, seed: int = 0
) -> ImageSet:
    pixels = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    names = tuple(str(label) for label in range(classes))
    return ImageSet(data.from_uint8(pixels), torch.arange(count) % classes, names, "tiny")


@pytest.fixture
def tiny() -> ImageSet:
    """40 random images of ten classes: five batches of eight."""
    return random_set()


@pytest.fixture
def make_set() -> Callable[..., ImageSet]:
    return random_set


@pytest.fixture
def recipe() -> Recipe:
    """mlp-gan for two epochs on `tiny`."""
    return recipes.get("mlp-gan", batch=8, steps=10)


@pytest.fixture
def start() -> Callable[[Recipe], Run]:
    """An untrained run of a recipe."""

    def start_run(recipe: Recipe) -> Run:
        names = [str(label) for label in range(recipe.classes or 10)]
        return Run.start(recipe, {"name": "tiny", "count": 40, "classes": names, "digest": ""})

    return start_run


@pytest.fixture
def environment() -> dict[str, str]:
    """For a Python of its own that is to find the package: on a CPU, one thread."""
    paths = [str(Path(gantools.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


class Shades(nn.Module):
    """A conditional generator that paints each class in its own grey, whatever z is."""

    def __init__(self, z_dim: int, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.greys = nn.Parameter(torch.linspace(-1, 1, classes))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        greys = y @ self.greys if y.is_floating_point() else self.greys[y]
        return greys.view(-1, 1, 1, 1).expand(-1, *self.image_shape)


class ShadesDiscriminator(nets.MLPDiscriminator):
    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(image_shape)
        self.bias = nn.Embedding(classes, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x) + self.bias(y).squeeze(1)


@pytest.fixture
def conditional() -> Recipe:
    """A recipe whose networks see labels."""
    return Recipe(
        name="shades", generator=Shades, discriminator=ShadesDiscriminator, classes=10, z_dim=4, batch=8, steps=4
    )


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython of its own, to display in."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    InteractiveShell.clear_instance()
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.fixture(scope="module")
def mnist() -> SimpleNamespace:
    """The judge and the bundled images: 10,000 of the training images, all of the test images."""
    return SimpleNamespace(judge=judge.load("mnist"), train=data.load("mnist"), test=data.load("mnist", split="test"))
