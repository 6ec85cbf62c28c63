"""The page of a diagnosis: the answer, its charts and tables, and the images whose answers changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assay.diagnose.changed_images import ImagesFinding
from assay.diagnose.emulation import Emulation
from assay.diagnose.finding import RecordFinding
from assay.diagnose.network_finding import LayerError, NetworkFinding
from assay.report.cause import describe_diagnosis, list_steps, make_hypothesis_table, name_score
from assay.report.changed import make_trait_table
from assay.report.charts.chart import Chart
from assay.report.charts.interval_chart import Figure, draw_intervals
from assay.report.charts.layer_chart import LayerPoint, draw_layers
from assay.report.contents import Card, Contents
from assay.report.emulation import describe_emulation
from assay.report.html import PageParts, fill_page
from assay.report.layers import describe_network, list_network_tables, say_cause
from assay.report.named_run import Picture
from assay.report.tables.table import Table

_SHOWN = 12  # hypotheses of a step in its chart


def render_cause_page(
    model: str,
    record: RecordFinding | None,
    network: NetworkFinding | None,
    images: ImagesFinding | None,
    emulation: Emulation | None = None,
    pictures: Sequence[Picture] = (),
) -> str:
    """The page of a diagnosis, as HTML that needs nothing beside it.

    Args:
        model: What was diagnosed.
        record: What was found of its record, if it was looked at.
        network: Of its layers, likewise.
        images: Of the images whose answers changed, likewise.
        emulation: Of another chip's arithmetic, likewise; one of the four is there.
        pictures: The images that changed, against the reference or by the arithmetic.
    """
    lines = describe_diagnosis(record, network, images)
    lines += describe_emulation(emulation) if emulation is not None else []
    if record is not None and record.outcome == "nothing" and network is not None:
        lead = describe_network(network)[0]  # what does explain a loss is said first
        lines = [lead, *(line for line in lines if line != lead)]
    contents = Contents(
        title=f"Diagnosis of {model}",
        remark="",
        differences=(),
        verdict=lines[0],
        cards=tuple(_list_cards(record, network, images or (emulation.images if emulation else None))),
        findings=tuple(line.strip() for line in lines[1:]),
        notes=(),
        circumstances=(),
        not_run=(),
        main_tables=tuple(_list_tables(record, network, images, emulation)),
        detail_tables=(),
        short_tables=(),
        runs=(),
        reference=emulation.name_exact() if emulation is not None and images is None else "the reference",
    )
    charts = list(_list_charts(record)) if record is not None else []
    charts += list(_list_layer_charts(network)) if network is not None else []
    parts = PageParts(
        figures=contents.cards,
        first_chart=charts[0] if charts else None,
        charts=charts[1:],
        pictures=[("", picture) for picture in pictures],
        candidate="The model",
    )
    return fill_page(contents, parts)


def _list_cards(
    record: RecordFinding | None, network: NetworkFinding | None, images: ImagesFinding | None
) -> Iterator[Card]:
    if record is not None:
        named = {
            "Top-1 as given": record.before,
            "Top-1 with the changes": record.after if record.changes else None,
        }
        for name, topk in named.items():
            if topk is not None:
                low, high = topk.interval_percent
                details = (f"{topk.hits} of {record.image_count}", f"95 %: {low:.2f} to {high:.2f}")
                yield Card(name=name, value=f"{topk.percent:.2f} %", details=details, line="")
    if network is not None:
        beside = (f"of {len(network.errors)} tensors", f"limit {network.limit_db:.0f} dB")
        yield Card(name="Layers that err", value=f"{len(network.layers)}", details=beside, line="")
    if images is not None:
        which = "" if images.lost_count is None else f"{images.lost_count} lost, {images.won_count} won"
        rows = tuple(filter(None, (f"of {images.image_count} images", which)))
        yield Card(name="Other answers", value=f"{len(images.changed)}", details=rows, line="")


def _list_tables(
    record: RecordFinding | None,
    network: NetworkFinding | None,
    images: ImagesFinding | None,
    emulation: Emulation | None,
) -> list[Table]:
    tables = [] if record is None else [make_hypothesis_table(record, len(record.trials))]
    tables += [] if network is None else list_network_tables(network, whole=True)
    if images is not None and images.traits and images.changed:
        tables.append(make_trait_table(images))
    if emulation is not None and emulation.images.traits and emulation.images.changed:
        tables.append(make_trait_table(emulation.images, f"Images that change in {emulation.arithmetic}"))
    return tables


def _list_charts(found: RecordFinding) -> Iterator[Chart]:
    """A forest plot of each step: the gain of the best hypotheses, with its interval."""
    for step in list_steps(found):
        figures = [
            Figure(
                name=f"{one.name}{' (taken)' if one.is_taken else ''}, {one.image_count} images",
                percent=one.score_gain,
                interval=one.score_interval,
                is_published=one.is_taken,
            )
            for one in step[:_SHOWN]
        ]
        title = f"Step {step[0].step}: gain over the record, by hypothesis"
        svg = draw_intervals(title, figures, f"mean gain of {name_score(found)}", "")
        yield Chart(title=title, svg=svg, note=f"The {len(figures)} best; above 0 is better than before.")


def _list_layer_charts(found: NetworkFinding) -> Iterator[Chart]:
    """Every tensor by its own error, in the network's order."""
    wrong = [one for one in found.errors if one.sqnr_db is not None or not one.is_finite]
    if not wrong:
        return
    points = [
        LayerPoint(
            label=_describe_layer(one),
            ratio_db=one.sqnr_db if one.is_finite else None,
            is_suspect=one.is_suspect,
        )
        for one in sorted(wrong, key=lambda one: one.place)
    ]
    title = "Signal to error of each layer by itself"
    note = (
        f"{len(wrong)} of {len(found.errors)} tensors have an error, each layer fed the reference's own. "
        f"Dashed: {found.limit_db:.0f} dB; what lies below has more error than a healthy layer. Point, touch "
        "or use the arrow keys to read a tensor's name."
    )
    yield Chart(title=title, svg=draw_layers(title, points, found.limit_db), note=note)


def _describe_layer(one: LayerError) -> str:
    """The tensor, who makes it, how large its error is, and what differs."""
    error = (
        "not finite" if not one.is_finite else "no error" if one.sqnr_db is None else f"{one.sqnr_db:.1f} dB"
    )
    text = f"{one.tensor} ({one.operator} {one.name}): {error}"
    return f"{text}; {say_cause(one)}" if one.cause else text
