"""VOTable 1.4 with TABLEDATA. astropy writes everything around the rows (fields, units, UCDs, ICRS); the rows are
put in as a stream, because astropy would hold all of them in memory.
"""

import io
from typing import Any
from xml.sax.saxutils import escape

from astropy.io.votable import tree

from starsieve.catalogues.columns import Column
from starsieve.catalogues.writers.base import BaseTable
from starsieve.catalogues.writers.texts import as_texts, bytes_of, joined

DATATYPES = {"id": "long", "count": "int", "float": "double", "bool": "boolean"}
END_OF_FIELDS = "  </TABLE>"
# What XML 1.0 cannot hold even escaped.
FORBIDDEN = dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}")


def write(table: BaseTable, path: str) -> None:
    head, tail = _frame(table)
    with open(path, "wb") as file:
        file.write(f"{head}   <DATA>\n    <TABLEDATA>\n".encode())
        for batch in table.batches():
            cells = [as_texts(column, _cell) for column in batch.columns]
            file.write(bytes_of(joined("     <TR>", *cells, end="</TR>\n")))
        file.write(f"    </TABLEDATA>\n   </DATA>\n{tail}".encode())


def _frame(table: BaseTable) -> tuple[str, str]:
    """The document before and after the data."""
    document = tree.VOTableFile(version="1.4")
    resource = tree.Resource(name="starsieve")
    document.resources.append(resource)
    resource.coordinate_systems.append(tree.CooSys(ID="icrs", system="ICRS"))
    resource.infos.extend(tree.Info(name=name, value=clean(value)) for name, value in table.info.facts)
    votable = tree.TableElement(document, name=table.info.name, nrows=0)
    votable.description = clean(table.info.description)
    votable.fields.extend(_field(document, column) for column in table.columns)
    votable.create_arrays(0)
    resource.tables.append(votable)
    buffer = io.BytesIO()
    document.to_xml(buffer)
    text = buffer.getvalue().decode().replace(' nrows="0"', f' nrows="{table.n_rows}"', 1)
    head, end, tail = text.rpartition(END_OF_FIELDS)
    return head, end + tail


def _field(document: tree.VOTableFile, column: Column) -> tree.Field:
    size: dict[str, Any] = {"arraysize": "*"} if column.kind == "text" else {}
    reference = {"ref": "icrs"} if column.ucd.startswith("pos.eq.") else {}
    field = tree.Field(
        document,
        name=column.name,
        datatype=DATATYPES.get(column.kind, "unicodeChar"),
        unit=column.unit or None,
        ucd=column.ucd or None,
        **size,
        **reference,
    )
    field.description = clean(column.description)
    return field


def _cell(value: Any) -> str:
    if value is None:
        return "<TD/>"
    if isinstance(value, str):
        return f"<TD>{escape(clean(value))}</TD>"
    if isinstance(value, bool):
        return "<TD>T</TD>" if value else "<TD>F</TD>"
    return f"<TD>{value!r}</TD>"


def clean(text: str) -> str:
    return text.translate(FORBIDDEN)
