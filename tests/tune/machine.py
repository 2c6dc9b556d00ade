"""A made-up machine below a folder, and the tuner as a process that may be killed at any step.

The tuner runs in a fork of the test, so that it can be killed by SIGKILL before its N-th change of
anything on disk: nothing of it runs afterwards, as after a power cut.
"""

import importlib.machinery
import importlib.util
import io
import os
import signal
import stat
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
TUNE = os.path.join(ROOT, "scripts", "tune")
CHANGES = ("write", "fsync", "fchmod", "fchown", "rename", "unlink", "symlink", "mkdir", "rmdir")


def load(path):
    """A script as a module; it puts the packages that it needs on the path."""
    sys.dont_write_bytecode = True
    name = os.path.basename(path) + "_script"
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


SCRIPT = load(TUNE)


class Ran:
    """How a run of the tuner ended: its code (-9: killed), and what it said."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


def tune(*words, kill_at=None, sabotage=None):
    """Runs the tuner; `kill_at` N kills it before its N-th change, `sabotage` is run in it."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
            sys.argv = [TUNE, *words]
            if sabotage:
                sabotage()
            if kill_at is not None:
                kill_before(kill_at)
            try:
                SCRIPT.main()
            except SystemExit as end:
                code = end.code or 0
        except BaseException as error:  # a crash is told to the test
            sys.stderr.write(f"crashed: {error!r}")
        finally:
            deliver(out_write, sys.stdout.getvalue())
            deliver(err_write, sys.stderr.getvalue())
            os._exit(code)
    os.close(out_write)
    os.close(err_write)
    out, err = drain(out_read), drain(err_read)
    _, status = os.waitpid(child, 0)
    return Ran(os.waitstatus_to_exitcode(status), out, err)


REAL_WRITE = os.write


def deliver(pipe, text):
    data = text.encode()
    while data:
        data = data[REAL_WRITE(pipe, data) :]


def drain(pipe):
    with os.fdopen(pipe, "rb") as file:
        return file.read().decode()


def kill_before(number):
    """Every change of the disk counts; the one with this number is not made."""
    left = [number]

    def counted(real):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))


def picture(folder):
    """Every file, folder and link below a folder: contents, mode and owner."""
    found = {}
    for where, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(where, name)
            key = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[key] = os.readlink(path)
            elif os.path.isdir(path):
                found[key] = "folder"
            else:
                seen = os.stat(path)
                with open(path, "rb") as file:
                    contents = file.read()
                found[key] = (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, contents)
    return found


# Values that all fall short, and how the kernel prints them.
SYSCTLS = {
    "net/ipv4/ip_local_reserved_ports": "",
    "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/ipv4/tcp_tw_reuse": "2",
    "fs/nr_open": "1024",
    "fs/file-max": "1000",
    "net/core/somaxconn": "128",
    "net/ipv4/tcp_max_syn_backlog": "128",
    "net/ipv4/tcp_syncookies": "0",
    "net/core/netdev_max_backlog": "1000",
    "net/ipv4/tcp_mem": "100\t200\t300",
    "net/ipv4/tcp_rmem": "4096\t131072\t33554432",
    "net/ipv4/tcp_wmem": "4096\t16384\t41943040",
    "net/ipv4/tcp_notsent_lowat": "4294967295",
    "net/ipv4/tcp_slow_start_after_idle": "1",
    "net/ipv4/tcp_migrate_req": "0",
    "net/ipv4/tcp_max_orphans": "1",
    "net/ipv4/tcp_congestion_control": "reno",
    "vm/swappiness": "60",
    "kernel/numa_balancing": "1",
    "kernel/io_uring_disabled": "2",
}


def make(root, cores=8, queues=2):
    """A machine with a network device of real hardware, another without, and no conntrack."""

    def put(path, text):
        whole = os.path.join(root, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w", encoding="ascii") as file:
            file.write(text)

    for path, text in SYSCTLS.items():
        put(f"proc/sys/{path}", text + "\n")
    put("proc/meminfo", "MemTotal:       16777216 kB\n")
    put("sys/devices/system/cpu/online", f"0-{cores - 1}\n")
    put("sys/devices/system/node/node0/cpulist", f"0-{cores - 1}\n")
    put("sys/kernel/mm/transparent_hugepage/enabled", "always\n")
    for cpu in range(cores):
        put(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", "powersave\n")
    table = "            CPU0\n"
    for queue in range(queues):
        put(f"sys/class/net/eth0/queues/rx-{queue}/rps_cpus", "00\n")
        put(f"sys/class/net/eth0/queues/tx-{queue}/xps_cpus", "00\n")
        put(f"proc/irq/{40 + queue}/smp_affinity_list", f"0-{cores - 1}\n")
        put(f"sys/class/net/eth0/device/msi_irqs/{40 + queue}", "msix\n")
        table += f" {40 + queue}:  1  PCI-MSIX  eth0-TxRx-{queue}\n"
    put("proc/interrupts", table)
    put("proc/irq/9/smp_affinity_list", f"0-{cores - 1}\n")
    put("sys/class/net/veth0/queues/rx-0/rps_cpus", "0\n")
    put("etc/sysctl.d/90-corecast.conf", "# mine, from before\nvm.swappiness = 5\n")
    os.chmod(os.path.join(root, "etc/sysctl.d/90-corecast.conf"), 0o640)
    os.makedirs(os.path.join(root, "etc/systemd/system"), exist_ok=True)
    os.makedirs(os.path.join(root, "var/lib"), exist_ok=True)
