"""What a strict Content-Security-Policy forbids in a page, found by reading the page."""

from html.parser import HTMLParser


class InlineFinder(HTMLParser):
    """Collects what a strict Content-Security-Policy forbids, and forms that would fail CSRF."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._post_form: list[bool] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        where = f"line {self.getpos()[0]}: <{tag}>"
        if tag == "style":
            self.faults.append(f"{where} is an inline style sheet")
        if tag == "script" and "src" not in given and given.get("type") != "application/json":
            self.faults.append(f"{where} is an inline script")
        for name, value in attributes:
            if name == "style" or name.startswith("on"):
                self.faults.append(f"{where} has the attribute {name}")
            if name in ("href", "src", "action") and (value or "").strip().lower().startswith("javascript:"):
                self.faults.append(f"{where} runs a script from {name}")
        if tag == "form":
            self._post_form.append((given.get("method") or "get").lower() == "post")
        if tag == "input" and given.get("name") == "csrfmiddlewaretoken" and self._post_form:
            self._post_form[-1] = False

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._post_form and self._post_form.pop():
            self.faults.append(f"line {self.getpos()[0]}: a POST form without a CSRF token")


def faults_of(html: str) -> list[str]:
    finder = InlineFinder()
    finder.feed(html)
    finder.close()
    return finder.faults
