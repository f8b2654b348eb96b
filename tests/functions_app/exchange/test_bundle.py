"""Bundles are read as if whoever wrote them meant harm."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError

from functions_app.exchange import bundle
from functions_app.exchange.entries import Problem
from functions_app.runtime import Packed
from tests.functions_app.sources import PIPE
from tests.wheels import make_wheel

TOLD = [{"id": "lens", "content": PIPE, "is_active": True, "policy": {}}]


@pytest.fixture
def packed(tmp_path) -> Packed:
    """A set of two small wheels."""
    folder = tmp_path / "packed"
    lock = make_wheel(folder, "lens", "1.0") + make_wheel(folder, "glass", "2.0")
    return Packed(("lens",), "overlay", lock, "cpython", "base-1", folder)


@pytest.fixture
def written(tmp_path, packed) -> Path:
    """A bundle of one function with its set."""
    path = tmp_path / "functions.bundle"
    bundle.write(path, TOLD, {"lens": packed})
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def rewritten(path: Path, content: dict[str, bytes], info=None) -> Path:
    """Writes other members under the same name; ``info`` changes what stands in a member's header."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if info is not None:
                info(member)
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def reindexed(path: Path, **changes) -> Path:
    """Writes the bundle again with another index."""
    content = members(path)
    content["bundle.json"] = json.dumps(json.loads(content["bundle.json"]) | changes).encode()
    return rewritten(path, content)


def refusal(path: Path) -> str:
    folder = path.parent / "unpacked"
    folder.mkdir()
    with pytest.raises(ValidationError) as caught:
        bundle.unpack(path, folder)
    outside = {p.name for p in path.parent.iterdir()} - {path.name, "unpacked", "packed"}
    assert outside == set()
    return caught.value.messages[0]


def test_what_is_written_is_read(written, packed, tmp_path):
    folder = tmp_path / "unpacked"
    folder.mkdir()
    found = bundle.unpack(written, folder)
    assert found.functions == TOLD
    assert found.base is None
    (one,) = found.packages.values()
    assert (one.requirements, one.kind, one.lock, one.base) == (("lens",), "overlay", packed.lock, "base-1")
    assert sorted(p.name for p in one.wheels.iterdir()) == sorted(p.name for p in packed.wheels.iterdir())


def test_a_set_that_two_functions_share_is_there_once(tmp_path, packed):
    path = tmp_path / "b"
    bundle.write(path, [], {"a": packed, "b": packed}, None)
    assert sum(name.startswith("wheels/") for name in members(path)) == 2
    assert len(json.loads(members(path)["bundle.json"])["sets"]) == 1


def test_it_says_the_digest_of_what_it_wrote(tmp_path, packed):
    path = tmp_path / "b"
    assert bundle.write(path, TOLD, {"lens": packed}) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_bundles_are_told_from_other_files(written, tmp_path):
    other = tmp_path / "export.json"
    other.write_text("[]")
    assert bundle.is_bundle(written)
    assert not bundle.is_bundle(other)
    assert not bundle.is_bundle(tmp_path)


def test_problems_are_told_with_the_name_of_the_file(written, tmp_path):
    reindexed(written, format="something")
    (tmp_path / "u").mkdir()
    found, base = bundle.read_bundle(written, tmp_path / "u")
    assert (found, base) == ([Problem("functions.bundle", "It is no bundle of functions.")], None)


@pytest.mark.parametrize("name", ["functions.json", "locks/", "wheels/"])
def test_a_member_that_was_changed_is_refused(written, name):
    content = members(written)
    name = next(one for one in content if one.startswith(name))
    content[name] += b" "
    assert refusal(rewritten(written, content)).endswith("the file was damaged or changed.")


def test_a_wheel_that_its_lock_does_not_name_is_refused(written):
    content = members(written)
    index = json.loads(content["bundle.json"])
    evil = b"not what was locked"
    wheels = index["sets"][0]["wheels"]
    old = wheels["lens-1.0-py3-none-any.whl"]
    wheels["lens-1.0-py3-none-any.whl"] = hashlib.sha256(evil).hexdigest()
    changed = {
        (f"wheels/{wheels['lens-1.0-py3-none-any.whl']}" if name == f"wheels/{old}" else name): (
            evil if name == f"wheels/{old}" else data
        )
        for name, data in content.items()
    }
    changed["bundle.json"] = json.dumps(index).encode()
    ordered = {name: changed[name] for name in changed if not name.startswith("wheels/")}
    ordered |= {f"wheels/{sha}": changed[f"wheels/{sha}"] for sha in wheels.values()}
    expected = "Its lock does not name lens-1.0-py3-none-any.whl with the hash that the file has."
    assert refusal(rewritten(written, ordered)) == expected


