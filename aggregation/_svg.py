"""matplotlib's SVG made fit for a page with a strict content security policy: no style, no date, own ids."""

from __future__ import annotations

import re
from hashlib import sha256
from xml.etree import ElementTree  # reads what matplotlib wrote, nothing from outside

_SVG = "http://www.w3.org/2000/svg"
_FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_REFERENCE = re.compile(r"(?<=url\(#)[^)]+")
#: `font: 10px 'DejaVu Sans'`, with an optional weight or style before the size.
_SHORTHAND = re.compile(r"(?P<before>.*?)(?P<size>[\d.]+px)")


def clean_svg(text: str, title: str, description: str) -> str:
    """The same picture as one ``<svg>`` element with presentation attributes only.

    Every ``style`` becomes attributes, since a page's policy would ignore it; names of XML namespaces, metadata and
    ids to which nothing refers are dropped; the other ids are numbered in order of appearance behind a digest of the
    picture, so that several pictures can share a page.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):
                parent.remove(child)
    for element in root.iter():
        _plain(element)
    _number_ids(root)
    prefix = "s" + sha256((ElementTree.tostring(root, "unicode") + title + description).encode()).hexdigest()[:8]
    for element in root.iter():
        _prefix_ids(element, prefix)
    _name(root, prefix, title, description)
    return ElementTree.tostring(root, "unicode")


def _plain(element: ElementTree.Element) -> None:
    """Local names, and style turned into attributes."""
    element.tag = element.tag.rpartition("}")[2]
    for key in list(element.attrib):
        value = element.attrib.pop(key)
        name = key.rpartition("}")[2]
        if name == "style":
            for declaration in filter(None, (part.strip() for part in value.split(";"))):
                _set_property(element, *(part.strip() for part in declaration.split(":", 1)))
        elif name != "space":
            element.set(name, value)


def _set_property(element: ElementTree.Element, name: str, value: str) -> None:
    if name != "font":
        element.set(name, value)
        return
    shorthand = _SHORTHAND.match(value)
    if shorthand is None:
        raise ValueError(f"a font without a size: {value!r}")
    element.set("font-size", shorthand["size"])
    if shorthand["before"].strip():
        element.set("font-weight", shorthand["before"].strip())


def _references(element: ElementTree.Element) -> dict[str, str]:
    """Ids that the element refers to, by attribute."""
    found = {key: match[0] for key, value in element.attrib.items() if (match := _REFERENCE.search(value))}
    href = element.get("href", "")
    return found | {"href": href[1:]} if href.startswith("#") else found


def _number_ids(root: ElementTree.Element) -> None:
    """Rename the ids that something refers to 0, 1, 2...; drop the others."""
    used = {name for element in root.iter() for name in _references(element).values()}
    names: dict[str, str] = {}
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own in used:
            names[own] = str(len(names))
            element.set("id", names[own])
    for element in root.iter():
        for key, old in _references(element).items():
            element.set(key, element.attrib[key].replace(f"#{old}", f"#{names[old]}"))


def _prefix_ids(element: ElementTree.Element, prefix: str) -> None:
    for key in _references(element):
        element.set(key, element.attrib[key].replace("#", f"#{prefix}-", 1))
    if "id" in element.attrib:
        element.set("id", f"{prefix}-{element.attrib['id']}")


def _name(root: ElementTree.Element, prefix: str, title: str, description: str) -> None:
    """Root attributes, and the accessible name as the first children."""
    attributes = {
        "xmlns": _SVG,
        "viewBox": root.get("viewBox", ""),
        "width": root.get("width", "").removesuffix("pt"),
        "height": root.get("height", "").removesuffix("pt"),
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-desc",
        "font-family": _FONT,
        # What matplotlib's style sheet says of every element.
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    root.attrib.clear()
    root.attrib.update(attributes)
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = ElementTree.Element(tag, {"id": f"{prefix}-{tag}"})
        child.text = text
        root.insert(place, child)
