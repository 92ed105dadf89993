"""A browser without scripts or a person: it follows redirects, keeps cookies and sends every form that it is shown.

As a program (`python -m tests.end_to_end.web_browser URL`) it can be what BROWSER names; CA_FILE is whom it believes.
"""

import html.parser
import http.cookiejar
import os
import ssl
import sys
import urllib.parse
import urllib.request

MOST_FORMS = 8


class _Form(html.parser.HTMLParser):
    """The first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            self.action = given.get("action", "")
        elif tag in ("input", "button") and given.get("name") and given.get("name") != "abort":
            self.fields.setdefault(given["name"], given.get("value", ""))


class WebBrowser:
    """One person's browser, in which a log-in lasts."""

    def __init__(self, ca_file: str) -> None:
        context = ssl.create_default_context(cafile=ca_file)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        )

    def visit(self, url: str) -> str:
        """The text of the page at which it comes to rest."""
        page, at = self._get(url)
        for _ in range(MOST_FORMS):
            form = _Form()
            form.feed(page)
            if not form.action:
                return page
            body = urllib.parse.urlencode(form.fields).encode()
            page, at = self._get(urllib.parse.urljoin(at, form.action), body)
        raise AssertionError(f"the forms do not end: {page}")

    def _get(self, url: str, body: bytes | None = None) -> tuple[str, str]:
        with self._opener.open(urllib.request.Request(url, body), timeout=20) as response:
            return response.read().decode(), response.url


if __name__ == "__main__":
    WebBrowser(os.environ["CA_FILE"]).visit(sys.argv[1])
