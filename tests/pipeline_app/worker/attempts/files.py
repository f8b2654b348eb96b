"""What author code might try with files. See the package."""

from __future__ import annotations

import os

from pipeline_app.worker import kernel


def call(name, *arguments):
    return kernel.call(name, *arguments)


def opened(name, *arguments):
    os.close(kernel.call(name, *arguments))


# --- Files --------------------------------------------------------------------------------------------------


def read_a_file(targets):
    with open(targets["file"]) as file:
        return file.read()


def read_through_a_link(targets):
    os.symlink(targets["file"], "link")
    with open("link") as file:
        return file.read()


def read_through_a_linked_folder(targets):
    os.symlink(targets["folder"], "folder-link")
    with open("folder-link/secret") as file:
        return file.read()


def read_beside_the_scratch_folder(targets):
    return os.listdir("..")


def read_from_an_open_folder(targets):
    folder = os.open(targets["folder"], os.O_PATH)
    os.close(os.open("secret", os.O_RDONLY, dir_fd=folder))


def read_after_changing_into_the_folder(targets):
    os.chdir(targets["folder"])
    try:
        with open("secret") as file:
            return file.read()
    finally:
        os.chdir(os.environ["HOME"])


def list_a_folder(targets):
    return os.listdir(targets["folder"])


def list_the_root(targets):
    return os.listdir("/")


def list_processes(targets):
    return os.listdir("/proc")


def read_the_environment_of_the_server(targets):
    return open(f"/proc/{targets['pid']}/environ", "rb").read()


def read_own_memory_map(targets):
    return open("/proc/self/maps").read()


def write_a_file(targets):
    open(targets["file"], "a").close()


def make_a_file(targets):
    os.close(os.open(targets["folder"] + "/new", os.O_CREAT | os.O_WRONLY))


def make_a_nameless_file(targets):
    os.close(os.open(targets["folder"], os.O_TMPFILE | os.O_WRONLY))


def make_a_folder(targets):
    os.mkdir(targets["folder"] + "/new-folder")


def truncate_a_file(targets):
    os.truncate(targets["file"], 0)


def truncate_while_opening_to_read(targets):
    os.close(os.open(targets["readable"], os.O_RDONLY | os.O_TRUNC))


def truncate_while_opening_for_nothing(targets):
    # The access mode 3 asks for the right to read and write, and gives neither: Landlock sees no access in it.
    os.close(os.open(targets["readable"], 3 | os.O_TRUNC))


def empty_by_the_oldest_call(targets):
    opened("creat", targets["readable"].encode() + b"\0", 0o600)


def write_what_may_be_read(targets):
    open(targets["readable"], "r+").close()


def remove_what_may_be_read(targets):
    os.unlink(targets["readable"])


def take_what_may_be_read_by_a_hard_link(targets):
    os.link(targets["readable"], "hard")


def rename_a_file(targets):
    os.rename(targets["file"], targets["folder"] + "/renamed")


def take_a_file_by_renaming(targets):
    os.rename(targets["file"], "taken")


def take_a_file_by_a_hard_link(targets):
    os.link(targets["file"], "hard")


def remove_a_file(targets):
    os.unlink(targets["removable"])


def run_a_program_of_the_scratch_folder(targets):
    with open("program", "w") as file:
        file.write("#!/bin/sh\n")
    os.posix_spawn("program", ["program"], {})


def share_memory(targets):
    os.close(os.open("/dev/shm/probe", os.O_CREAT | os.O_RDWR))


def make_a_device(targets):
    os.mknod("device", 0o600 | 0o020000, os.makedev(1, 1))


def make_a_pipe_with_a_name(targets):
    os.mkfifo("fifo")


def open_the_disk_s_memory(targets):
    return os.open("/dev/mem", os.O_RDONLY)


def stat_a_file(targets):
    return os.stat(targets["file"]).st_size


# --- What pretends, and what is not supported ---------------------------------------------------------------


def change_the_mode(targets):
    os.chmod(targets["file"], 0o777)


def change_the_times(targets):
    os.utime(targets["file"], (1, 1))


def change_the_owner(targets):
    os.chown(targets["file"], os.getuid(), os.getgid())


def write_out_all_disks(targets):
    os.sync()


def set_an_attribute(targets):
    os.setxattr(targets["file"], "user.probe", b"1")


def read_an_attribute(targets):
    return os.getxattr(targets["file"], "user.secret")


def list_attributes(targets):
    return os.listxattr(targets["file"])


def take_room_on_the_disk(targets):
    with open("large", "wb") as file:
        call("fallocate", file.fileno(), 1, 0, 1 << 30)
