"""The pictures of a report: predictions, residuals, slices, trials, arrivals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from lakeline.report.figure import BAD, CANDIDATE, INK, MUTED, PAPER, PRODUCTION, Plot, canvas, draw, people
from lakeline.report.words import count, finite, metric_of, number, percent, plural, quantity, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from lakeline.report.measure import Measure

    Numbers = NDArray[np.float64]

MOST_BARS = 12
_LABEL = 26
_OPACITY = (0.16, 0.34, 0.56, 0.78, 1.0)


def predictions(sample: Sequence[Sequence[Any]], label: str, unit: str) -> Plot | None:
    """Draw the density of actual against predicted values of the held-out sample, with the line where they are equal."""
    rows = _sample(sample)
    if len(rows) < 2:  # noqa: PLR2004 (nothing to see in one point)
        return None
    actual, predicted = rows[:, 0], rows[:, 1]
    low, high = np.percentile(np.concatenate([actual, predicted]), [0.5, 99.5])
    low, high = (low, high) if high > low else (low - 1, high + 1)
    inside = (actual >= low) & (actual <= high) & (predicted >= low) & (predicted <= high)
    with canvas(4.7) as figure:
        axes = figure.subplots()
        counts = _hexagons(axes, actual[inside], predicted[inside], (low, high))
        axes.plot([low, high], [low, high], color=INK, linestyle=(0, (5, 3)), linewidth=1.2)
        axes.set(xlim=(low, high), ylim=(low, high))
        axes.set_xlabel(f"actual {label}")
        axes.set_ylabel(f"predicted {label}")
        people(axes.xaxis, axes.yaxis)
        keys = [Patch(facecolor=CANDIDATE, alpha=alpha, label=key) for key, alpha in counts]
        figure.legend(handles=keys, loc="outside right upper", title="rows in\na cell", handlelength=1.1, handleheight=1.1)
        correlation = float(np.corrcoef(actual, predicted)[0, 1]) if actual.std() and predicted.std() else 0.0
        outside = len(rows) - int(inside.sum())
        return draw(
            figure,
            "predictions",
            "Predicted against actual",
            f"Density of {plural(len(rows), 'held-out row')}: actual {label} on the horizontal axis against the candidate's prediction on "
            f"the vertical one, from {quantity(low, unit, 3)} to {quantity(high, unit, 3)}. Correlation {number(correlation, 2)}.",
            f"{plural(len(rows), 'sampled held-out row')}; a perfect prediction lies on the dashed line."
            + (f" {plural(outside, 'extreme row')} outside the frame." if outside else ""),
        )


def residuals(sample: Sequence[Sequence[Any]], label: str, unit: str) -> Plot | None:
    """Draw how the errors of the candidate, and of production, are distributed."""
    rows = _sample(sample)
    if len(rows) < 2:  # noqa: PLR2004 (no distribution)
        return None
    errors = rows[:, 1] - rows[:, 0]
    theirs = rows[:, 2] - rows[:, 0]
    theirs = theirs[np.isfinite(theirs)]
    low, high = np.percentile(np.concatenate([errors, theirs]), [1, 99])
    low, high = min(low, -1e-9), max(high, 1e-9)
    bins = np.linspace(low, high, 41)
    with canvas(4.0) as figure:
        axes = figure.subplots()
        axes.hist(errors, bins=bins, histtype="stepfilled", color=CANDIDATE, alpha=0.3, weights=np.full(len(errors), 100 / len(errors)))
        axes.hist(
            errors,
            bins=bins,
            histtype="step",
            color=CANDIDATE,
            linewidth=1.8,
            weights=np.full(len(errors), 100 / len(errors)),
            label="candidate (filled)",
        )
        if len(theirs):
            axes.hist(
                theirs,
                bins=bins,
                histtype="step",
                color=PRODUCTION,
                linewidth=1.8,
                linestyle=(0, (4, 2)),
                weights=np.full(len(theirs), 100 / len(theirs)),
                label="production (dashed)",
            )
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_xlabel(f"predicted − actual {label}")
        axes.set_ylabel("% of rows")
        axes.grid(visible=False, axis="x")
        axes.set_xlim(low, high)
        people(axes.xaxis)
        figure.legend(loc="outside upper left", ncols=2)
        spread = _spread("candidate", errors, unit) + (f"; {_spread('production', theirs, unit)}" if len(theirs) else "")
        return draw(
            figure,
            "residuals",
            "Errors",
            f"Histogram of predicted minus actual {label}. {spread[0].upper()}{spread[1:]}.",
            f"Half of the errors lie within: {spread}. Right of 0 the prediction was too high; the outermost 2 % are not drawn.",
        )


def slices(parts: Sequence[Mapping[str, Any]], decides: Measure) -> Plot | None:
    """Draw the metric of the largest slices, candidate beside production."""
    metric, unit = decides.name, decides.unit_of()
    known = [part for part in parts if metric_of(part.get("candidate"), metric) is not None]
    shown = sorted(known, key=lambda part: -(finite(part.get("rows")) or 0))[:MOST_BARS]
    if not shown:
        return None
    order = list(dict.fromkeys(str(part.get("slice")) for part in shown))
    shown.sort(key=lambda part: (order.index(str(part.get("slice"))), -(finite(part.get("rows")) or 0)))
    ours = [metric_of(part.get("candidate"), metric) or 0.0 for part in shown]
    theirs = [metric_of(part.get("production"), metric) for part in shown]
    both = any(value is not None for value in theirs)
    with canvas(1.2 + (0.46 if both else 0.34) * len(shown)) as figure:
        axes = figure.subplots()
        rows = np.arange(len(shown))
        height = 0.36 if both else 0.66
        axes.barh(rows - (height / 2 if both else 0), ours, height, color=CANDIDATE, label="candidate (solid)")
        if both:
            bars = [value if value is not None else 0.0 for value in theirs]
            axes.barh(
                rows + height / 2,
                bars,
                height,
                facecolor="none",
                edgecolor=PRODUCTION,
                hatch="////",
                linewidth=1,
                label="production (hatched)",
            )
            figure.legend(loc="outside upper left", ncols=2)
        _row_labels(axes, [f"{text(part.get('slice'))} {text(part.get('value'))}" for part in shown])
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_xlabel(f"{metric}{f', {unit}' if unit else ''}")
        people(axes.xaxis)
        pairs = [
            f"{text(part.get('slice'))} {text(part.get('value'))}: {number(mine, 3)}" + (f" against {number(other, 3)}" if both else "")
            for part, mine, other in zip(shown, ours, theirs, strict=True)
        ]
        return draw(
            figure,
            "slices",
            f"{metric} by slice",
            f"Bars of {metric} by slice, candidate{' against production' if both else ''}. {'; '.join(pairs)}.",
            f"The {count(len(shown))} largest of {plural(len(known), 'slice')}; the table below has the numbers."
            if len(shown) < len(known)
            else "All slices; the table below has the numbers.",
        )


def trials(results: Sequence[Mapping[str, Any]], best: Any, decides: Measure) -> Plot | None:
    """Draw the metric of each trial on the validation rows, best first, failed ones last."""
    metric, unit, sign = decides.name, decides.unit_of(), 1 if decides.minimize else -1
    found = [(result, metric_of(result.get("metrics"), metric)) for result in results if not result.get("error")]
    known = sorted(((result, value) for result, value in found if value is not None), key=lambda pair: sign * pair[1])
    if len(known) < 2:  # noqa: PLR2004 (nothing to compare)
        return None
    shown = known[:MOST_BARS]
    chosen = finite(best)
    with canvas(1.0 + 0.36 * len(shown)) as figure:
        axes = figure.subplots()
        values = [value for _, value in shown]
        axes.hlines(range(len(shown)), min(values), values, color=MUTED, linewidth=1)
        for row, (result, value) in enumerate(shown):
            is_best = chosen is not None and finite(result.get("number")) == chosen
            axes.plot(
                value,
                row,
                marker="*" if is_best else "o",
                markersize=15 if is_best else 7,
                clip_on=False,
                color=CANDIDATE,
                markeredgecolor=PAPER,
                linestyle="none",
            )
            axes.annotate(
                f"{number(value)}{' best' if is_best else ''}",
                (value, row),
                xytext=(10, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold" if is_best else "normal",
                annotation_clip=False,
            )
        _row_labels(axes, [f"{text(result.get('number'))}: {text(result.get('estimator')).replace('_', ' ')}" for result, _ in shown])
        spread = max(values) - min(values) or abs(values[0]) or 1.0
        axes.set_xlim(min(values) - 0.04 * spread, max(values) + 0.3 * spread)
        axes.set_xlabel(f"{metric} on validation rows{f', {unit}' if unit else ''}")
        axes.locator_params(axis="x", nbins=5)
        people(axes.xaxis)
        pairs = [f"trial {text(result.get('number'))} ({text(result.get('estimator'))}): {number(value)}" for result, value in shown]
        return draw(
            figure,
            "trials",
            f"{metric} by trial",
            f"{metric} on the validation rows, best first. {'; '.join(pairs)}.",
            f"Best first; {'less' if sign == 1 else 'more'} is better. The star is the trial that was chosen. The axis does not start at 0."
            + (f" The best {len(shown)} of {len(known)} trials." if len(shown) < len(known) else ""),
        )


def arrivals(deliveries: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Draw rows per arrival: kept, and dropped by the transform."""
    shown = [each for each in deliveries if finite(each.get("rows_raw")) is not None or finite(each.get("rows_clean")) is not None][-36:]
    if len(shown) < 2:  # noqa: PLR2004 (nothing to compare)
        return None
    clean = np.array([finite(each.get("rows_clean")) or 0.0 for each in shown])
    raw = np.array([finite(each.get("rows_raw")) or 0.0 for each in shown])
    dropped = np.maximum(raw - clean, 0)
    with canvas(3.6) as figure:
        axes = figure.subplots()
        places = np.arange(len(shown))
        axes.bar(places, clean, 0.7, color=CANDIDATE, label="clean (solid)")
        axes.bar(places, dropped, 0.7, bottom=clean, facecolor="none", edgecolor=BAD, hatch="////", linewidth=1, label="left out (hatched)")
        step = -(-len(shown) // MOST_BARS)
        axes.set_xticks(places[::step], [_short(text(each.get("id"))) for each in shown[::step]])
        if max(len(text(each.get("id"))) for each in shown) * len(places[::step]) > 44:  # noqa: PLR2004 (characters that fit side by side)
            axes.tick_params(axis="x", rotation=45)
        axes.set_ylabel("rows")
        axes.grid(visible=False, axis="x")
        people(axes.yaxis)
        figure.legend(loc="outside upper left", ncols=2)
        rows = [f"{text(each.get('id'))}: {count(kept)} of {count(all_)}" for each, kept, all_ in zip(shown, clean, raw, strict=True)]
        share = percent(dropped.sum() / raw.sum() if raw.sum() else 0)
        return draw(
            figure,
            "arrivals",
            "Rows per arrival",
            f"Bars of clean rows out of raw rows by arrival. {'; '.join(rows)}.",
            f"{count(clean.sum())} clean rows of {count(raw.sum())}; the transform left {share} out.",
        )


def _sample(sample: Sequence[Sequence[Any]]) -> Numbers:
    """Actual, candidate, production as an (n, 3) array; production's column is NaN where there is none."""
    rows = [[finite(each[0]), finite(each[1]), finite(each[2]) if len(each) > 2 else None] for each in sample if len(each) > 1]  # noqa: PLR2004
    kept = [[row[0], row[1], np.nan if row[2] is None else row[2]] for row in rows if row[0] is not None and row[1] is not None]
    return np.array(kept, dtype=np.float64).reshape(-1, 3)


def _hexagons(axes: Axes, x: Numbers, y: Numbers, limits: tuple[float, float]) -> list[tuple[str, float]]:
    """Draw counts per hexagon in steps of opacity, one path a step; returns what each step means."""
    binned = axes.hexbin(x, y, gridsize=34, extent=(*limits, *limits), mincnt=1, linewidths=0)
    counts = np.asarray(binned.get_array(), dtype=np.float64)
    centres = np.asarray(binned.get_offsets(), dtype=np.float64)
    hexagon = binned.get_paths()[0].vertices
    binned.remove()
    most = int(counts.max()) if len(counts) else 1
    edges = np.unique(np.geomspace(1, most + 1, len(_OPACITY) + 1).round().astype(int)) if most > 1 else np.array([1, 2])
    steps: list[tuple[str, float]] = []
    shades = _OPACITY[-(len(edges) - 1) :]
    for lower, upper, alpha in zip(edges[:-1], edges[1:], shades, strict=True):
        cells = centres[(counts >= lower) & (counts < upper)]
        if len(cells):
            path = Path.make_compound_path(*[Path(np.asarray(hexagon) + cell, closed=True) for cell in cells])
            axes.add_patch(PathPatch(path, facecolor=CANDIDATE, alpha=alpha, linewidth=0))
        steps.append((count(lower) if upper - lower == 1 else f"{count(lower)}–{count(upper - 1)}", alpha))
    return steps


def _spread(name: str, errors: Numbers, unit: str) -> str:
    low, high = np.percentile(errors, [25, 75])
    return f"{name} {number(low, 3)} to {quantity(high, unit, 3)}"


def _row_labels(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _short(label: str) -> str:
    flat = " ".join(label.split())
    return flat if len(flat) <= _LABEL else f"{flat[: _LABEL - 1]}…"
