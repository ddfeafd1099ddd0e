"""The documents that tell figures, filled from the cards: `python -m training.pages` (`make pages`).

Between `<!-- NAME -->` and `<!-- /NAME -->` stands what this module makes; everything else is written by hand. No
figure is told that no card holds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model import checkpoint
from model.checkpoint import Card
from training import report
from training.baselines import BACK_PROJECTION

ROOT = Path(__file__).parents[1]
DOCUMENTS = (Path("README.md"), Path("docs/model-card.md"), Path("docs/physics.md"))
PLOTS = Path("docs/physics-{}.png")
ORDER = ("xr-lite", "xr", "xr-gan")
SHORT = (("whole", 4), ("whole", 2), ("native", 4), ("native", 2))  # what the README tells
_BLOCK = re.compile(r"<!-- (?P<name>[a-z-]+) -->\n.*?<!-- /(?P=name) -->", re.DOTALL)


def cards() -> list[Card]:
    """Of the shipped weights."""
    return [checkpoint.read_card(checkpoint.find(name)) for name in ORDER]


def texts() -> dict[Path, str]:
    """Every document as it should be, by its path below the project."""
    return {path: filled((ROOT / path).read_text(encoding="utf-8")) for path in DOCUMENTS}


def filled(text: str) -> str:
    """A document with its blocks made anew."""
    return _BLOCK.sub(
        lambda match: f"<!-- {match['name']} -->\n{BLOCKS[match['name']]()}\n<!-- /{match['name']} -->", text
    )


def tables() -> list[dict[str, Any]]:
    """What the cards hold under each question, all weights in one table."""
    merged: dict[str, dict[str, Any]] = {}
    for card in cards():
        for table in card.metrics["tables"]:
            known = merged.setdefault(report.title(table), {**table, "methods": dict(table["methods"])})
            for part in ("methods", "differences", "above_each_classical"):
                known[part] = {**known[part], **table[part]}
            known["sources"] = {s: {**known["sources"][s], **values} for s, values in table["sources"].items()}
    return list(merged.values())


def _found(protocol: str, scale: int, variant: str = "as it is", low: str = "area") -> dict[str, Any]:
    asked = (protocol, scale, variant, low)
    return next(t for t in tables() if (t["protocol"], t["scale"], t["variant"], t["low"]) == asked)


def _short() -> str:
    """Gains over bicubic, and the share of images above every classical method."""
    chosen = [_found(*question) for question in SHORT]
    heads = [f"{t['protocol']} x{t['scale']}" for t in chosen]
    lines = [_line(["PSNR, dB over bicubic", *heads]), _line(["---", *["---:"] * len(heads)])]
    for method in ("lanczos", BACK_PROJECTION, *ORDER):
        cells = []
        for table in chosen:
            gain = table["methods"][method]["psnr"] - table["methods"]["bicubic"]["psnr"]
            above = table["above_each_classical"].get(method)
            cells.append(f"{gain:+.2f}" + ("" if above is None else f" ({above:.0%})"))
        lines.append(_line([method, *cells]))
    counts = "; ".join(
        f"{head}: {t['images']} images of {t['patients']} patients" for head, t in zip(heads, chosen, strict=True)
    )
    return "\n".join([*lines, "", f"In brackets: the share of images above each classical method. {counts}."])


def _identities() -> str:
    lines = [_line(["weights", "version", "sha256", "physics suite"]), _line(["---"] * 4)]
    lines += [_line([c.name, c.version, f"`{c.sha256}`", c.unproven or "passed"]) for c in cards()]
    return "\n".join(lines)


def _tables() -> str:
    return "\n".join(report.markdown(table) for table in tables() if table["variant"] == "as it is")


def _variants() -> str:
    """The same images turned, mirrored and noisy: gains over back-projection."""
    lines = [_line(["dB over back-projection", *ORDER]), _line(["---", "---:", "---:", "---:"])]
    for table in tables():
        if table["low"] == "area":
            gains = [table["differences"][name][BACK_PROJECTION] for name in ORDER]
            name = f"{table['protocol']} x{table['scale']}, {table['variant']}"
            lines.append(_line([name, *(f"{g['psnr']:+.2f}, worst {g['worst']:+.2f}" for g in gains)]))
    return "\n".join(lines)


def _physics() -> str:
    """Every test at every scale."""
    parts = []
    for scale in cards()[0].scales:
        lines = [f"### x{scale}", "", _line(["test", "known", *ORDER, "limit"]), _line(["---", "---", *["---:"] * 4])]
        rows = [card.physics[f"x{scale}"]["rows"] for card in cards()]
        for same in zip(*rows, strict=True):
            sign = {"<=": "at most", ">=": "at least", "==": "exactly"}[same[0]["sign"]]
            known = " / ".join(dict.fromkeys(row["known"] for row in same))
            limits = " / ".join(dict.fromkeys(f"{row['limit']:.3g}" for row in same))
            values = [f"{row['value']:.3f}{'' if row['passed'] else ' **missed**'}" for row in same]
            lines.append(_line([same[0]["test"], known, *values, f"{sign} {limits}"]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _sheet() -> str:
    """For acceptance and each month after: what to expect of the weights in service, and a place to write."""
    card = cards()[0]
    head = ["test", "limit", f"expected ({card.name})", "found", "date, name"]
    lines = [_line(head), _line(["---"] * len(head))]
    for scale in card.scales:
        for row in card.physics[f"x{scale}"]["rows"]:
            limit = f"{row['sign']} {row['limit']:.3g}"
            lines.append(_line([f"x{scale} {row['test']}", limit, f"{row['value']:.3f}", "", ""]))
    return "\n".join(lines)


def _adversarial() -> str:
    """How the critic and the generator went."""
    card = cards()[ORDER.index("xr-gan")]
    names = ("critic_loss", "penalty", "slope", "adversarial", "perceptual", "pixel")
    lines = []
    for scale in card.scales:
        lines += [f"x{scale}:", "", _line(["step", *names]), _line(["---:"] * 7)]
        for entry in card.training[f"x{scale}"]["history"][::3]:
            lines.append(
                _line([str(entry["step"]), *(f"{entry[name]:.3f}" if name in entry else "" for name in names)])
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def _recipes() -> str:
    """What each was trained on and how long, the earlier stages first."""
    lines = [
        _line(["weights", "stages: steps (content or adversarial), batch, crop, pixel loss"]),
        _line(["---", "---"]),
    ]
    for card in cards():
        for scale in card.scales:
            stages, stage = [], card.training[f"x{scale}"]
            while stage:
                kind = "content" if stage["content"]["steps"] else "adversarial"
                settings = (stage[kind]["batch"], stage["data"]["crop"], stage["pixel"])
                stages.append(f"{stage['name']}: {stage['steps_done']} ({kind}), " + ", ".join(map(str, settings)))
                stage = stage.get("before")
            lines.append(_line([f"{card.name} x{scale}", "; then ".join(reversed(stages))]))
    return "\n".join(lines)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "figures": _short,
    "identities": _identities,
    "tables": _tables,
    "variants": _variants,
    "physics": _physics,
    "sheet": _sheet,
    "adversarial": _adversarial,
    "recipes": _recipes,
}


def plot() -> None:
    """MTF and noise power of each weights and scale, beside the classical methods."""
    for kind, axis, names in (
        ("mtf", "frequency", ("mtf original", "mtf bicubic", "mtf consistent", "mtf ours")),
        ("nps", "noise frequency", ("noise consistent", "noise ours")),
    ):
        figure = Figure(figsize=(11, 7))
        FigureCanvasAgg(figure)
        for number, (scale, card) in enumerate((s, c) for s in cards()[0].scales for c in cards()):
            axes = figure.add_subplot(2, len(ORDER), number + 1)
            curves = card.physics[f"x{scale}"]["curves"]
            for name in names:
                axes.plot(curves[axis], curves[name], label=name.partition(" ")[2], linewidth=1.2)
            axes.axvline(0.5, color="0.7", linewidth=0.8)
            axes.set(title=f"{card.name} x{scale}", xlabel="cycles per low pixel", ylim=(0, None))
            axes.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(ROOT / str(PLOTS).format(kind), dpi=90)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done."""
    for path, text in texts().items():
        (ROOT / path).write_text(text, encoding="utf-8")
    plot()
    return 0


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
