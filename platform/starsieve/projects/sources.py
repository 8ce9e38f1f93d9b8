"""Where an import's picture files lie: a folder, or a ZIP archive that a stranger uploaded. Never anywhere else."""

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from starsieve.projects.fits import read_fits_stamp
from starsieve.projects.manifests import ManifestError, is_json_lines
from starsieve.projects.stamps import LARGEST_FILE, Picture, Stamp, StampError, open_picture
from starsieve.projects.task_types import is_storable, shown

PICTURES = (".png", ".jpg", ".jpeg")
FITS_FILES = (".fits", ".fit", ".fts")
MANIFESTS = (".csv", ".jsonl", ".ndjson")
LONGEST_PATH = 1000
MOST_MEMBERS = 20_000
LARGEST_DIRECTORY = 8 * 1024 * 1024  # bytes; zipfile reads all of it at once
LARGEST_MANIFEST = 64 * 1024 * 1024
LARGEST_ARCHIVE = 1024 * 1024 * 1024  # bytes of all members unpacked
LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")  # what desktops add to every archive


def read_stamp(name: str, data: bytes, *, stretch: str) -> Stamp:
    """A stamp from the bytes of a picture or FITS file; its kind follows from the name, and must be what is inside."""
    suffix = PurePosixPath(name.lower()).suffix
    if suffix in PICTURES:
        return Stamp((Picture(open_picture(data)),))
    if suffix in FITS_FILES:
        return read_fits_stamp(data, stretch=stretch)
    raise StampError(f"“{name}” is neither picture nor FITS; taken are {', '.join((*PICTURES, *FITS_FILES))}")


def inner_path(reference: str) -> PurePosixPath:
    """The reference as a relative path without a step upwards; raises StampError for anything else."""
    path = PurePosixPath(reference)
    is_plain = is_storable(reference) and "\\" not in reference and len(reference) <= LONGEST_PATH
    if not is_plain or not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise StampError(f"{shown(reference)} is refused: give a path inside the folder of the images, no address")
    return path


class ImageFolder:
    """Picture files under one folder. Links are followed only as far as they stay inside."""

    def __init__(self, folder: Path, *, stretch: str) -> None:
        self.folder = folder.resolve()
        self.stretch = stretch

    def __call__(self, reference: str) -> Stamp:
        inner = inner_path(reference)
        try:
            path = (self.folder / inner).resolve()
            if not path.is_relative_to(self.folder):
                raise StampError(f"“{reference}” leads out of the folder of the images")
            if not path.is_file():
                raise StampError(f"“{reference}” is not there")
            if path.stat().st_size > LARGEST_FILE:
                raise StampError(f"“{reference}” is larger than {LARGEST_FILE // 2**20} MiB")
            data = path.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise StampError(f"“{reference}” cannot be read: {error}") from None
        return _named(reference, data, self.stretch)


class ImageArchive:
    """Picture files and one manifest inside a ZIP archive. Nothing is unpacked to disk."""

    def __init__(self, archive: zipfile.ZipFile, *, stretch: str) -> None:
        self.archive = archive
        self.stretch = stretch
        self.unpacked = 0
        self.members = _checked_members(archive)
        manifests = [name for name in self.members if name.lower().endswith(MANIFESTS)]
        if len(manifests) != 1:
            found = ", ".join(manifests[:5]) or "none"
            raise ManifestError(f"the archive needs exactly one manifest (.csv or .jsonl); found: {found}")
        self.manifest = manifests[0]
        self.folder = PurePosixPath(self.manifest).parent

    def read_manifest(self) -> tuple[str, bool]:
        """The manifest's text, and whether it is JSON lines."""
        data = self._read(self.manifest, LARGEST_MANIFEST)
        return data.decode("utf-8-sig", errors="surrogateescape"), is_json_lines(self.manifest)

    def __call__(self, reference: str) -> Stamp:
        name = str(self.folder / inner_path(reference))
        if name not in self.members:
            raise StampError(f"“{reference}” is not in the archive")
        try:
            data = self._read(name, LARGEST_FILE)
        except ManifestError as error:
            raise StampError(f"“{reference}” {error}") from None
        return _named(reference, data, self.stretch)

    def _read(self, name: str, largest: int) -> bytes:
        """The member's bytes, counted as they come out: what its entry says of its size proves nothing."""
        room = min(largest, LARGEST_ARCHIVE - self.unpacked)
        try:
            with self.archive.open(self.members[name]) as member:
                data = member.read(room + 1)
        except Exception as error:  # zlib, lzma, CRC and header errors of a hostile archive
            raise ManifestError(f"cannot be unpacked: {type(error).__name__}") from None
        self.unpacked += len(data)
        if len(data) > room:
            raise ManifestError("unpacks to more than is taken")
        return data


@contextmanager
def open_archive(file: IO[bytes], *, stretch: str) -> Iterator[ImageArchive]:
    """The uploaded archive, checked member by member; raises ManifestError saying what is wrong with it."""
    _check_directory(file)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise ManifestError("is not a ZIP archive, or a broken one") from None
    with archive:
        yield ImageArchive(archive, stretch=stretch)


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a central directory that would fill the memory, before zipfile reads it (and ZIP64, which hides its size).

    The end record is found as zipfile finds it: at the very end, or the last one in front of a comment.
    """
    size = file.seek(0, 2)
    start = max(0, size - 22 - 65535)
    file.seek(start)
    tail = file.read()
    at = len(tail) - 22
    if at < 0 or tail[at : at + 4] != b"PK\x05\x06" or tail[-2:] != b"\x00\x00":
        at = tail.rfind(b"PK\x05\x06")
    file.seek(0)
    if at < 0 or len(tail) < at + 22:
        raise ManifestError("is not a ZIP archive, or a broken one")
    directory_size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if directory_size > LARGEST_DIRECTORY:
        raise ManifestError("has too many members, or is a ZIP64 archive; split it")


def _checked_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    if len(archive.infolist()) > MOST_MEMBERS:
        raise ManifestError(f"has {len(archive.infolist()):,} members; at most {MOST_MEMBERS:,} are taken")
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if member.is_dir() or name.startswith(LITTER) or name.endswith(LITTER):
            continue
        path = _check_member(member)
        if path in members:
            raise ManifestError(f"has the member “{path}” twice")
        members[path] = member
    if sum(member.file_size for member in members.values()) > LARGEST_ARCHIVE:
        raise ManifestError(f"unpacks to more than {LARGEST_ARCHIVE // 2**30} GiB")
    return members


def _check_member(member: zipfile.ZipInfo) -> str:
    """The member's path; raises ManifestError for one that is not a plain file of a kind that is taken."""
    try:
        name = str(inner_path(member.filename))
    except StampError:
        raise ManifestError(f"the member {shown(member.filename)} lies outside the archive's own folder") from None
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ManifestError(f"the member “{name}” is a link or device; only plain files are taken")
    if member.flag_bits & 0x1:
        raise ManifestError(f"the member “{name}” is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others may ask for gigabytes
        raise ManifestError(f"the member “{name}” is compressed in a way that is not taken; use plain ZIP")
    if not name.lower().endswith((*PICTURES, *FITS_FILES, *MANIFESTS)):
        kinds = ", ".join((*MANIFESTS, *PICTURES, *FITS_FILES))
        raise ManifestError(f"the member “{name}” is of a kind that is not taken; taken are {kinds}")
    return name


def _named(reference: str, data: bytes, stretch: str) -> Stamp:
    try:
        return read_stamp(reference, data, stretch=stretch)
    except StampError as error:
        message = str(error)
        raise StampError(message if message.startswith("“") else f"“{reference}” {message}") from None
