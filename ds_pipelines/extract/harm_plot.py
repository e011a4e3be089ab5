"""The harm of an extract as a picture: how long the probe took, who else was at work, and how much it slept.

What belongs here: that one plot. What does not: the record (`harm`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ds_pipelines.extract.harm import Harm

FEWEST_LOOKS = 3
"""With fewer there is nothing to see."""


def plot(harm: Harm) -> bytes | None:
    """A PNG; None if there were too few looks."""
    if len(harm.looks) < FEWEST_LOOKS:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), dpi=80, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    seconds = [look.second for look in harm.looks]
    above.plot(seconds, [look.latency for look in harm.looks], ".", markersize=3, color="C0")
    for when, found in (("before", harm.before), ("after", harm.after)):
        if found is not None:
            above.axhline(
                found.median, linewidth=1, linestyle="--" if when == "before" else ":", color="C1", label=when
            )
    above.set(yscale="log", ylabel="probe, ms", title=f"{harm.table}: {harm.rate:,.0f} rows a second")
    above.legend(loc="upper right", fontsize="small")
    below.step(seconds, [look.active for look in harm.looks], where="post", color="C2", label="others at work")
    below.step(seconds, [look.sleep for look in harm.looks], where="post", color="C3", label="sleep / reading")
    below.set(xlabel="seconds")
    below.legend(loc="upper right", fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
