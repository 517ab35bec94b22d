"""The report page in Chromium: nothing runs, nothing is fetched, and a person can read it on any screen."""

from __future__ import annotations

import shutil

import pytest

from support.audited import audited
from support.report_page import page_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = (
    "</style></script><script>window.hacked = 1</script><img src='http://127.0.0.1:9/x' onerror='window.hacked = 1'>"
    "<svg onload='window.hacked = 1'>\" onfocus='window.hacked = 1' autofocus x=\""
)
POOR = """
() => {
const parse = text => text.match(/[\\d.]+/g).map(Number);
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const back = element => { for (let at = element; at; at = at.parentElement) {
    const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor); if (a) return [r, g, b]; } };
const found = [];
for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest("svg") || !element.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(back(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(element.tagName + ": " + element.textContent.trim().slice(0, 40));
}
return found; }
"""
"""Finds the texts with too little contrast."""
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def browser():
    """Return a Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # A container's root may not use the sandbox. The page under test is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Return a function that opens the page of an audit, and lists what the browser asks for and complains of."""
    contexts = []

    def opened(audit, *, reveal=False, **options):
        path = tmp_path / f"report{len(contexts)}.html"
        path.write_text(page_of(audit, reveal=reveal), encoding="utf-8")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        seen = []
        page.on("request", lambda request: seen.append(request.url))
        page.on("console", lambda message: seen.append(message.text))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        page.goto(path.as_uri())
        assert [path.as_uri()] == seen[:1]
        return page, seen

    yield opened
    for context in contexts:
        context.close()


def test_a_script_in_every_field_stays_text(open_page):
    """Whatever a customer has put into a field is shown, not run; and the policy has nothing to complain of."""
    page, seen = open_page(audited(number=30, text=HOSTILE), reveal=True)
    for summary in page.locator("summary").all():
        summary.click()
    assert 1 == len(seen)
    assert page.evaluate("window.hacked === undefined")
    assert 0 < page.get_by_text("</style></script><script>").count()


def test_no_screen_scrolls_sideways(open_page):
    """Wide tables scroll within their frames, so that the text stays in view."""
    page, seen = open_page(audited(number=20))
    for width in (320, 760, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
    assert 1 == len(seen)


def test_text_can_be_told_from_what_is_behind_it(open_page):
    """Each text has the contrast of 4.5 to 1 that the WCAG ask for (1.4.3, level AA), light and dark."""
    page, _ = open_page(audited(number=20))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert [] == page.evaluate(POOR), scheme


def test_the_keyboard_reaches_everything(open_page):
    """Tab goes to the skip link first and to each section's rows, which Enter opens."""
    page, _ = open_page(audited(number=20))
    page.keyboard.press("Tab")
    assert "Skip to what to do first" == page.evaluate("document.activeElement.textContent")
    summaries = page.locator("summary").count()
    reached = 0
    for _ in range(100):
        if reached == summaries:
            break
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            reached += 1
            was = page.evaluate("document.activeElement.parentElement.open")
            page.keyboard.press("Enter")
            assert (not was) == page.evaluate("document.activeElement.parentElement.open")
    assert summaries == reached


def test_print_shows_the_closed_sections_too(open_page):
    """On paper nothing can be opened."""
    page, _ = open_page(audited(number=20))
    closed = page.locator("details:not([open]) table").first
    assert not closed.is_visible()
    page.emulate_media(media="print")
    assert closed.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
