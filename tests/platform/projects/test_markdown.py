import re

import pytest
from django.template import Context, Template

from starsieve.projects.markdown import render_markdown


def test_markdown_becomes_html() -> None:
    html = render_markdown("## Title\n\nA **bold** [link](https://example.org).\n\n| a |\n|---|\n| b |\n")
    assert "<h2>Title</h2>" in html
    assert "<strong>bold</strong>" in html
    assert 'href="https://example.org"' in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert "<td>b</td>" in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![x](https://tracker.example/pixel.png)",
        "<a href='x' onclick='alert(1)' style='position:fixed'>x</a>",
        "<svg><script>alert(1)</script></svg>",
        "<iframe src='https://example.org'></iframe>",
        "`<b>`<style>*{display:none}</style>",
        '[x](https://e.org "\\" onmouseover=alert(1)")',
    ],
)
def test_nothing_that_acts_gets_through(text: str) -> None:
    html = render_markdown(text).lower()
    acting = [
        "<script",
        "<img",
        "<svg",
        "<iframe",
        "<style",
        "<b>",
        'href="javascript',
        'href="data',
        " onclick=",
        "style=",
    ]
    for tag in acting:
        assert tag not in re.sub(r"&lt;.*?&gt;", "", html), html


def test_the_filter_renders_in_a_template_and_takes_nothing() -> None:
    template = Template("{% load markdown %}{{ text|markdown }}")
    assert template.render(Context({"text": "*a*"})) == "<p><em>a</em></p>\n"
    assert template.render(Context({"text": None})) == ""
