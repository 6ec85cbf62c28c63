"""Gates as a JUnit file and as a summary in Markdown, which pipelines show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from xml.etree import ElementTree

from assay.errors import escape_controls
from assay.measure.gates import GateResult
from assay.report.markdown import escape_markdown

MARKS = {"pass": "✅ pass", "fail": "❌ fail", "cannot tell": "❔ cannot tell"}


def render_junit(
    name: str, gates: Sequence[GateResult], cannot_tell: Literal["pass", "fail"] | None = None
) -> bytes:
    """A JUnit file with a test case for each gate.

    Args:
        name: What was run, such as `assay run`.
        gates: What they say; "cannot tell" is an error, for it is no pass.
        cannot_tell: What "cannot tell" counts as: a skipped case for a pass, a failure for a fail.
    """
    tags = {"fail": "failure", "cannot tell": {"pass": "skipped", "fail": "failure"}.get(cannot_tell or "")}
    cases = []
    for gate in gates:
        case = ElementTree.Element("testcase", classname=_clean(name), name=_clean(gate.gate))
        if gate.outcome == "pass":
            ElementTree.SubElement(case, "system-out").text = _clean(gate.reason)
        else:
            message = _clean(f"{gate.outcome}: {gate.reason}")
            ElementTree.SubElement(case, tags[gate.outcome] or "error", message=message)
        cases.append(case)
    return _render_suite(name, cases)


def render_unfinished(name: str, message: str) -> bytes:
    """A JUnit file of a command that did not come to its gates: one error, with the reason."""
    case = ElementTree.Element("testcase", classname=_clean(name), name="finished")
    ElementTree.SubElement(case, "error", message=_clean(message))
    return _render_suite(name, [case])


def _render_suite(name: str, cases: Sequence[ElementTree.Element]) -> bytes:
    counts = {
        f"{plural}": f"{sum(case.find(tag) is not None for case in cases)}"
        for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suites = ElementTree.Element("testsuites")
    named = {"name": _clean(name), "tests": f"{len(cases)}", **counts}
    suite = ElementTree.SubElement(suites, "testsuite", named)
    suite.extend(cases)
    ElementTree.indent(suites)
    content: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _clean(text: str) -> str:
    """The text without what XML cannot hold: control characters, half of a pair."""
    return escape_controls(text.replace("\n", " ")).encode("utf-8", "backslashreplace").decode()


def render_summary(name: str, gates: Sequence[GateResult], sentences: Sequence[str] = ()) -> str:
    """A piece of Markdown: what was run, what it found, and a table of the gates."""
    lines = [f"### {escape_markdown(name)}", "", *(f"- {escape_markdown(line)}" for line in sentences)]
    if gates:
        rows = (
            f"| {MARKS[gate.outcome]} | {escape_markdown(gate.gate)} | {escape_markdown(gate.reason)} |"
            for gate in gates
        )
        lines += ["", "| | gate | why |", "|---|---|---|", *rows]
    return "\n".join([*lines, "", ""])
