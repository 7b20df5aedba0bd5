"""Losses and samples for TensorBoard, on request: `train.fit(…, log_dir="runs/board")`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gantools.data import to_uint8
from gantools.run import Run

SAMPLES = 16  # of the same z each time
GROUPS = {
    "d_loss": "loss/d",
    "g_loss": "loss/g",
    "penalty": "loss/penalty",
    "d_real": "belief/real",
    "d_fake": "belief/fake",
    "real_accuracy": "accuracy/real",
    "fake_accuracy": "accuracy/fake",
    "real_named": "named/real",  # both where D names the class too
    "fake_named": "named/fake",
    "frechet_distance": "quality/frechet_distance",  # both where `metrics.during` measured them
    "inception_score": "quality/inception_score",
}


@contextmanager
def writer(log_dir: str | Path, step: int = 0) -> Iterator[Callable[[Run], None]]:
    """Inside, a function that logs the last row of a run's history, and samples, to a folder for TensorBoard.

    What an earlier run logged there after `step` is hidden. Raises ValueError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(f"log_dir={str(log_dir)!r} needs TensorBoard: pip install tensorboard") from error
    board = SummaryWriter(str(log_dir), purge_step=step + 1 if step else 0)

    def log(run: Run) -> None:
        row = run.history[-1]
        for key in GROUPS.keys() & row.keys():
            board.add_scalar(GROUPS[key], row[key], run.step)
        if len(run.recipe.image_shape) == 3:
            board.add_images("samples", to_uint8(run.sample(SAMPLES)), run.step)
        board.flush()

    with board:
        yield log
