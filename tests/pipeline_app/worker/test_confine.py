"""What confinement takes away, attempt by attempt, and what it must leave: by real workers, with layers and without."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline_app.runners import bubblewrap
from pipeline_app.runners.layers import Layers
from pipeline_app.worker import confine, kernel, landlock
from tests.pipeline_app.worker import confined
from tests.pipeline_app.worker.attempts import SOURCE
from tests.pipeline_app.worker.confined import NOBODY, linux

pytestmark = linux


def words(text):
    return text.split()


SECRET = "secret of the server"

FILES = words(
    """
read_a_file read_through_a_link read_through_a_linked_folder read_beside_the_scratch_folder read_from_an_open_folder
read_after_changing_into_the_folder list_a_folder list_the_root list_processes read_the_environment_of_the_server
read_own_memory_map write_a_file make_a_file make_a_nameless_file make_a_folder truncate_a_file
truncate_while_opening_to_read truncate_while_opening_for_nothing empty_by_the_oldest_call
write_what_may_be_read remove_what_may_be_read take_what_may_be_read_by_a_hard_link take_a_file_by_a_hard_link remove_a_file
share_memory open_the_disk_s_memory take_a_file_by_renaming rename_a_file
"""
)
"""Stopped by Landlock."""

CALLS = {
    errno.EPERM: """
        run_a_program_of_the_scratch_folder make_a_device make_a_pipe_with_a_name fork fork_by_number vfork
        thread_with_files_of_its_own execute signal_everybody signal_the_own_group signal_the_server
        signal_the_server_s_group signal_a_thread_of_the_server signal_a_thread_by_the_old_call signal_with_data
        open_a_handle_on_the_server be_told_of_io_in_the_server_s_name choose_the_signal_of_a_file
        watch_a_folder_by_fcntl lease_a_file enlarge_a_pipe trace_the_server read_the_memory_of_the_server
        compare_with_the_server renice_the_server renice_its_group pin_the_server read_the_server_s_limits
        lower_the_server_s_limits change_its_own_limits find_out_groups_of_processes leave_its_group
        become_traceable become_undumpable outlive_its_parent adopt_orphans move_its_memory_map merge_its_memory
        become_root change_the_file_system_user raise_capabilities handle_page_faults leave_namespaces
        enter_namespaces use_a_key_ring add_a_key load_a_program_into_the_kernel count_events add_a_filter
        add_a_landlock_layer make_a_handle_of_a_file share_memory_by_number open_a_message_queue
        change_the_personality find_out_priorities find_out_processors
        find_out_schedulers find_out_capabilities lock_memory set_a_memory_policy datagram_pair packet_pair listen bind accept
    """,
    errno.ENOSYS: """
        fork_with_the_newest_call make_a_file_in_memory make_secret_memory watch_a_folder set_up_io_uring
        set_up_old_asynchronous_io splice ask_for_a_call_of_the_future ask_for_a_call_between_the_tables
    """,
    errno.ENOTTY: "own_a_file_by_ioctl push_a_character_into_a_terminal ask_a_network_card",
    errno.EINVAL: """
        share_no_descriptors_any_more offer_memory_for_merging interrupt_all_processors read_the_server_s_cpu_time
        set_a_timer_on_the_server_s_cpu_time
    """,
    errno.ENOMEM: "reserve_huge_pages map_memory_that_grows_down",
    errno.EOPNOTSUPP: """
        set_an_attribute read_an_attribute list_attributes take_room_on_the_disk fast_open fast_open_in_a_message
        urgent_data_between_unix_sockets
    """,
    errno.EACCES: "udp raw ping multipath_tcp sctp smc unix",
    errno.ENOPROTOOPT: """
        fast_open_at_connect source_route transparent_address bind_to_a_device upper_layer socket_filter
        credentials_of_others
    """,
}
"""Stopped by seccomp, with the error of its rule: another one would mean that something else was in the way."""

PRETENDED = ["change_the_mode", "change_the_times", "change_the_owner", "write_out_all_disks"]

WORKING = words(
    """
use_temporary_files run_threads run_an_event_loop signal_itself read_what_python_needs trust_certificates
use_a_database set_up_a_client_socket name_threads_and_read_limits get_nicer
    pin_itself tell_the_time
