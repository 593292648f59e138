"""A reference that is a GGUF file: llama.cpp gets it as it is.

Oracle: the same recipe of the directory that the file was written from, byte for byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss import Calibration, api
from bitloss.cli.main import main
from bitloss.errors import BitlossError, QuantizationError
from bitloss.formats.gguf import open_checkpoint
from bitloss.quantizers.dense_copy import dense_directory, reference_digest
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from peers.tiny import save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(path, "llama", dtype=torch.bfloat16)
    write_gguf(open_source(path), path.parent / "given.gguf")
    return path


@pytest.fixture(scope="module")
def given(folder: Path) -> Path:
    return folder.parent / "given.gguf"


def _tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    import gguf

    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


def test_tensors_are_those_of_the_directorys_variant(
    folder: Path, given: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the inner thing in the other thing " * 100)
    for recipe, options in (
        ("gguf-q4_0", {}),
        ("gguf-q8_0-imatrix", {"calibration": Calibration(str(text), 4, 32)}),
    ):
        ours = api.quantize(given, tmp_path / f"a-{recipe}.gguf", recipe=recipe, **options)
        theirs = api.quantize(folder, tmp_path / f"b-{recipe}.gguf", recipe=recipe, **options)
        assert _tensors(ours) == _tensors(theirs)
        metadata = open_checkpoint(ours).files.metadata
        assert metadata == open_checkpoint(theirs).files.metadata | {
            "general.name": metadata["general.name"]
        }


def test_a_split_file_becomes_one(given: Path, tmp_path: Path) -> None:
    whole = open_checkpoint(given).files
    parts = _split(given, tmp_path)
    assert reference_digest(parts[1], "x") != reference_digest(given, "x")
    split = api.quantize(parts[1], tmp_path / "split.gguf", recipe="gguf-q4_0")
    one = api.quantize(given, tmp_path / "one.gguf", recipe="gguf-q4_0")
    assert _tensors(split) == _tensors(one)
    assert len(whole.tensors) == len(_tensors(split))


def _split(given: Path, folder: Path) -> list[Path]:
    """The file in two parts, as llama-gguf-split names and marks them."""
    import gguf

    reader = gguf.GGUFReader(given)
    count = len(reader.tensors)
    paths = []
    for number, tensors in enumerate((reader.tensors[:5], reader.tensors[5:])):
        path = folder / f"part-{number + 1:05d}-of-00002.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        for name, field in reader.fields.items() if number == 0 else ():
            if not name.startswith("GGUF.") and name != "general.architecture":
                sub = field.types[-1] if len(field.types) > 1 else None
                writer.add_key_value(name, field.contents(), field.types[0], sub)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", count)
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def test_a_quantized_file_is_refused(given: Path, tmp_path: Path) -> None:
    quantized = api.quantize(given, tmp_path / "q8.gguf", recipe="gguf-q8_0")
    for recipe in ("gguf-q4_0", "gptq-4"):
        with pytest.raises(QuantizationError, match="expected an unquantized GGUF file") as caught:
            api.quantize(quantized, tmp_path / "again.gguf", recipe=recipe, data=tmp_path)
        assert caught.value.hint.startswith("give the F32, F16 or BF16 file")


def test_the_digest_needs_no_family(given: Path, tmp_path: Path) -> None:
    """llama.cpp quantizes architectures that are not read here: only headers are opened."""
    assert reference_digest(given, "x") == open_checkpoint(given).info.digest


def test_a_dense_copy_is_the_model(folder: Path, given: Path, tmp_path: Path) -> None:
    """Oracle: the directory that the file was written from."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with dense_directory(given, tmp_path) as copy:
        model: Any = AutoModelForCausalLM.from_pretrained(copy, dtype="auto")
        original: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        assert model.dtype == torch.bfloat16
        for name, value in original.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name
        ids = [AutoTokenizer.from_pretrained(p)("the thing")["input_ids"] for p in (copy, folder)]
        assert ids[0] == ids[1]
    assert list(tmp_path.iterdir()) == []


def test_compare_takes_a_gguf_reference(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text("the inner thing in the other thing " * 400)
    words = ["compare", str(given), "gguf-q8_0", "--corpus", str(text), "--out"]
    assert main([*words, str(tmp_path / "run"), "--json"]) == 0
    capsys.readouterr()


def test_notes_are_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out.gguf")
    assert main(["quantize", str(folder), out, "--recipe", "gguf-q4_k_m", "-q"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert "note: 16 of 16 matrices have rows (64, 96)" in printed.err


def test_a_calibration_text_without_a_use_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BitlossError, match=r"`nope` .* has no effect"):
        api.quantize(
            folder,
            tmp_path / "out.gguf",
            recipe="gguf-q8_0",
            calibration=Calibration("nope"),
        )
