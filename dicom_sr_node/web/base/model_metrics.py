"""The weights there are: cards, what is in service, and how those on trial compare with those that are active."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from dicom_sr_node.web.base.context import AppContext


def models(context: AppContext) -> dict[str, Any]:
    """Cards as dictionaries; serving: what is in service; works: what this means here; shadows, made: figures."""
    serving, configured = context.store.deployments.now(), context.settings.model.name
    return {
        "works": context.registry.resolve(serving.active or configured, context.settings.model.device),
        "cards": [{**card.as_dict(), "unproven": card.unproven} for card in context.registry.cards()],
        "serving": serving,
        "configured": configured,
        "shadows": shadows(context.store.deployments.comparisons()),
        "made": made(context.store.deployments.qualities()),
    }


def figures(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each set of images that weights were measured on: the means of each method, and the worst image.

    gain, better, worst: of these weights over back-projection, in dB; better is the share of images.
    """
    tables = []
    for measured in (card["metrics"] or {}).get("tables", ()):
        try:
            name = f"{measured['protocol']} x{measured['scale']}, {measured['variant']}, low by {measured['low']}"
            over = measured["differences"][card["name"]]["back-projection"]
            rows = [
                {"method": method, **{key: means[key] for key in ("psnr", "ssim", "gmsd")}}
                for method, means in measured["methods"].items()
            ]
            numbers = {key: measured[key] for key in ("images", "patients")}
            gains = {"gain": over["psnr"], "better": over["better"], "worst": over["worst"]}
        except (KeyError, TypeError):
            continue  # a card of another kind: it is shown without figures
        tables.append({"name": name, "rows": rows, **numbers, **gains})
    return tables


def shadows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each pair of weights: how far their results are apart, and what each added (medians of so many images)."""
    numbers_of: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        numbers = json.loads(row["numbers"])
        numbers_of[row["model"], numbers["against"]].append(numbers)
    return [
        {
            "model": model,
            "against": against,
            "images": len(numbers),
            **{key: _median(numbers, key) for key in ("apart_rms", "added_share", "added_share_sent", "seconds")},
            "apart_max": max(number["apart_max"] for number in numbers),
        }
        for (model, against), numbers in numbers_of.items()
    ]


def made(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each weights: of how many images, what they added, and how far out of the usual the worst was."""
    numbers_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["quality"]:
            numbers_of[row["model"]].append(json.loads(row["quality"]))
    return [
        {
            "model": model,
            "images": len(numbers),
            "added_share": _median(numbers, "added_share"),
            "worst_score": max((n.get("score") or 0.0 for n in numbers), default=None),
        }
        for model, numbers in sorted(numbers_of.items())
    ]


def _median(numbers: list[dict[str, Any]], key: str) -> float | None:
    values = [number[key] for number in numbers if number.get(key) is not None]
    return median(values) if values else None
