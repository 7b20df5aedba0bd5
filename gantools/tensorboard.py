"""Losses, learning rates and samples for TensorBoard, on request: `train.fit(…, log_dir="runs/board")`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gantools.run import Run
from gantools.walks import rows_of_z

ROWS = 2  # of samples of the same z each time
GROUPS = {
    "d_loss": "loss/d",
    "g_loss": "loss/g",
    "penalty": "loss/penalty",
    "d_real": "belief/real",
    "d_fake": "belief/fake",
    "real_accuracy": "accuracy/real",
    "fake_accuracy": "accuracy/fake",
    "real_named": "named/real",  # all three where D names the class too
    "fake_named": "named/fake",
    "class_loss": "loss/class",
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
    from gantools.picture import tile  # here, for it brings Matplotlib, which a training without a board can do without

    board = SummaryWriter(str(log_dir), purge_step=step + 1 if step else 0)

    def log(run: Run) -> None:
        row = run.history[-1]
        for key in GROUPS.keys() & row.keys():
            board.add_scalar(GROUPS[key], row[key], run.step)
        for role, optimizer in (("d", run.d_optimizer), ("g", run.g_optimizer)):
            board.add_scalar(f"rate/{role}", optimizer.param_groups[0]["lr"], run.step)
        if len(run.recipe.image_shape) == 3:
            pixels = tile(*rows_of_z(run, ROWS), zoom=1)
            board.add_image("samples", pixels, run.step, dataformats="HWC" if pixels.ndim == 3 else "HW")
        board.flush()

    with board:
        yield log