"""
)

CAPABLE = ["open_a_file_against_its_mode", "take_precedence"]
LEFT = ["descriptors", "environment", "limits", "circumstances", "every_other_family", "stat_a_file"]
LAST = ["open_too_many_files", "write_too_large_a_file", "use_too_much_memory"]

COMBINATIONS = {
    "strict": {"layers": Layers()},
    "standard": {"layers": Layers(bubblewrap=False)},
    "standard, first Landlock": {"layers": Layers(bubblewrap=False, landlock_version=1)},
    "standard, third Landlock": {"layers": Layers(bubblewrap=False, landlock_version=3)},
    "strict, ordinary user": {"layers": Layers(), "user": NOBODY},
    "standard, ordinary user": {"layers": Layers(bubblewrap=False), "user": NOBODY},
}


@pytest.fixture(scope="module")
def targets():
    """A file of the server in a folder, one that workers may read, a listener and a text in memory.

    Every user of the machine may write the files: nothing but the sandbox keeps workers from them.
    """
    memory = ctypes.create_string_buffer(b"text")
    with (
        tempfile.TemporaryDirectory() as top,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        folder, shared = Path(top) / "server", Path(top) / "shared"
        for path in (Path(top), folder, shared):
            path.mkdir(exist_ok=True)
            path.chmod(0o777)
        for path, text in ((folder / "secret", SECRET), (folder / "removable", ""), (shared / "readable", "shared")):
            path.write_text(text)
            path.chmod(0o666)
        listener.setblocking(False)
        yield {
            "pid": os.getpid(),
            "group": os.getpgid(0),
            "folder": str(folder),
            "file": str(folder / "secret"),
            "removable": str(folder / "removable"),
            "shared": str(shared),
            "readable": str(shared / "readable"),
            "address": ctypes.addressof(memory),
            "memory": memory,
            "port": listener.getsockname()[1],
            "listener": listener,
        }


def told(targets):
    return {name: value for name, value in targets.items() if name not in ("memory", "listener")}


@pytest.fixture(scope="module", params=COMBINATIONS)
def worker(request, targets):
    """What all attempts came to in one combination of layers, user and kernel."""
    given = COMBINATIONS[request.param]
    if given["layers"].bubblewrap and bubblewrap.why_not():
        pytest.skip(bubblewrap.why_not())
    if given.get("user") is not None and confined.why_no_nobody():
        pytest.skip(confined.why_no_nobody())
    if landlock.version() < (given["layers"].landlock_version or 1):
        pytest.skip("this kernel has no Landlock, or an older one")
    before = os.stat(targets["file"])
    names = [*LEFT, *FILES, *words(" ".join(CALLS.values())), *PRETENDED, *WORKING, *CAPABLE, *LAST]
    outcome = confined.run(names, SOURCE, told(targets), network="unbrokered", packages=(targets["shared"],), **given)
    assert outcome.status == 0, outcome.errors
    outcome.before, outcome.combination = before, request.param
    return outcome


@pytest.mark.parametrize("name", FILES)
def test_files_outside_are_out_of_reach(worker, name):
    assert worker.refused(name) in (errno.EACCES, errno.ENOENT, errno.EXDEV, errno.EPERM, errno.EROFS)


@pytest.mark.parametrize(("name", "error"), [(name, error) for error, names in CALLS.items() for name in words(names)])
def test_calls_that_reach_beyond_the_process_are_refused(worker, name, error):
    assert worker.refused(name) == error


def test_no_other_family_of_sockets_exists(worker):
    assert worker.value("every_other_family") == []


@pytest.mark.parametrize("name", PRETENDED)
def test_some_calls_only_pretend(worker, targets, name):
    if "strict" not in worker.combination:  # there, the file does not exist
        worker.value(name)
    after = os.stat(targets["file"])
    before = worker.before
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)


@pytest.mark.parametrize("name", CAPABLE)
def test_being_root_is_worth_nothing(worker, name):
    assert worker.refused(name) == errno.EACCES


def test_existence_shows_only_without_a_mount_view(worker):
    if "strict" in worker.combination:
        assert worker.refused("stat_a_file") == errno.ENOENT
    else:
        assert worker.value("stat_a_file") == len(SECRET)


def test_the_file_is_as_it_was(worker, targets):
    with open(targets["file"]) as file:
        assert file.read() == SECRET
    assert sorted(os.listdir(targets["folder"])) == ["removable", "secret"]
    assert Path(targets["readable"]).read_text() == "shared"


@pytest.mark.parametrize("name", WORKING)
def test_ordinary_things_work(worker, name):
    worker.value(name)


def test_signals_to_itself_arrive(worker):
    assert worker.value("signal_itself") == ["signal", "signal", "alarm"]


def test_only_its_own_descriptors_are_open(worker):
    assert len(worker.value("descriptors")) == 4  # three for input and output, and the test's


def test_the_environment_is_its_own(worker):
    found = worker.value("environment")
    assert found["GREETING"] == "hello"
    assert found["HOME"] == found["TMPDIR"] == worker.value("circumstances")["folder"]
    assert set(found) <= {*confine.VARIABLES, "GREETING"}


def test_its_circumstances(worker):
    found = worker.value("circumstances")
    assert (found["no_new_privs"], found["session"]) == (1, True)
    assert (found["nice"], found["umask"], found["blocked"]) == (os.nice(0) + 5, 0o077, [])
    assert found["uid"] == (NOBODY if "ordinary" in worker.combination else os.getuid())


def test_its_limits(worker):
    found = {name: limit[1] for name, limit in worker.value("limits").items()}
    megabyte = 1 << 20
    assert found["DATA"] == 256 * megabyte
    assert found["AS"] == (256 + 4096) * megabyte
    assert found["FSIZE"] == 16 * megabyte
    assert found["NOFILE"] == 128 + 64
    assert [found[name] for name in ("CORE", "MEMLOCK", "MSGQUEUE")] == [1, 0, 0]


def test_a_crash_leaves_no_core():
    outcome = confined.run(["crash"], SOURCE)
    assert outcome.signal == signal.SIGSEGV
    assert "core dumped" not in outcome.errors


def test_too_much_is_an_error_of_the_call(worker):
    assert worker.said["use_too_much_memory"]["error"] == "MemoryError"
    assert worker.refused("write_too_large_a_file") == errno.EFBIG
    assert worker.refused("open_too_many_files") == errno.EMFILE


def test_the_report_names_what_holds(worker):
    assert worker.report["notes"] == worker.zygote["notes"] == []
    assert all(worker.report[layer] for layer in ("landlock", "seccomp", "capabilities"))
    assert worker.report["landlock_version"] == worker.zygote["landlock_version"]


def test_nobody_was_contacted(worker, targets):
    with pytest.raises(BlockingIOError):
        targets["listener"].accept()


# --- Layers taken away -----------------------------------------------------------------------------------------------


def test_without_landlock_files_are_open_and_the_report_says_so(targets):
    names = ["read_a_file", "list_a_folder", "read_through_a_link", "fork", "signal_the_server"]
    outcome = confined.run(names, SOURCE, told(targets), layers=Layers(bubblewrap=False, landlock=False))
    assert outcome.value("read_a_file") == outcome.value("read_through_a_link") == SECRET
    assert outcome.refused("fork") == outcome.refused("signal_the_server") == errno.EPERM
    assert outcome.report["landlock"] is False
    assert outcome.report["notes"] == ["landlock is switched off."]


def test_without_seccomp_calls_go_through_and_landlock_still_holds(targets):
    names = ["fork", "make_a_file_in_memory", "unix", "udp", "datagram_pair", "watch_a_folder", "read_a_file"]
    names += ["signal_the_server", "connect", "circumstances"]
    layers = Layers(bubblewrap=False, seccomp=False)
    outcome = confined.run(names, SOURCE, told(targets), layers=layers, network="unbrokered")
    for name in ("fork", "make_a_file_in_memory", "unix", "udp", "datagram_pair", "watch_a_folder"):
        outcome.value(name)
    assert outcome.refused("read_a_file") == errno.EACCES
    if landlock.version() >= 6:
        assert outcome.refused("signal_the_server") == errno.EPERM
        assert outcome.refused("connect") == errno.EACCES
    assert outcome.value("circumstances")["no_new_privs"] == 1
    assert outcome.report["notes"] == ["seccomp is switched off."]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no capabilities to keep")
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no capabilities to keep")
@pytest.mark.parametrize("name", CAPABLE)
def test_root_without_dropping_keeps_its_capabilities(name):
    layers = Layers(bubblewrap=False, capabilities=False)
    outcome = confined.run([name], SOURCE, layers=layers)
    outcome.value(name)
    assert outcome.report["notes"] == ["capabilities is switched off."]


def test_without_network_there_is_no_socket(targets):
    outcome = confined.run(
        ["set_up_a_client_socket", "connect", "connect_nowhere", "run_an_event_loop"], SOURCE, told(targets)
    )
    for name in ("set_up_a_client_socket", "connect", "connect_nowhere"):
        assert outcome.refused(name) == errno.EACCES
    assert outcome.value("run_an_event_loop") == 42


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the second call table is of x86")
@pytest.mark.parametrize("name", ["call_by_another_table", "interrupt_as_on_32_bits"])
def test_another_call_table_ends_the_process(name):
    outcome = confined.run([name], SOURCE)
    # Without that table in the kernel the instruction itself is a fault.
    assert outcome.signal in (signal.SIGSYS, signal.SIGSEGV)


# --- Trapped calls ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("combination", ["strict", "standard", "strict, ordinary user", "standard, ordinary user"])
def test_a_connection_waits_for_the_server_which_opens_it(targets, combination):
    given = COMBINATIONS[combination]
    if given["layers"].bubblewrap and bubblewrap.why_not():
        pytest.skip(bubblewrap.why_not())
    if given.get("user") is not None and confined.why_no_nobody():
        pytest.skip(confined.why_no_nobody())
    program = (
        SOURCE
        + """

