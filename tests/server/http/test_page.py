"""The page as bytes: what it says, to whom it listens, and what can be told of its looks without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing
from hatchling.builders.wheel import WheelBuilder
from starlette.applications import Starlette

from p2ptun.server.http.page import COUNTED, FILES, HERE, PageFacts, page_routes
from p2ptun.server.refusal import Kind, Refusal
from p2ptun.server.rooms import Counts

ROOT = Path(__file__).resolve().parents[3]
URL = "https://rv.example.net"
VOID = {"meta", "link", "input", "br", "img", "hr"}
TEXTS = ("ink", "quiet", "accent", "wrong")
ENOUGH_FOR_TEXT, ENOUGH_FOR_EDGES = 4.5, 3.0  # WCAG 2.1 1.4.3 (AA) and 1.4.11


class Site:
    """A page over counts that the test sets."""

    def __init__(self, public_url: str = URL) -> None:
        self.counts: Counts | None = Counts(numbered=3, named=12, waiting=27, messages=18453)
        self.times_counted = 0
        routes = page_routes(PageFacts(self._count, public_url, "1.2.3"))
        self._transport = httpx.ASGITransport(Starlette(routes=routes))

    @property
    def page(self) -> str:
        return self.get("/").text

    def get(self, path: str, times: int = 1, tag: str = "") -> httpx.Response:
        """Ask so many times at one moment, as who has what `tag` names, and return the last answer."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://test") as client:
                return [await client.get(path, headers={"If-None-Match": tag}) for _ in range(times)][-1]

        return trio.run(ask, clock=trio.testing.MockClock())

    async def _count(self) -> Counts:
        self.times_counted += 1
        if self.counts is None:
            raise Refusal(Kind.UNAVAILABLE)
        return self.counts


@pytest.fixture
def site() -> Site:
    return Site()


