import io
import struct
import zipfile
from typing import Any

import pytest

from starsieve.projects import sources
from starsieve.projects.manifests import ManifestError
from starsieve.projects.models import Project
from starsieve.projects.sources import ImageFolder, open_archive
from starsieve.projects.stamps import StampError
from starsieve.projects.uploads import import_archive

MANIFEST = "name,image\na,a.png\n"


def opened(file: Any) -> Any:
    with open_archive(file, stretch="asinh") as images:
        return images


def test_pictures_lie_beside_the_manifest_wherever_that_is(make_archive: Any, make_png: Any) -> None:
    members = {
        "field/m.csv": MANIFEST,
        "field/a.png": make_png(),
        "__MACOSX/field/._a.png": b"x",
        "field/.DS_Store": b"x",
    }
    with open_archive(make_archive(members), stretch="asinh") as images:
        assert images.read_manifest() == (MANIFEST, False)
        assert images("a.png").pictures[0].image.size == (24, 20)
        with pytest.raises(StampError, match="not in the archive"):
            images("field/a.png")
        with pytest.raises(StampError, match="is refused"):
            images("../field/a.png")


def mark(**fields: Any) -> Any:
    def change(info: zipfile.ZipInfo) -> None:
        for name, value in fields.items():
            setattr(info, name, value)

    return change


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"../m.csv": ""}, "outside the archive's own folder"),
        ({"/m.csv": ""}, "outside the archive's own folder"),
        ({"a/../../m.csv": ""}, "outside the archive's own folder"),
        ({"C:/m.csv": ""}, "outside the archive's own folder"),
        ({"a\\..\\m.csv": ""}, "outside the archive's own folder"),
        ({"m.csv": "", "x.zip": "PK"}, "of a kind that is not taken"),
        ({"m.csv": "", "x.svg": "<svg/>"}, "of a kind that is not taken"),
        ({"m.csv": "", "x.html": ""}, "of a kind that is not taken"),
        ({"m.csv": "", "x": ""}, "of a kind that is not taken"),
        ({"a.png": ""}, "exactly one manifest (.csv or .jsonl); found: none"),
        ({"a.csv": "", "b.jsonl": ""}, "found: a.csv, b.jsonl"),
        ({"m.csv": "", "./m.csv": ""}, "twice"),
        ({}, "found: none"),
    ],
)
def test_a_hostile_archive_is_refused_as_a_whole(make_archive: Any, members: dict[str, str], words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        opened(make_archive(members))
    assert words in str(caught.value)


def test_links_are_refused(make_archive: Any) -> None:
    link = make_archive({"m.csv": "/etc/passwd"}, change=mark(external_attr=0o120777 << 16))
    with pytest.raises(ManifestError, match="link or device"):
        opened(link)


def test_compression_that_may_ask_for_gigabytes_is_refused(make_archive: Any) -> None:
    for kind in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with pytest.raises(ManifestError, match="use plain ZIP"):
            opened(make_archive({"m.csv": MANIFEST}, change=mark(compress_type=kind)))


def test_encrypted_members_are_refused(make_archive: Any) -> None:
    data = bytearray(make_archive({"m.csv": MANIFEST}).getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ManifestError, match="encrypted"):
        opened(io.BytesIO(bytes(data)))


def test_members_that_unpack_to_too_much_are_refused(make_archive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_ARCHIVE", 100_000)
    with pytest.raises(ManifestError, match="unpacks to more"):
        opened(make_archive({"m.csv": MANIFEST, "a.png": b"\x00" * 200_000}))


def test_a_member_that_lies_about_its_size_is_stopped_while_unpacking(
    make_archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LARGEST_FILE", 50_000)
    data = bytearray(make_archive({"m.csv": MANIFEST, "a.png": b"\x00" * 200_000}).getvalue())
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[entry + 24 : entry + 28] = struct.pack("<I", 10)  # the directory's uncompressed size
    with (
        open_archive(io.BytesIO(bytes(data)), stretch="asinh") as images,
        pytest.raises(StampError, match=r"unpack|PNG"),
    ):
        images("a.png")


def test_all_members_together_are_counted_as_they_come_out(make_archive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_archive({"m.csv": MANIFEST} | {f"{i}.png": b"\x00" * 40_000 for i in range(5)})
    with open_archive(archive, stretch="asinh") as images:
        monkeypatch.setattr(sources, "LARGEST_ARCHIVE", 100_000)
        refused = 0
        for i in range(5):
            with pytest.raises(StampError) as caught:
                images(f"{i}.png")
            refused += "unpacks to more" in str(caught.value)
        assert refused == 3


def test_too_many_members_are_refused_before_they_are_listed(
    make_archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive({"m.csv": MANIFEST} | {f"{i}.png": b"" for i in range(30)})
    monkeypatch.setattr(sources, "MOST_MEMBERS", 30)
    with pytest.raises(ManifestError, match="31 members"):
        opened(archive)
    monkeypatch.setattr(sources, "LARGEST_DIRECTORY", 500)
    with pytest.raises(ManifestError, match="too many members"):
        opened(archive)


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"not a zip", b"PK\x05\x06", b"PK\x05\x06" + b"\xff" * 18, b"\x00" * 70_000]
)
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError, match="ZIP"):
        opened(io.BytesIO(data))


def test_an_archive_with_a_comment_and_a_byte_order_mark_is_read(make_archive: Any) -> None:
    archive = make_archive({"m.csv": "\ufeff" + MANIFEST})
    with zipfile.ZipFile(archive, "a") as file:
        file.comment = b"a comment"
    with open_archive(archive, stretch="asinh") as images:
        assert images.read_manifest()[0] == MANIFEST


def test_a_damaged_member_costs_only_its_row(make_archive: Any, make_png: Any) -> None:
    data = bytearray(make_archive({"m.csv": MANIFEST, "a.png": make_png()}).getvalue())
    at = data.index(b"a.png") + 5
    data[at + 10 : at + 20] = b"\xff" * 10
    with open_archive(io.BytesIO(bytes(data)), stretch="asinh") as images, pytest.raises(StampError, match="unpacked"):
        images("a.png")


@pytest.mark.django_db
def test_a_manifest_that_is_too_long_for_a_web_request_is_refused(
    project: Project, owner: Any, make_archive: Any
) -> None:
    archive = make_archive({"m.csv": "name,image\n" + "a,a.png\n" * 5001})
    with pytest.raises(ManifestError, match="use the command"):
        import_archive(project=project, user=owner, archive=archive, subject_set="S", origin="real", stretch="asinh")
    assert not project.subject_sets.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("", "file is empty"),
        ("title,image", "“name” is missing; there are 'title', 'image'"),
        ("name,image,image", "“image” comes twice"),
        ("name,,image", "column 2 has no name"),
        (b"name,image,\xff", "cannot be used"),
        ("name,image," + "x" * 200, "cannot be used"),
    ],
)
def test_a_manifest_without_a_usable_heading_writes_nothing(
    project: Project, owner: Any, make_archive: Any, heading: str | bytes, words: str
) -> None:
    archive = make_archive(
        {"m.csv": (heading.encode() if isinstance(heading, str) else heading) + b"\na,a.png\n" * bool(heading)}
    )
    with pytest.raises(ManifestError) as caught:
        import_archive(project=project, user=owner, archive=archive, subject_set="S", origin="real", stretch="asinh")
    assert words in str(caught.value)
    assert not project.subject_sets.exists()


