"""What a search for CRF parameters found."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from ..crf import CRFParams
from ..metrics import Gain
from ..weights import Entry

BAND_PX = 3  # around true boundaries, where the CRF is meant to help


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes:
        dataset: Name and split, e.g. `camvid/val`.
        params: The best parameters.
        searched: Names of the images that they were chosen on.
        reported: Names of the images of `miou` and `trimap`; the search did not see them.
        search_miou: Mean IoU on the searched images, without the CRF and with it.
        points: How many parameters were compared.
        miou: Mean IoU without and with the CRF.
        trimap: The same within 3 pixels of a true boundary.
    """

    dataset: str
    params: CRFParams
    searched: tuple[str, ...]
    reported: tuple[str, ...]
    search_miou: tuple[float, float]
    points: int
    miou: Gain
    trimap: Gain

    @property
    def helps(self) -> bool:
        """Whether the interval of the gain in mean IoU lies above 0."""
        return self.miou.low > 0

    def verdict(self) -> str:
        """Say in one line whether the CRF shall run by default, and why."""
        gain = self.miou
        measured = (
            f"on {len(self.reported)} images that the search did not see, its gain in mean IoU is "
            f"{gain.gain:+.4f} (95 % interval {gain.low:+.4f} to {gain.high:+.4f})"
        )
        if self.helps:
            return f"The CRF is on by default: {measured}."
        return f"The CRF stays off by default: {measured}, which is not surely above 0."

    def to_json(self) -> str:
        return json.dumps({"helps": self.helps, **dataclasses.asdict(self)}, indent=1)

    def update(self, entry: Entry, how: str = "") -> Entry:
        """Give the entry with these parameters, scores, and the CRF on only if it helps.

        Args:
            entry: Of the weights.
            how: What beside one scale made the scores; it becomes part of their name.
        """
        scores = {
            "miou": self.miou.before,
            "miou with CRF": self.miou.after,
            f"within {BAND_PX} px": self.trimap.before,
            f"within {BAND_PX} px with CRF": self.trimap.after,
        }
        key = f"{self.dataset}{how}, {len(self.reported)} images apart from the CRF's search"
        return dataclasses.replace(
            entry,
            crf=self.params,
            use_crf=self.helps,
            metrics=entry.metrics | {key: {name: round(v, 5) for name, v in scores.items()}},
        )
