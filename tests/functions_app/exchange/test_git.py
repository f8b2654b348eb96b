from __future__ import annotations

import os
import subprocess

import pytest

from functions_app.exchange.git import GitError, checked_out, is_repository


def git(folder, *arguments):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    alice = ["-c", "user.name=alice", "-c", "user.email=alice@example.org"]
    done = subprocess.run(["git", *alice, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits of ``functions/hello.py``; the first is tagged v1 and on a branch of its own."""
    folder = tmp_path / "repository"
    (folder / "functions").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for number in (1, 2):
        (folder / "functions" / "hello.py").write_bytes(f"# version {number}\r\n".encode())
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", f"Version {number}")
        if number == 1:
            git(folder, "tag", "--annotate", "--message", "First", "v1")
            git(folder, "branch", "side/way")
    return folder


def source(repository, ref="", subfolder="functions"):
    with checked_out(str(repository), ref, subfolder) as folder:
        return (folder / "hello.py").read_bytes()


@pytest.mark.parametrize("ref", ["v1", "side/way"])
def test_a_state_of_a_repository_is_fetched(repository, ref):
    assert source(repository) == b"# version 2\r\n"
    assert source(repository, ref) == b"# version 1\r\n"
    assert source(repository, git(repository, "rev-parse", "HEAD~1")) == b"# version 1\r\n"
    with checked_out(repository.as_uri()) as folder:
        assert sorted(os.listdir(folder)) == [".git", "functions"]
    assert not folder.exists()


def test_nothing_of_the_repository_is_run(repository, tmp_path):
    ran = tmp_path / "ran"
    script = tmp_path / "script.sh"
    script.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    script.chmod(0o755)
    for hook in ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc"):
        (repository / ".git" / "hooks" / hook).write_text(script.read_text())
        (repository / ".git" / "hooks" / hook).chmod(0o755)
    (repository / ".gitattributes").write_text("*.py filter=bad\n")
    (repository / ".gitmodules").write_text(f'[submodule "x"]\npath = x\nurl = {repository}\n')
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "Bad")
    git(repository, "config", "filter.bad.smudge", str(script))
    git(repository, "config", "core.fsmonitor", str(script))
    git(repository, "config", "uploadpack.packObjectsHook", str(script))
    ran.unlink(missing_ok=True)
    assert source(repository) == b"# version 2\r\n"
    assert not ran.exists()


def test_the_users_own_configuration_is_not_used(repository, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    (tmp_path / ".gitconfig").write_text(
        f'[core]\nfsmonitor = "touch {ran}"\n[url "ext::sh -c x"]\ninsteadOf = file:\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {ran}")
    assert source(repository) == b"# version 2\r\n"
    assert not ran.exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1/x.git", "Repositories are fetched over https, ssh, file, not over http."),
        ("git://127.0.0.1/x.git", "Repositories are fetched over https, ssh, file, not over git."),
        ("ext::sh -c id", "ext::sh -c id is no folder and no address of a repository."),
        ("--upload-pack=id", "--upload-pack=id is no folder and no address of a repository."),
        ("file:///nowhere/at/all", "git fetch failed: "),
        ("https://alice:secret@127.0.0.1:9/x.git", "git fetch failed: fatal: unable to access 'https://127.0.0.1:9/x.git/'"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_gets_a_sentence(address, message):
    with pytest.raises(GitError) as caught, checked_out(address):
        pass
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("ref", ["--upload-pack=id", "a..b", "a:b", "a b", "a\n", "@{1}"])
def test_a_ref_that_is_none_is_refused(repository, ref):
    with pytest.raises(GitError, match="is no name of a branch, tag or commit"), checked_out(str(repository), ref):
        pass


def test_a_ref_that_does_not_exist_is_said(repository):
    with pytest.raises(GitError, match="couldn't find remote ref nowhere"), checked_out(str(repository), "nowhere"):
        pass


@pytest.mark.parametrize("subfolder", ["..", "/etc", "functions/../..", ".git", "out"])
def test_a_subfolder_stays_inside(repository, subfolder):
    (repository / "out").symlink_to("/etc")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "Link")
    with pytest.raises(GitError, match="leads out of the repository"), checked_out(str(repository), "", subfolder):
        pass


def test_a_subfolder_that_is_not_there_is_said(repository):
    with pytest.raises(GitError, match="The repository has no folder 'x'"), checked_out(str(repository), "", "x"):
        pass


def test_a_submodule_that_would_run_something_is_refused(repository):
    (repository / ".gitmodules").write_text('[submodule "x"]\npath = x\nurl = y\nupdate = !touch z\n')
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "Bad")
    with pytest.raises(GitError, match="disallowed submodule update setting"), checked_out(str(repository)):
        pass


def test_git_that_takes_too_long_is_stopped(repository):
    with pytest.raises(GitError, match=r"^git took too long"), checked_out(str(repository), seconds=0):
        pass


def test_what_is_a_repository(repository, tmp_path):
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "bare.git")
    assert is_repository(str(tmp_path / "bare.git"))
    assert is_repository("https://example.org/x.git")
    assert is_repository("alice@example.org:x.git")
    assert not is_repository(str(repository))
    assert not is_repository("examples")
