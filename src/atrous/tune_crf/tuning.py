"""The result of a search for CRF parameters."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from ..crf import CRFParams
from ..metrics import Gain
from ..weights import Entry

BAND_PX = 3  # around true boundaries, where the CRF should help most


@dataclass(frozen=True)
class Tuning:
    """The best parameters of a search, and their scores on other images.

    Attributes:
        dataset: Name and split, e.g. `camvid/val`.
        params: The best parameters.
        searched: Names of the images that the parameters were chosen on.
        reported: Names of the images of `miou` and `trimap`; the search did not use them.
        search_miou: Mean IoU on the searched images, without and with the CRF.
        points: Number of parameter combinations compared.
        miou: Mean IoU without and with the CRF.
        trimap: Mean IoU within 3 pixels of a true boundary, without and with the CRF.
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
        """Whether the interval of the gain in mean IoU is entirely above 0."""
        return self.miou.low > 0

    def verdict(self) -> str:
        """Say in one line whether the CRF will run by default, and why."""
        gain = self.miou
        measured = (
            f"on {len(self.reported)} images that the search did not use, its gain in mean IoU is "
            f"{gain.gain:+.4f} (95 % interval {gain.low:+.4f} to {gain.high:+.4f})"
        )
        if self.helps:
            return f"The CRF is on by default: {measured}."
        return f"The CRF stays off by default: {measured}, so a gain is not certain."

    def to_json(self) -> str:
        """Return all attributes and `helps` as JSON."""
        return json.dumps({"helps": self.helps, **dataclasses.asdict(self)}, indent=1)

    def update(self, entry: Entry, how: str = "") -> Entry:
        """Return the entry with these parameters and scores, and the CRF on only if it helps.

        Args:
            entry: The entry of the weights.
            how: Options of the network, such as its scales; becomes part of the scores' name.
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
