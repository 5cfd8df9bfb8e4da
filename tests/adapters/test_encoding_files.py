from __future__ import annotations

import base64
import hashlib
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cozy.adapters.encoding_files import ENCODINGS, EncodingFile, EncodingFiles, encoding_files
from cozy.errors import ConfigError

NAME = "0123456789abcdef0123456789abcdef01234567"
# a vocabulary in tiktoken's format: every byte, and one token that is two characters
SMALL = b"\n".join(
    base64.b64encode(token) + b" " + str(rank).encode()
    for rank, token in enumerate([*(bytes([b]) for b in range(256)), b"lo", "你好".encode()])
)
KNOWN = {"o200k_base": EncodingFile("o200k_base", NAME, hashlib.sha256(SMALL).hexdigest())}


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the developer's own machine has cached does not count."""
    folder = tmp_path / "tmp"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder / "data-gym-cache"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("something reached for the network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


def files(data: Path, **environ: str) -> EncodingFiles:
    return EncodingFiles(data, environ, KNOWN)


def put(folder: Path, content: bytes = SMALL) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.write_bytes(content)
    return path


def test_names_and_hashes_are_tiktoken_s_own(no_network: None) -> None:
    assert tuple(encoding_files()) == ENCODINGS
    assert encoding_files()["o200k_base"].name == "fb374d419588a4632f3f557e76b4b70aebbca790"
    assert encoding_files()["cl100k_base"].name == "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
    assert encoding_files()["o200k_base"].sha256.startswith("446a9538")
    assert encoding_files()["cl100k_base"].sha256.startswith("223921b7")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_without_a_file_there_is_no_encoding_and_no_download(
    encoding: str, tmp_path: Path, no_network: None
) -> None:
    looked = EncodingFiles(tmp_path / "data", {})
    assert looked.whole(encoding) is None
    assert looked.load(encoding) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_file_of_the_wrong_content_is_left_alone_and_not_loaded(
    encoding: str, tmp_path: Path, no_network: None
) -> None:
    damaged = tmp_path / "data" / "encodings" / encoding_files()[encoding].name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(SMALL)
    looked = EncodingFiles(tmp_path / "data", {})
    assert looked.load(encoding) is None
    assert looked.damaged(encoding) == (damaged,)
    assert damaged.read_bytes() == SMALL


def test_a_whole_file_becomes_tiktoken_s_encoding(tmp_path: Path, no_network: None) -> None:
    put(tmp_path / "data" / "encodings")
    encoding = files(tmp_path / "data").load("o200k_base")
    assert encoding is not None
    assert encoding.name == "o200k_base"
    assert len(encoding.encode_ordinary("hello")) == 4
    assert len(encoding.encode_ordinary("你好")) == 1
    assert len(encoding.encode_ordinary("<|endoftext|>")) == 13


def test_folders_are_searched_in_order(tmp_path: Path, own_temporary_folder: Path) -> None:
    data = tmp_path / "data"
    looked = files(data, TIKTOKEN_CACHE_DIR=str(tmp_path / "one"), DATA_GYM_CACHE_DIR=str(tmp_path / "two"))
    order = (tmp_path / "one", tmp_path / "two", data / "encodings", own_temporary_folder)
    assert looked.folders == order
    for folder in reversed(order):
        assert looked.whole("o200k_base") != folder / NAME
        put(folder)
        assert looked.whole("o200k_base") == folder / NAME


def test_an_empty_variable_names_no_folder(tmp_path: Path) -> None:
    assert Path() not in files(tmp_path, TIKTOKEN_CACHE_DIR="").folders


def test_behind_a_damaged_file_a_whole_one_still_counts(tmp_path: Path, own_temporary_folder: Path) -> None:
    damaged = put(tmp_path / "data" / "encodings", SMALL + b"x")
    whole = put(own_temporary_folder)
    looked = files(tmp_path / "data")
    assert looked.whole("o200k_base") == whole
    assert looked.damaged("o200k_base") == (damaged,)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def in_wheel(folder: Path) -> Path:
    return archive(folder / "a.whl", {f"package/_static/{NAME}": SMALL, "package/x.py": b""})


def in_zip(folder: Path) -> Path:
    return archive(folder / "a.zip", {"词表/o200k_base.tiktoken": SMALL})


def renamed(folder: Path) -> Path:
    return put(folder).rename(folder / "词表")


@pytest.mark.parametrize("source", [put, renamed, in_wheel, in_zip])
def test_a_file_is_installed_and_found(source: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    looked = files(tmp_path / "data")
    written = looked.install(source(folder))
    assert written == (tmp_path / "data" / "encodings" / NAME,)
    assert looked.whole("o200k_base") == written[0]
    assert [path.name for path in written[0].parent.iterdir()] == [NAME]


def test_installing_mends_a_damaged_file(tmp_path: Path) -> None:
    damaged = put(tmp_path / "data" / "encodings", b"half")
    looked = files(tmp_path / "data")
    looked.install(put(tmp_path / "download"))
    assert looked.whole("o200k_base") == damaged


def changed(folder: Path) -> Path:
    return put(folder, SMALL + b"\n")


def changed_in_wheel(folder: Path) -> Path:
    return archive(folder / "a.whl", {NAME: SMALL[:-1]})


def other(folder: Path) -> Path:
    return put(folder, b"x").rename(folder / "notes.txt")


def other_in_zip(folder: Path) -> Path:
    return archive(folder / "a.zip", {"x": SMALL})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (changed, "its SHA-256 is another"),
        (changed_in_wheel, "its SHA-256 is another"),
        (other, "holds no encoding file"),
        (other_in_zip, "holds no encoding file"),
    ],
)
def test_what_is_no_encoding_file_is_refused_and_nothing_is_written(
    source: Callable[[Path], Path], expected: str, tmp_path: Path
) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    with pytest.raises(ConfigError, match=expected):
        files(tmp_path / "data").install(source(folder))
    assert not (tmp_path / "data").exists()


def test_a_zip_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {NAME: SMALL})
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        files(tmp_path / "data").install(path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        files(tmp_path / "data").install(put(tmp_path / "download"))
