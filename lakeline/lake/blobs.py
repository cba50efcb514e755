"""Files as loose git objects, streamed and stored without compression, for Parquet is compressed already."""

import contextlib
import hashlib
import io
import os
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lakeline.errors import LakeError, LakeUnavailable

_CHUNK = 1 << 20
_HEADER = 64


def write_blob(objects: Path, content: Path | bytes, has: Callable[[str], bool]) -> str:
    """Put a file's content into an object folder, unless it is there.

    Git's own format, so that every git tool reads it; libgit2 would compress each file and hold it in memory.

    Parameters
    ----------
    objects
        The `objects` folder of a repository.
    content
        A local file, or bytes.
    has
        Whether the repository has the object of this id, in whatever form.

    Returns
    -------
    str
        The object's id, 40 hexadecimal digits.

    Raises
    ------
    LakeError
        The local file changed while it was read.
    OSError
        It can't be read, or the disk is full. Nothing is left behind.
    """
    with contextlib.closing(io.BytesIO(content)) if isinstance(content, bytes) else content.open("rb") as source:
        size = source.seek(0, os.SEEK_END)
        header = b"blob %d\0" % size
        oid = _digest(source, header)
        if has(oid):
            return oid
        temporary = objects / f"tmp_obj_{secrets.token_hex(8)}"  # git prune removes files of this name
        try:
            with temporary.open("xb") as out:
                written = _deflate(source, header, out)
                out.flush()
                os.fsync(out.fileno())
            if written != oid:
                raise LakeError(
                    f"{content} changed while it was written to the lake. Nothing was committed. Try again when it is complete."
                )
            temporary.chmod(0o444)
            folder = objects / oid[:2]
            folder.mkdir(exist_ok=True)
            temporary.rename(folder / oid[2:])
        finally:
            temporary.unlink(missing_ok=True)
    return oid


def copy_blob(objects: Path, oid: str, out: BinaryIO) -> bool:
    """Copy a loose object's content to an open file, and check that it is whole.

    Parameters
    ----------
    objects
        The `objects` folder of a repository.
    oid
        The object's id.
    out
        Open for writing in binary.

    Returns
    -------
    bool
        False, and nothing written, if there is no such loose object (it may be in a pack).

    Raises
    ------
    LakeUnavailable
        The stored object is damaged.
    """
    path = objects / oid[:2] / oid[2:]
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return False
    with source:
        inflate = zlib.decompressobj()
        digest = hashlib.sha1(usedforsecurity=False)
        try:
            head = inflate.decompress(source.read(_HEADER))
            end = head.index(b"\0") + 1
            digest.update(head)
            out.write(head[end:])
            while chunk := source.read(_CHUNK):
                data = inflate.decompress(chunk)
                digest.update(data)
                out.write(data)
        except (zlib.error, ValueError) as error:
            raise _damaged(path) from error
    if digest.hexdigest() != oid:
        raise _damaged(path)
    return True


def _digest(source: BinaryIO, header: bytes) -> str:
    digest = hashlib.sha1(header, usedforsecurity=False)
    source.seek(0)
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _deflate(source: BinaryIO, header: bytes, out: BinaryIO) -> str:
    deflate = zlib.compressobj(0)
    digest = hashlib.sha1(header, usedforsecurity=False)
    out.write(deflate.compress(header))
    source.seek(0)
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        out.write(deflate.compress(chunk))
    out.write(deflate.flush())
    return digest.hexdigest()


def _damaged(path: Path) -> LakeUnavailable:
    return LakeUnavailable(
        f"the lake is damaged: {path} is not what was written. "
        f"See what else is: git --git-dir={path.parents[2]} fsck; then restore a backup."
    )
