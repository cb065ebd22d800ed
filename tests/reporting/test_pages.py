"""The page of a fit: sound HTML that needs nothing else."""

from __future__ import annotations

import base64
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import mixedext as mx

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

VOID = {"meta", "img", "br", "mspace"}


class Reader(HTMLParser):
    """Checks that elements are closed; collects what is asked for and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.words, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID

    def handle_data(self, data):
        self.words.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    return reader


FITS = {
    "slopes": ("yield ~ nitro + (nitro | Block)", {}),
    "nested": ("yield ~ nitro * Variety + (1 | Block/Variety)", {}),
    "weighted": ("yield ~ nitro + (1 | Block)", {"weights": "w"}),
    "dropped": ("yield ~ nitro + twice + (1 | Block)", {}),
    "no random effects": ("yield ~ nitro", {}),
    "no fixed effects": ("yield ~ 0 + (1 | Block)", {}),
}


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return data.assign(twice=2 * data["nitro"], w=1.0 + data["nitro"])


@pytest.mark.parametrize("name", FITS)
def test_page(name, data, tmp_path):
    formula, more = FITS[name]
    result = mx.mixedlm(formula, data, **more).fit()
    path = tmp_path / "fit.html"
    report = result.report(path)
    assert report == result.report()
    reader = read(path)
    text = " ".join(reader.words)
    for sentence in (*report.methods, *report.results, *report.references):
        assert sentence in text
    assert formula in text
    assert all(link.startswith("data:") for link in reader.links)
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    for row in result.conf_int_vcomp().itertuples():
        assert row.Index in text
    for value in result.summary().tables[1]["Coef."]:
        assert value in text
    assert result.model.describe_blocks().splitlines()[0] in text
    page = path.read_text(encoding="utf-8")
    assert "http" not in page.replace("https://", "")
    assert 'name="viewport"' in page


def test_pictures(data, tmp_path):
    pytest.importorskip("matplotlib")
    result = mx.mixedlm("yield ~ nitro + (1 | Block/Variety)", data).fit()
    result.report(tmp_path / "fit.html")
    reader = read(tmp_path / "fit.html")
    assert reader.tags.count("img") == 3  # checks, and a picture a factor
    for link in reader.links:
        image = base64.b64decode(link.partition(",")[2])
        assert image.startswith(b"\x89PNG")


def test_without_matplotlib(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = mx.mixedlm("yield ~ nitro + (1 | Block)", data).fit()
    result.report(tmp_path / "fit.html")
    reader = read(tmp_path / "fit.html")
    assert "img" not in reader.tags
    assert "pip install mixedext[plot]" in " ".join(reader.words)


def test_what_is_wrong_stands_first(tmp_path):
    data = mx.datasets.dyestuff2.load().data
    mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit().report(tmp_path / "fit.html")
    text = " ".join(read(tmp_path / "fit.html").words)
    assert text.index("Singular fit") < text.index("Materials and methods")


def test_names_are_escaped(data, tmp_path):
    odd = data.rename(columns={"nitro": "<b>&"})
    result = mx.mixedlm("yield ~ Q('<b>&') + (1 | Block)", odd).fit()
    result.report(tmp_path / "fit.html")
    reader = read(tmp_path / "fit.html")
    assert "b" not in reader.tags
    assert "<b>&" in " ".join(reader.words)


def test_without_rows(data, tmp_path):
    result = mx.mixedlm("yield ~ nitro + (1 | Block)", data).fit()
    result.remove_data()
    result.report(tmp_path / "fit.html")
    assert "Levels of Block" in " ".join(read(tmp_path / "fit.html").words)


def test_level_and_method(data, tmp_path):
    result = mx.mixedlm("yield ~ nitro + (1 | Block)", data).fit()
    result.report(tmp_path / "fit.html", alpha=0.1, df_method="kenward-roger")
    text = " ".join(read(tmp_path / "fit.html").words)
    assert "90%" in text
    assert "[0.05" in text
    expected = result.summary(alpha=0.1, df_method="kenward-roger").tables[1]
    assert expected.iloc[1, 1] in text


def test_where_it_cannot_be_written(data, tmp_path):
    result = mx.mixedlm("yield ~ nitro + (1 | Block)", data).fit()
    with pytest.raises(OSError, match="nowhere"):
        result.report(tmp_path / "nowhere" / "fit.html")
    assert np.isfinite(result.llf)
