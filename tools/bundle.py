"""Pack the bundled images, `assets/data`: the first of each full set in the cache, unchanged, in file order.

python tools/bundle.py

LZMA instead of the usual deflate: a fifth smaller, and `numpy.load` reads it all the same.
"""

import zipfile

import numpy as np

from gantools import ASSETS, data

PARTS = {"mnist": (10_000, 10_000), "fashion-mnist": (6_000, 2_000), "cifar10": (1_000, 1_000)}  # training, test


def main() -> None:
    for name, counts in PARTS.items():
        for split, count in zip(data.SPLITS, counts, strict=True):
            source = data.cache_dir() / name / f"{split}.npz"
            target = ASSETS / "data" / name / f"{split}.npz"
            if not source.exists():
                raise SystemExit(f"{source} is missing: python -m gantools data {name}")
            with np.load(source) as whole, zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
                for key in ("images", "labels"):
                    with archive.open(f"{key}.npy", "w") as file:
                        np.lib.format.write_array(file, whole[key][:count])


if __name__ == "__main__":
    main()
