"""gantools: the helpers behind a course on generative adversarial networks.

Start with the notebooks; read `train.py` next. The modules, from the ground up:
`runtime`, `data` (with `imageset`, `download`, `glyphs`), `augment`, `nets`, `losses`, `recipe` (with `fields`),
`catalogue`, `recipes`, `run`, `checkpoint` (with `runfiles`, `rounding`), `tensorboard`, `steps`, `train`,
`calibrate`; `classify`, `judge`, `metrics` (with `scores`, `distances`, `neighbours`, `inception`, `report`);
`picture`, `plots`, `explore` (with `exhibit`, `previews`, `handwriting`, `walks`); `trials`, `arms`, `evidence`,
`plan`, `study`, `study_plots`; `enlarge` (with `verdict`); `cli`.
"""

from pathlib import Path

__version__ = "0.1.0"

# Badges, the set-up cells of the notebooks and the package's metadata all hold this address;
# `make address URL=…` rewrites it everywhere, and a test finds any place that was missed.
REPOSITORY = "https://github.com/gantools/gantools"

_package = Path(__file__).resolve().parent
# In a clone the assets lie beside the package; in an installed wheel they lie inside it.
ASSETS = _package / "assets" if (_package / "assets").is_dir() else _package.parent / "assets"
