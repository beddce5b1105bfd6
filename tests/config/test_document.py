"""Texts and files that are a configuration, and those that are none."""

from __future__ import annotations

import pytest
import yaml
from configured import GOOD, errors
from hypothesis import given, settings
from hypothesis import strategies as st

from protokit import config
from protokit.config.document import Document, read
from protokit.errors import ConfigError, ConfigErrors


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(ConfigErrors, match="cannot be read: No such file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigErrors, match="UTF-8|not YAML"):
        config.load(tmp_path / "b")
    assert "the file is empty" in errors("", tmp_path)[0]


def test_anchors_that_multiply_are_stopped(tmp_path):
    bomb = "x0: &x0 [1,1,1,1,1,1,1,1,1,1]\n"
    bomb += "".join(f"x{i}: &x{i} [{','.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 10))
    text = bomb + GOOD.replace(
        "    protocol: dubbo\n", "    protocol: dubbo\n    filters: [{limit: {bomb: *x9}}]\n"
    )
    assert any("anchors that multiply" in one for one in errors(text, tmp_path))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="[]{}:,-&*!|>'\"\n #ab01", max_size=60))
def test_any_text_gives_a_config_or_a_config_error(text):
    try:
        read(Document(text, "f"))
    except ConfigError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text))
def test_a_quoted_text_comes_back_as_it_was(name):
    shape = {"listeners": [], "clusters": [{"name": name, "endpoints": []}]}
    config_read, mistakes, _ = read(Document(yaml.safe_dump(shape), "f"))
    assert (config_read.clusters[0].name, mistakes) == (name, [])


def test_a_file_without_an_end_is_no_configuration():
    """A device, or a pipe whose writer never stops, is not read until the memory is used up."""
    with pytest.raises(ConfigErrors, match="is larger than 64 MiB"):
        config.load("/dev/zero")


def test_tags_that_say_what_stands_there_and_anchors_in_a_circle(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        GOOD.replace("service: 20:30", "!!str service: !!str 20:30").replace("weight: 9", "weight: !!int 9")
    )
    assert config.load(path).config.routes[0].rules[1].match.service == "20:30"
    assert errors("listeners: &l [*l, !x y]\n", tmp_path) == [
        "1:20: the tag !x means nothing here: write the value itself"
    ]
