"""What `metrics.evaluate` returns: the numbers of one generator beside those of real images, as a table."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Report:
    """The numbers of one generator; `real` holds those of real images. None: not defined or not measured.

    `str(report)` is a table. `gantools.metrics` has a function for each number and says what it is; `worst_class` is
    the label agreement of the class that has the least.
    """

    name: str
    dataset: str
    count: int
    frechet_distance: float | None = None
    kernel_distance: float | None = None
    inception_score: float | None = None
    density: float | None = None
    coverage: float | None = None
    modes: float | None = None
    entropy: float | None = None
    within_class_variance: float | None = None
    label_agreement: float | None = None
    worst_class: float | None = None
    classification_accuracy: float | None = None
    memorisation: float | None = None
    note: str = ""
    real: "Report | None" = None

    def numbers(self) -> dict[str, float]:
        """What was measured, by name."""
        return {name: getattr(self, name) for name in NUMBERS if getattr(self, name) is not None}

    def __str__(self) -> str:
        lines = [f"{self.name} on {self.dataset}: {self.count:,} images" + (f"; {self.note}" if self.note else "")]
        other = self.real and self.real.count != self.count  # with fewer images FD is larger and IS smaller
        of = f" (real: {self.real.count:,} images)" if other else ""
        lines.append(f"{'':34}{'generated':>10}{'real':>10}  better{of}")
        for name, (title, form, better) in NUMBERS.items():
            mine, real = (getattr(report, name) if report else None for report in (self, self.real))
            if mine is not None:
                lines.append(
                    f"{title:34}{mine:>10{form}}"
                    + (f"{'':10}" if real is None else f"{real:>10{form}}")
                    + f"  {better}"
                )
        return "\n".join(lines)


NUMBERS = {  # field: its title, its format, where it should go
    "frechet_distance": ("FD (Fréchet distance)", ".3f", "lower"),
    "kernel_distance": ("KID (kernel distance)", ".4f", "lower"),
    "inception_score": ("IS (inception score)", ".2f", "higher"),
    "density": ("density", ".3f", "as real"),
    "coverage": ("coverage", ".3f", "higher"),
    "modes": ("modes (classes present)", ".0f", "all"),
    "entropy": ("entropy of the classes, nats", ".3f", "as real"),
    "within_class_variance": ("variance within a class", ".3f", "as real"),
    "label_agreement": ("label agreement", ".4f", "as real"),
    "worst_class": ("label agreement, worst class", ".4f", "as real"),
    "classification_accuracy": ("CAS (trained on these only)", ".4f", "higher"),
    "memorisation": ("memorisation (distance ratio)", ".3f", "1"),
}
