"""What is published names no folder. Oracle: names by hand."""

from __future__ import annotations

import pytest

from bitloss.reports.local_paths import without_folders, without_local_paths
from example_run import make_comparison


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/srv/models/llama/", "llama"),
        ("./q4.gguf", "q4.gguf"),
        ("../data", "data"),
        ("~/data/my.txt", "my.txt"),
        ("C:\\models\\llama", "llama"),
        ("--data=/srv/data", "--data=data"),
        ("'/with/quotes'", "quotes"),
        ("org/model", "org/model"),
        ("org/model@main", "org/model@main"),
        ("gptq-4", "gptq-4"),
        ("--limit=50", "--limit=50"),
    ],
)
def test_words(word: str, shown: str) -> None:
    assert without_folders(word) == shown


def test_names_change_everywhere_and_others_stay() -> None:
    run = make_comparison()
    found, names = without_local_paths(run)
    assert names == {"./model-q8_0.gguf": "model-q8_0.gguf"}
    assert "./model" not in found.to_json()
    assert found["model-q8_0.gguf"].corpora == run["./model-q8_0.gguf"].corpora
    assert found.reference.name == run.reference.name == "org/model"


def test_two_that_would_have_one_name_keep_theirs() -> None:
    run = make_comparison()
    first, second, *rest = run.variants
    alike = [
        first.model_copy(update={"name": "/a/model"}),
        second.model_copy(update={"name": "/b/model"}),
    ]
    found, names = without_local_paths(run.model_copy(update={"variants": (*alike, *rest)}))
    assert names == {}
    assert [one.name for one in found.variants[:2]] == ["/a/model", "/b/model"]