@pytest.mark.parametrize(
    "reference",
    ["", ".", "/a.png", "../a.png", "x/../../a.png", "file:///a.png", "http://h/a.png", "a\\b.png", "a\x00.png",
     "\udcff.png", "x" * 2000],
)  # fmt: skip
def test_a_folder_gives_nothing_outside_itself(stamp_folder: Any, reference: str) -> None:
    (stamp_folder.parent / "a.png").write_bytes(b"outside")
    with pytest.raises(StampError, match="is refused"):
        ImageFolder(stamp_folder, stretch="asinh")(reference)


def test_links_in_a_folder_lead_nowhere_else(stamp_folder: Any, make_png: Any) -> None:
    (stamp_folder.parent / "outside.png").write_bytes(make_png())
    (stamp_folder / "out.png").symlink_to(stamp_folder.parent / "outside.png")
    (stamp_folder / "in.png").symlink_to(stamp_folder / "a.png")
    (stamp_folder / "loop.png").symlink_to(stamp_folder / "loop.png")
    (stamp_folder / "dir.png").mkdir()
    folder = ImageFolder(stamp_folder, stretch="asinh")
    assert folder("in.png").pictures
    with pytest.raises(StampError, match="leads out"):
        folder("out.png")
    for name in ("loop.png", "dir.png", f"{'y' * 900}.png"):
        with pytest.raises(StampError, match=r"not there|cannot be read"):
            folder(name)
