"""The first load of the classify page in a real Chromium: bytes, requests, main-thread CPU. No time on a clock."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure

PROJECT = "galaxy-zoo"
DESKTOP = {"width": 1440, "height": 900}
# Counts the tasks of the main thread that run for more than 50 ms, from the page's first moment on.
WATCH_LONG_TASKS = """
    window.longTasks = [];
    new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((entry) => entry.duration)))
        .observe({ type: "longtask", buffered: true });
"""


@dataclass
class PageLoad:
    """What the browser fetched: uncompressed bytes and number of files by kind, bytes on the wire in all."""

    size: dict[str, int] = field(default_factory=dict)
    number: dict[str, int] = field(default_factory=dict)
    on_the_wire: dict[str, int] = field(default_factory=dict)
    task_seconds: float = 0.0
    long_tasks: int = 0

    def kilobytes(self, *kinds: str) -> float:
        return sum(self.size.get(kind, 0) for kind in kinds) / 1000

    @property
    def wire_without_stamps(self) -> float:
        return sum(size for kind, size in self.on_the_wire.items() if kind != "Image") / 1000


def measure(*, tiny: bool = False) -> Iterator[Figure]:
    del tiny  # one page load is as small as it gets
    from tests.support.site import new_site

    with tempfile.TemporaryDirectory() as folder, new_site(Path(folder)) as site:
        site.manage("load_demo", "--small")
        site.start_web()
        path = site.evaluate(
            "next(f'/projects/{w.project.slug}/classify/{w.pk}/' for w in "
            f"apps.get_model('projects', 'Workflow').objects.filter(project__slug='{PROJECT}'))"
        )
        first, again = _load_twice(site.url + path)
    yield Figure("JavaScript and CSS, uncompressed", first.kilobytes("Script", "Stylesheet"), "kB", at_most=200)
    yield Figure("JavaScript, uncompressed", first.kilobytes("Script"), "kB", at_most=120)
    yield Figure("the page itself, uncompressed", first.kilobytes("Document"), "kB", at_most=60)
    yield Figure("sent over the wire without stamps", first.wire_without_stamps, "kB", at_most=150)
    yield Figure("requests of the first load", sum(first.number.values()), "requests", at_most=60)
    yield Figure("JavaScript files among them", first.number.get("Script", 0), "requests")
    yield Figure("sent over the wire on a second visit, without stamps", again.wire_without_stamps, "kB", at_most=40)
    yield Figure("main thread until the first stamp is shown", 1000 * first.task_seconds, "CPU ms", at_most=400)
    yield Figure("tasks longer than 50 ms on the clock", first.long_tasks, "tasks")


def _load_twice(address: str) -> tuple[PageLoad, PageLoad]:
    """A new visitor's first load, and the same visitor's second one."""
    from playwright.sync_api import sync_playwright

    from tests.support.services import chromium

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport=DESKTOP)
            return _load(context, address), _load(context, address)
        finally:
            browser.close()


def _load(context: Any, address: str) -> PageLoad:
    """Load the page until its first stamp is shown and the network is silent."""
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(WATCH_LONG_TASKS)
    session = context.new_cdp_session(page)
    loaded, kinds = PageLoad(), {}

    def on_response(event: dict[str, Any]) -> None:
        kinds[event["requestId"]] = event["type"]
        loaded.number[event["type"]] = loaded.number.get(event["type"], 0) + 1

    def on_data(event: dict[str, Any]) -> None:
        kind = kinds[event["requestId"]]
        loaded.size[kind] = loaded.size.get(kind, 0) + event["dataLength"]

    def on_finished(event: dict[str, Any]) -> None:
        kind = kinds[event["requestId"]]
        loaded.on_the_wire[kind] = loaded.on_the_wire.get(kind, 0) + int(event["encodedDataLength"])

    session.on("Network.responseReceived", on_response)
    session.on("Network.dataReceived", on_data)
    session.on("Network.loadingFinished", on_finished)
    session.send("Network.enable")
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(address)
    page.locator("#world img").wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    loaded.task_seconds = metrics["TaskDuration"]  # of the thread's own clock
    loaded.long_tasks = page.evaluate("window.longTasks.length")
    page.close()
    return loaded