class Outline(HTMLParser):
    """The elements of a page, in order, each with its attributes and the text in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[int] = []
        self.feed(text)
        assert not self._open, "an element isn't closed"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, tag: str, **wanted: str) -> str:
        found = next(
            index for index, (name, has) in enumerate(self.elements) if name == tag and wanted.items() <= has.items()
        )
        return " ".join(self.texts[found].split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.texts[index] += data


def test_commands_name_the_server(site: Site) -> None:
    outline = Outline(site.page)
    assert outline.text_of("code", id="share") == f"sudo p2ptun share --rendezvous {URL}"
    assert outline.text_of("code", id="join") == f"sudo p2ptun join --rendezvous {URL}"
    assert "hidden" in next(has for _, has in outline.elements if has.get("class") == "own-url")
    assert "p2ptun 1.2.3" in outline.text_of("footer")


def test_a_server_that_does_not_know_its_name_says_what_to_put_there() -> None:
    outline = Outline(Site("").page)
    assert outline.text_of("code", id="join") == "sudo p2ptun join --rendezvous URL"
    own_url = next(has for _, has in outline.elements if has.get("class") == "own-url")
    assert "hidden" not in own_url


def test_a_name_that_looks_like_markup_is_text() -> None:
    name = 'https://x/"><script>$counts $$</script>${version}'
    outline = Outline(Site(name).page)
    assert outline.text_of("code", id="join").endswith(" ".join(name.split()))
    assert len(outline.all("script")) == 1


def test_counts_stand_in_the_page_and_alone(site: Site) -> None:
    outline = Outline(site.page)
    assert outline.text_of("dd", **{"data-count": "named"}) == "12"
    assert "".join(outline.text_of("dd", **{"data-count": "messages"}).split()) == "18453"
    answer = site.get("/counts")
    assert answer.json() == {"numbered": 3, "named": 12, "waiting": 27, "messages": 18453}
    assert answer.headers["cache-control"] == "no-store"


def test_many_who_watch_are_counted_for_once(site: Site) -> None:
    site.get("/counts", times=20)
    assert site.times_counted == 1


def test_the_page_stands_while_the_store_is_away(site: Site) -> None:
    site.counts = None
    outline = Outline(site.page)
    assert [outline.text_of("dd", **{"data-count": name}) for name in COUNTED] == ["\u2013"] * 4
    with pytest.raises(Refusal):  # what the whole server makes a problem of (RFC 9457)
        site.get("/counts")


@pytest.mark.parametrize("path", ["/", "/counts", *(f"/{name}" for name in FILES)])
def test_browsers_are_told_to_trust_nothing_else(site: Site, path: str) -> None:
    headers = site.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy.pop("img-src") == "'self' data:"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert {name for name, value in policy.items() if value == "'self'"} == {"style-src", "script-src", "connect-src"}
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert "camera=()" in headers["permissions-policy"]
    assert "set-cookie" not in headers


@pytest.mark.parametrize("path", ["/", *(f"/{name}" for name in FILES)])
def test_what_a_browser_has_is_not_sent_again(site: Site, path: str) -> None:
    first = site.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = site.get(path, tag=f'"other", W/{first.headers["etag"]}')
    assert (again.status_code, again.content) == (304, b"")
    assert site.get(path, tag='"other"').content == first.content


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(site: Site) -> None:
    outline = Outline(site.page)
    assert not outline.all("style")
    assert [(has["src"], outline.text_of("script")) for has in outline.all("script")] == [("/page.js", "")]
    for tag, attributes in outline.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("href", "src"):
            assert attributes.get(name, "/").startswith("/"), tag
    for name in FILES:
        text = (HERE / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|url\(|@import|eval|innerHTML|localStorage|cookie", text), name


def test_every_element_can_be_named_and_reached(site: Site) -> None:
    outline = Outline(site.page)
    ids = [has["id"] for _, has in outline.elements if "id" in has]
    assert len(ids) == len(set(ids))
    for _, has in outline.elements:
        for name in ("aria-labelledby", "aria-describedby", "for", "data-copy"):
            assert set(has.get(name, "").split()) <= set(ids)
    assert outline.all("html")[0]["lang"] == "en"
    # two titles: the page has one, and the picture
    assert [len(outline.all(tag)) for tag in ("header", "main", "footer", "h1", "title")] == [
        1,
        1,
        1,
        1,
        2,
    ]  # page, picture
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {has["id"] for has in outline.all("input")} == {has["for"] for has in outline.all("label")}
    assert not [has for has in outline.all("input") if "name" in has], "what is typed belongs to no form"
    assert all("aria-label" in has and "hidden" in has and has["type"] == "button" for has in outline.all("button"))
    assert all("aria-labelledby" in has for has in outline.all("section") + outline.all("svg"))


def channel(value: int) -> float:
    part = value / 255
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    red, green, blue = (channel(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Compute a ratio as WCAG 2.1 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", (HERE / "page.css").read_text("utf-8"), re.DOTALL)
    return {name: dict(re.findall(r"--([\w-]+): (#\w{6});", text)) for name, text in (("light", light), ("dark", dark))}


def test_contrast_is_computed_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str) -> None:
    colours = palettes()[scheme]
    assert palettes()["light"].keys() == colours.keys()
    for below in ("paper", "sheet"):
        for text in TEXTS:
            assert contrast(colours[text], colours[below]) >= ENOUGH_FOR_TEXT, f"{text} on {below}"
        assert contrast(colours["edge"], colours[below]) >= ENOUGH_FOR_EDGES
    assert contrast(colours["on-accent"], colours["accent"]) >= ENOUGH_FOR_TEXT


def test_colours_stand_in_one_place() -> None:
    text = re.sub(r":root \{.*?\}", "", (HERE / "page.css").read_text("utf-8"), flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl", text)
    page = (HERE / "page.html").read_text("utf-8")
    assert re.findall(r'content="(#\w+)"', page) == [colours["paper"] for colours in palettes().values()]


def test_the_wheel_has_the_files() -> None:
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    beside = {path for path in HERE.iterdir() if path.name.startswith("page")}
    assert {str(path.relative_to(ROOT)) for path in beside} <= packed
    assert {"page.html", "page-meeting.svg", *FILES} <= {path.name for path in beside}
