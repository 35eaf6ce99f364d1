"""The demo's report: one page that a person can read without any server."""

import base64
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from flows.demo.plan import LAMP_POWER, PRODUCT, DemoNight, DemoPlan, labels, version_name
from flows.demo.plots import CAUSE_COLOURS, plot_story
from flows.jobs.night_outcome import ActionKind
from flows.jobs.product import Product, open_product
from mlflow_models import flavor, registry
from mlflow_models.tracking import sources_of
from reconad_plugin.ledger.manifest import ACCEPTED, accepted_rows
from reconad_plugin.plots.figures import plot_maps

EXAMPLES: Final = 6  # pictures in a row of examples

STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b2733; margin: 0; background: #f6f7f8 }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px }
h1 { font-size: 30px; margin: 0 0 4px } h2 { font-size: 21px; margin: 40px 0 8px }
p { max-width: 80ch } .lead { font-size: 18px }
section { background: #fff; border: 1px solid #e2e6ea; border-radius: 8px; padding: 16px 20px;
  overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th { text-align: left; border-bottom: 2px solid #1b2733; padding: 6px 10px 6px 0 }
td { border-bottom: 1px solid #e2e6ea; padding: 6px 10px 6px 0; vertical-align: top }
td:first-child, td.number { white-space: nowrap }
td.number { text-align: right; padding-right: 24px }
.cause { color: #fff; border-radius: 4px; padding: 1px 8px; white-space: nowrap }
.quiet { color: #66727d } img { max-width: 100%; height: auto; display: block }
code { background: #eef1f4; border-radius: 4px; padding: 1px 5px; font-size: 14px }
"""


@dataclass(frozen=True)
class _Story:
    """Everything that the page shows."""

    product: Product
    plan: DemoPlan
    nights: list[DemoNight]
    manifests: pd.DataFrame
    scores: pd.DataFrame
    versions: list[registry.Version]


def write_report(plan: DemoPlan, nights: list[DemoNight], folder: Path) -> Path:
    """Write ``index.html`` with all pictures inside it; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    body = "\n".join(_sections(_gather(plan, nights)))
    page.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>reconad: nights '
        f"of a ball screw</title><style>{STYLE}</style></head><body><main>{body}</main>"
        "</body></html>",
        encoding="utf-8",
    )
    return page


def _gather(plan: DemoPlan, nights: list[DemoNight]) -> _Story:
    product = open_product(PRODUCT)
    days = [date.fromisoformat(row.night) for row in nights]
    manifests = [product.manifest(day) for day in days]
    tables = [product.records.scores(day) for day in days]
    scores = pd.concat([table for table in tables if table is not None], ignore_index=True)
    versions = registry.versions(PRODUCT)
    thresholds = {
        version.number: flavor.load_model(version.uri).calibration.image_threshold
        for version in versions
    }
    pitted = {(row.night.isoformat(), row.path.name) for row in labels() if row.is_pitted}
    truth = [
        (night, key.rsplit("/", 1)[-1]) in pitted
        for night, key in zip(scores["night"], scores["key"], strict=True)
    ]
    return _Story(
        product=product,
        plan=plan,
        nights=nights,
        manifests=accepted_rows([found for found in manifests if found is not None]),
        scores=scores.assign(
            is_pitted=truth, image_threshold=scores["model_version"].map(thresholds)
        ),
        versions=versions,
    )


def _sections(story: _Story) -> Iterator[str]:
    def section(title: str, content: str) -> str:
        return f"<h2>{title}</h2><section>{content}</section>"

    yield _heading(story)
    yield f"<section>{_night_table(story.nights)}</section>"
    plot = plot_story(story.nights, story.manifests, story.scores)
    yield section(
        "How the nights went", _picture(plot, "light, scores and suspects over the nights")
    )
    yield "<h2>What the versions see</h2>"
    for title, figure in _examples(story):
        yield f"<p>{html.escape(title)}</p><section>{_picture(figure, title)}</section>"
    yield section("Why each version was let in or kept out", _verdicts(story.versions))
    yield section("What was quarantined or came twice", _not_accepted(story))
    yield section("Where each version comes from", _lineage(story.versions))


def _heading(story: _Story) -> str:
    watched = [row for row in story.nights if row.record is not None]
    pitted = [row for row in watched if row.pitted]
    quiet = [row for row in watched if not row.pitted and not row.is_simulated]
    worn = story.plan.worn_from.isoformat()
    before = [row for row in quiet if row.night < worn]
    named = sum("defects" in row.causes for row in pitted)
    held = sum(bool(row.record and row.record.is_holding) for row in pitted) - named
    passed = sum(not row.is_alarm for row in pitted)
    learnt = [row.night for row in watched if row.action.kind is ActionKind.FINETUNED]
    return (
        f"<h1>{len(story.nights)} real nights of a ball screw</h1>"
        f"<p class='lead'>{len(before)} ordinary watched nights gave "
        f"{sum(row.is_alarm for row in before)} alarms. From {worn} on the lamp is worn: it gives "
        f"{', '.join(f'{power:.0%}' for power in LAMP_POWER)} of its red, green and blue "
        "(applied to the real pictures; the system is not told). "
        f"Fine-tuning followed {', '.join(learnt) or 'no night'}. Of {len(pitted)} watched "
        f"nights with pitting by the data set's labels: named defects {named}, held with another "
        f"cause {held}, passed without an alarm {passed}, sent to fine-tuning "
        f"{len(pitted) - named - held - passed}.</p>"
        "<p class='quiet'>Photographs: Schlagenhauf et al., Industrial machine tool element "
        "surface defect dataset, 2021, CC BY-SA 4.0. Labels are used on this page alone; no "
        "step of the system reads them. From 2020-09-07 on the pictures have another crop, which "
        "the maps show along their edges: part of what is named defects there is the framing.</p>"
    )


def _night_table(nights: list[DemoNight]) -> str:
    headings = (
        "night|images|quaran&shy;tined|alarm, cause|what happened|action|champion|served|suspects"
    )
    rows = []
    for row in nights:
        causes = " ".join(
            f'<span class="cause" style="background:{CAUSE_COLOURS[cause]}">{cause}</span>'
            for cause in row.causes
        )
        refused = f"{row.quarantined}" + (f" + {row.duplicates} dup" if row.duplicates else "")
        cells = (
            row.night,
            _number(row.images),
            _number(refused),
            causes,
            f'<span class="quiet">{html.escape(row.explanation)}</span>',
            html.escape(str(row.action)) if row.action.kind is not ActionKind.NONE else "",
            version_name(row.champion),
            version_name(row.served),
            _number(row.suspects if row.record else ""),
            _number("simulated" if row.is_simulated else str(row.pitted)),
        )
        rows.append(cells)
    return _table(f"{headings}|pitted by label", rows)


def _examples(story: _Story) -> Iterator[tuple[str, Figure]]:
    """Draw maps of an example night of each kind, under the version that shows it best."""
    scores, worn = story.scores, story.plan.worn_from.isoformat()
    ordinary = scores[(scores["night"] < worn)]
    darker = scores[scores["night"] == worn]
    last = story.versions[-1].number
    if len(ordinary):
        version = str(ordinary["model_version"].iloc[-1])
        title = "An ordinary night under the version that served it"
        yield title, _maps(story, ordinary.tail(30), version)
    for number in sorted({"1", last}) if len(darker) else ():
        title = f"The first night with the worn lamp under version {number}"
        yield title, _maps(story, darker, number)
    held = [row.night for row in story.nights if row.record and row.record.is_holding]
    pitted = scores[scores["is_pitted"] & scores["night"].isin(held)]
    for night in sorted({pitted["night"].min(), pitted["night"].max()}) if len(pitted) else ():
        title = f"Pitted screws of {night} under version {last}: nothing is learnt from them"
        yield title, _maps(story, pitted[pitted["night"] == night], last)


def _maps(story: _Story, rows: pd.DataFrame, number: str) -> Figure:
    shown = rows.iloc[:: max(1, len(rows) // EXAMPLES)].head(EXAMPLES)
    detector = flavor.load_model(registry.version(PRODUCT, number).uri)
    images = story.product.load_images(shown, detector.image_size_px)
    return plot_maps(detector, images, [f"{row.night}" for row in shown.itertuples()])


def _verdicts(versions: list[registry.Version]) -> str:
    rows = []
    for version in versions:
        for check in (version.verdict or {}).get("checks", []):
            passed = "passed" if check["is_passed"] else "<b>failed</b>"
            name, reason = (
                f"v{version.number} {version.state or ''}",
                html.escape(check["sentence"]),
            )
            rows.append((name, check["rule"], passed, reason))
    return _table("version|rule||because", rows)


def _not_accepted(story: _Story) -> str:
    rows = []
    for night in story.nights:
        manifest = story.product.manifest(date.fromisoformat(night.night))
        if manifest is None:
            continue
        for row in manifest[manifest["verdict"] != ACCEPTED].itertuples():
            key, reason = html.escape(str(row.key)), html.escape(str(row.reason))
            rows.append((str(row.night), f"<code>{key}</code>", str(row.verdict), reason))
    return _table("night|object|verdict|reason", rows)


def _lineage(versions: list[registry.Version]) -> str:
    rows = []
    for version in versions:
        named = " ".join(f"<code>{html.escape(uri)}</code>" for uri in sources_of(version))
        run = f"<code>{version.run_id}</code>"
        rows.append((f"v{version.number}", version.purpose, version.cause, run, named))
    return _table("version|learnt by|cause|MLflow run|manifests", rows)


def _table(headings: str, rows: Iterable[Sequence[str]]) -> str:
    """Write a table; its headings stand between bars. A cell may bring its own ``<td>``."""
    head = "".join(f"<th>{heading}</th>" for heading in headings.split("|"))
    lines = ("".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: object) -> str:
    return f'<td class="number">{value}</td>'


def _picture(figure: Figure, description: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(description)}" src="data:image/png;base64,{encoded}">'
