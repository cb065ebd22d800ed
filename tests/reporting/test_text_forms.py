"""Tables read back from Markdown, HTML and LaTeX."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

import mixedext as mx
from mixedext.reporting.text_forms import html_table, latex_table, markdown_table

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

ROWS = [["a|b", "1"], ["<c>", "2 & 3"], ["_d_", "4%"]]


def cells(line):
    inner = line.strip().removeprefix("|").removesuffix("|").replace(r"\|", "\0")
    texts = [c.strip() for c in inner.split("|")]
    return [c.replace("\0", "|").replace("\\", "") for c in texts]


def test_markdown():
    lines = markdown_table(["", "x"], ROWS, "lr").splitlines()
    assert [cells(line) for line in (lines[0], *lines[2:])] == [["", "x"], *ROWS]
    assert len({len(line) for line in lines}) == 1
    assert cells(lines[1])[0][0] == ":"
    assert cells(lines[1])[1][-1] == ":"


def test_html():
    text = html_table(["", "x"], ROWS, sections=[0])
    table = ElementTree.fromstring(text)
    body = [[cell.text for cell in row] for row in table.find("tbody")]
    assert body == [["a|b"], *ROWS[1:]]
    assert table.find("tbody")[0][0].get("colspan") == "2"
    assert [c.text for c in table.find("thead")[0]] == [None, "x"]
    assert ElementTree.fromstring(html_table([], ROWS)).find("thead") is None


def test_latex():
    text = latex_table(["", "x"], ROWS)
    assert r"2 \& 3 \\" in text
    assert r"\_d\_ & 4\% \\" in text
    assert text.count(r"\\") == 4


@pytest.mark.parametrize(
    "formula", ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days"]
)
def test_summary_in_markdown_has_the_summary(formula):
    data = mx.datasets.sleepstudy.load().data
    summary = mx.mixedlm(formula, data).fit().summary()
    text = summary.as_markdown()
    for table in summary.tables:
        for value in table.to_numpy().ravel():
            if str(value).strip():
                assert str(value) in text.replace("\\", "")
    line = next(line for line in text.splitlines() if line.startswith("| Days "))
    assert cells(line)[1:] == summary.tables[1].loc["Days"].tolist()
    assert text.startswith("**Mixed Linear Model")
    for note in summary.extra_txt:
        assert f"* {note}" in text.replace("\\", "")
