"""The page as a browser gets it: well-formed, self-contained, accessible, and with the numbers of the record."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import lakeline.report
from lakeline.report import build

KINDS = ("promoted", "first", "held", "refused", "published", "repeated", "nothing")
VOID = {"meta", "br", "img", "hr", "input", "link"}
LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background", "ping", "srcdoc"}
EVIL = "<script>alert('x')</script><img src=https://example.org/x.png onerror=alert(1)> & \"quoted\""

Record = dict[str, Any]


class Page(HTMLParser):
    """Elements in order, with their attributes, text and whether every element is closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> says an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append((tag, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str):
        assert self._open.pop() == tag
        self.text += " " if tag in {"td", "th", "dt", "dd", "li", "p", "caption"} else ""

    def handle_data(self, data: str):
        if not {"style", "title"} & set(self._open):
            self.text += data
        if self.headings and self.headings[-1][0] in self._open:
            self.headings[-1] = self.headings[-1][0], self.headings[-1][1] + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    return {}


@pytest.fixture
def html(kind: str, records: dict[str, Record], built: dict[str, str]) -> str:
    if kind not in built:
        built[kind] = build(records[kind])
    return built[kind]


@pytest.fixture
def page(html: str) -> Page:
    return Page(html)


def test_page_loads_nothing_and_runs_nothing(html: str, page: Page):
    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "foreignObject"}
    for tag, attributes in page.elements:
        assert not set(attributes) & LOADING, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), tag
    assert re.findall(r"url\((?!#)|@import|@font-face", html) == []
    assert html.count("http:") + html.count("https:") == page.text.count("http:") + page.text.count("https:")


def test_page_forbids_itself_to_load_anything(page: Page):
    policies = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert policies[0] is not None
    assert policies[0].startswith("default-src 'none'")


def test_page_is_small(html: str):
    assert len(html.encode()) < 700_000


def test_ids_are_unique_and_references_find_them(html: str, page: Page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {
        name for _, each in page.elements for key in ("aria-labelledby", "aria-describedby") for name in (each.get(key) or "").split()
    }
    wanted |= {str(each["href"])[1:] for _, each in page.elements if each.get("href")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert wanted <= set(ids)


def test_headings_begin_with_one_h1_and_skip_no_level(page: Page):
    levels = [int(tag[1]) for tag, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(text.strip() for _, text in page.headings)


def test_tables_have_captions_and_heads(page: Page):
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(each.get("scope") in {"col", "row"} for each in page.all("th"))


def test_pictures_are_named_and_described(page: Page):
    for picture in page.all("svg"):
        assert picture["role"] == "img"
        assert picture["aria-labelledby"]
        assert picture["aria-describedby"]


def test_page_speaks_to_narrow_screens_dark_screens_and_printers(html: str):
    assert '<html lang="en">' in html
    assert 'content="width=device-width, initial-scale=1"' in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_pictures_have_the_colours_of_the_page_only(html: str):
    """A colour of its own would not change with light, dark and print."""
    pictures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    colours = {colour for picture in pictures for colour in re.findall(r"(?:fill|stroke): ([^;\"]+)", picture)}
    assert {colour for colour in colours if not colour.startswith(("var(--", "url(#", "none"))} == set()
    assert "DejaVu" not in html


SECTIONS = {
    "promoted": "data changes validation trials comparison gates model lineage",
    "first": "data validation trials comparison gates model lineage",
    "held": "data changes validation trials comparison gates model lineage",
    "refused": "data validation",
    "published": "data changes validation",
    "repeated": "data",
    "nothing": "",
}


def test_sections_are_those_of_the_record_in_order(kind: str, page: Page):
    assert " ".join(str(each["id"]) for each in page.all("section")) == SECTIONS[kind]


PICTURES = {
    "promoted": {"trials", "predictions", "residuals", "slices"},
    "first": {"arrivals", "trials", "predictions", "residuals", "slices"},
    "held": {"trials", "predictions", "residuals", "slices"},
}


def test_pictures_are_those_that_show_something(kind: str, page: Page):
    shown = {str(each["aria-labelledby"]).removesuffix("-title") for each in page.all("svg")}
    assert shown == PICTURES.get(kind, set())


def test_numbers_of_the_record_are_on_the_page(records: dict[str, Record]):
    words = Page(build(records["promoted"])).words
    for expected in (
        "13.10 minutes", "2.3 % better than version 2, 13.41", "41,020", "29,425", "28,293", "96.2 %", "1 min 15 s", "alpha = 3.2",
        "✗ ValueError: alpha < 0", "✓ best", "1 November 2013, 12:00 UTC", "origin EWR 14,810 12.90 13.30 ✓ 3.0 % better",
        "rmse maximum ✓ holds 13.1 25", "improvement ✓ holds 2.2 % 0 %", "carrier, origin", "2013-01, 2013-02",
        "lakeline reproduce flights 3", "dep_delay ▲ mean rose 13.63 53.53 +1.00 −33 to 1,301 −22 to 1,005 0 % 0 %",
        "▲ nulls rose by 12.5 % of the rows", "▲ new: ANC, LEX", "28,293 new rows against 160,678 earlier rows.",
    ):  # fmt: skip
        assert expected in words.replace("\u00a0", " "), expected


def test_bad_values_are_shown_as_they_are_and_are_never_markup(records: dict[str, Record]):
    page = Page(build(records["refused"]))
    assert page.all("script") == page.all("img") == []
    assert "<script>alert('x')</script><img src=https://example.org/x.png onerror=alert(1)>" in page.text
    assert page.text.count('"n/a"') == 1
    for shown in ('""', '"  "', "null", "nan", r"\u001b[31m"):
        assert shown in page.text
    assert "\x1b" not in page.text


def _with_text_everywhere(value: Any) -> Any:
    if isinstance(value, dict):
        return {EVIL if key in {"alpha", "image"} else key: _with_text_everywhere(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_text_everywhere(each) for each in value]
    return EVIL if isinstance(value, str) and value not in {"rmse", "minimize", "promoted"} else value


def test_no_text_of_a_record_is_taken_for_markup(records: dict[str, Record]):
    html = build(_with_text_everywhere(records["promoted"]))
    page = Page(html)
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert "onerror" not in {name for _, attributes in page.elements for name in attributes}
    assert "<script" not in html


def test_dollars_are_no_formula(records: dict[str, Record]):
    record = records["promoted"]
    record["target"]["column"] = "fare $_1$ in $"
    assert "predicted fare $_1$ in $ (minutes)" in build(record)


def test_long_ids_are_whole_for_whoever_copies_them(records: dict[str, Record]):
    html = build(records["promoted"])
    commit = records["promoted"]["data"]["commit"]
    assert f'<span class="id" title="{commit}" tabindex="0">{commit}</span>' in html
    assert "user-select: all" in html


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_is_legible_on_its_ground(scheme: str):
    """WCAG 2.2 AA: a contrast of at least 4.5 for text, 3 for shapes."""
    style = (Path(lakeline.report.__file__).parent / "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[("light", "dark", "print").index(scheme)]))
    for ink, ground in [
        (ink, ground) for ink in ("ink", "muted", "link", "good", "bad", "neutral", "held") for ground in ("paper", "panel")
    ]:
        assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for ink, ground in (("good", "good-panel"), ("bad", "bad-panel"), ("ink", "bad-panel"), ("held", "held-panel")):
        assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for shape in ("candidate", "production", "bad"):
        assert _contrast(colours[shape], colours["paper"]) >= 3, shape


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