def talk(targets):
    with socket.socket() as client:
        client.settimeout(10)
        client.connect(("192.0.2.1", 80))
        client.sendall(b"hello")
        return [client.recv(16).decode(), list(client.getpeername())]
"""
    )
    with confined.started(["talk", "connect"], program, told(targets), network="brokered", **given) as (boot, _):
        message, [listener], _, _ = socket.recv_fds(boot, 1 << 16, 1)
        assert b'"network": "brokered"' in message
        trapped = kernel.receive_trapped(listener)
        assert trapped.number == kernel.NUMBER["connect"]
        descriptor, address, size = trapped.arguments[:3]
        raw = kernel.read_memory(trapped.thread, address, size)
        assert raw[:8] == int.to_bytes(socket.AF_INET, 2, sys.byteorder) + b"\x00\x50" + socket.inet_aton("192.0.2.1")
        assert kernel.still_waits(listener, trapped.id)
        assert os.readlink(f"/proc/{trapped.thread}/fd/{descriptor}").startswith("socket:")

        targets["listener"].setblocking(True)
        with socket.create_connection(("127.0.0.1", targets["port"])) as mine:
            kernel.give_descriptor(listener, trapped.id, mine.fileno(), descriptor)
        kernel.answer_trapped(listener, trapped.id)
        peer, _ = targets["listener"].accept()
        targets["listener"].setblocking(False)
        with peer:
            assert peer.recv(16) == b"hello"
            peer.sendall(b"welcome")

        trapped = kernel.receive_trapped(listener)
        kernel.answer_trapped(listener, trapped.id, error=errno.ECONNREFUSED)
        assert kernel.still_waits(listener, trapped.id) is False
        os.close(listener)
        said = b""
        while more := boot.recv(1 << 16):
            said += more
    assert f'{{"name": "talk", "value": ["welcome", ["127.0.0.1", {targets["port"]}]]}}'.encode() in said
    assert b'"error": "ConnectionRefusedError"' in said


def test_a_caller_that_is_gone_needs_no_answer(targets):
    with confined.started(["connect"], SOURCE, told(targets), network="brokered") as (boot, process):
        _, [listener], _, _ = socket.recv_fds(boot, 1 << 16, 1)
        trapped = kernel.receive_trapped(listener)
        os.kill(trapped.thread, signal.SIGKILL)
        assert process.wait(10) == 128 + signal.SIGKILL
        assert kernel.still_waits(listener, trapped.id) is False
        os.close(listener)