def test_a_wheel_that_lacks_is_named(written):
    index = json.loads(members(written)["bundle.json"])
    gone = index["sets"][0]["wheels"].pop("glass-2.0-py3-none-any.whl")
    content = {name: data for name, data in members(written).items() if name != f"wheels/{gone}"}
    content["bundle.json"] = json.dumps(index).encode()
    assert refusal(rewritten(written, content)) == "It lacks the wheels of glass."


@pytest.mark.parametrize(
    "name",
    ["../lens-1.0-py3-none-any.whl", "/lens-1.0-py3-none-any.whl", "lens-1.0-py3-none-any.whl/..", "a/b.whl", ".."],
)
def test_a_wheel_with_a_path_for_a_name_is_refused(written, name):
    index = json.loads(members(written)["bundle.json"])
    wheels = index["sets"][0]["wheels"]
    wheels[name] = wheels.pop("lens-1.0-py3-none-any.whl")
    assert "is not understood" in refusal(reindexed(written, sets=index["sets"]))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "wheels/../../evil", "evil"])
def test_a_member_that_the_index_does_not_name_is_refused(written, name):
    content = {**members(written), name: b"evil"}
    assert refusal(rewritten(written, content)) == f"It holds {name!r}, which its index does not name."


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_links_folders_devices_and_sparse_files_are_refused(written, kind):
    def info(member):
        if member.name.startswith("wheels/"):
            member.type, member.linkname = kind, "/etc/passwd"

    assert refusal(rewritten(written, members(written), info)).endswith("which is no ordinary file.")


def test_extended_headers_are_refused_unread(written):
    content = members(written)
    with tarfile.open(written, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(data), {"comment": "x" * 100}
            archive.addfile(member, io.BytesIO(data))
    assert refusal(written).endswith("which is no ordinary file.")


def test_a_member_that_says_it_is_huge_is_refused(written):
    data = bytearray(written.read_bytes())
    header = tarfile.TarInfo("bundle.json")
    header.size = 8 * 1024**3 - 1
    data[:512] = header.tobuf(tarfile.USTAR_FORMAT)
    written.write_bytes(data)
    assert refusal(written) == "bundle.json in it is larger than the 16777216 bytes that are read."


@pytest.mark.parametrize("length", [600, 3000, -11000])
def test_a_file_that_ends_too_early_is_refused(written, length):
    written.write_bytes(written.read_bytes()[:length])
    assert refusal(written) == "It ends too early: a part of the file is missing."


def test_a_damaged_header_is_refused(written):
    data = bytearray(written.read_bytes())
    data[148] ^= 1
    written.write_bytes(data)
    assert refusal(written) == "It is damaged: a member's header cannot be read."


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "evil"},
        {"requirements": "lens"},
        {"requirements": [1]},
        {"functions": None},
        {"lock": "../../etc/passwd"},
        {"python": 3},
        {"wheels": []},
        {"wheels": {"lens-1.0-py3-none-any.whl": "x"}},
        {"kind": "base"},
    ],
)
def test_an_index_that_is_not_understood_is_refused(written, changes):
    sets = json.loads(members(written)["bundle.json"])["sets"]
    assert "is not understood" in refusal(reindexed(written, sets=[sets[0] | changes]))


def test_two_sets_for_one_function_are_refused(written):
    sets = json.loads(members(written)["bundle.json"])["sets"]
    assert refusal(reindexed(written, sets=[*sets, *sets])) == "It has two sets of packages for 'lens'."


def test_a_lock_with_options_is_refused(tmp_path, packed):
    from dataclasses import replace

    path = tmp_path / "functions.bundle"
    bundle.write(path, TOLD, {"lens": replace(packed, lock=packed.lock + "--index-url https://example.org\n")})
    assert refusal(path) == (
        "The lock has a line that is no exact version with SHA-256 hashes: '--index-url https://example.org'."
    )


def test_a_release_that_is_newer_is_said(written):
    assert "another release" in refusal(reindexed(written, version=2))
