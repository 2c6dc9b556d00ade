"""The machine: cores, memory, network queues, and which cores do what.

Reads below a root, so that a made-up machine can be asked too. Changes nothing.
"""

import glob
import itertools
import os
import re

# How each file that the tuner writes begins.
MARK = "# By scripts/tune"
# Up to this many cores, all of them serve both connections and interrupts.
SHARED_CORES = 4
# With more, one core in this many is kept for interrupts and the bridge.
CORES_PER_NETWORK_CORE = 16
# The server has at most this many workers, and refuses a longer list (WORKERS of src/limits.rs).
WORKERS = 63
# As in src/config/cpus.rs.
CPU_MAX = 4095
PORT_MAX = 65535


class Unknown(Exception):
    """The machine has a layout for which the tuner has no rule."""


class Host:
    """The machine below `root`, or what the caller says that it is."""

    def __init__(self, root, cores=None, memory_bytes=None, network_cpus=None):
        self.root = root.rstrip("/")
        self.cpus = list(range(cores)) if cores else self.online()
        self.memory_bytes = memory_bytes or self.memory()
        self.page_bytes = os.sysconf("SC_PAGE_SIZE")
        self.network_cpus = network_cpus or self.choose_network_cpus()
        if not set(self.network_cpus) <= set(self.cpus):
            raise Unknown(
                f"network cores {compress(self.network_cpus)} are not all among "
                f"{compress(self.cpus)}"
            )

    def path(self, path):
        return self.root + path

    def glob(self, pattern):
        """Paths without the root."""
        found = glob.glob(glob.escape(self.root) + pattern)
        return [path[len(self.root) :] for path in found]

    def text(self, path):
        with open(self.path(path), encoding="latin-1") as file:
            return file.read()

    def online(self):
        try:
            return self.cpu_list("/sys/devices/system/cpu/online") or [0]
        except OSError:
            return list(range(os.cpu_count() or 1))

    def cpu_list(self, path):
        text = self.text(path)
        try:
            return expand(text, CPU_MAX)
        except ValueError as error:
            raise Unknown(f"{path}: {error}") from None

    def memory(self):
        try:
            found = re.search(r"^MemTotal:\s+(\d+) kB", self.text("/proc/meminfo"), re.M)
        except OSError as error:
            raise Unknown(f"/proc/meminfo: {error.strerror}; give --memory-gib") from None
        if not found:
            raise Unknown("/proc/meminfo has no MemTotal; give --memory-gib")
        return int(found.group(1)) * 1024

    def nodes(self):
        nodes = []
        for path in sorted(self.glob("/sys/devices/system/node/node[0-9]*/cpulist")):
            cpus = [cpu for cpu in self.cpu_list(path) if cpu in self.cpus]
            if cpus:
                nodes.append(cpus)
        return nodes or [self.cpus]

    def choose_network_cpus(self):
        """For interrupts and the bridge: all cores of small machines, else each node's last."""
        if len(self.cpus) <= SHARED_CORES:
            return self.cpus
        nodes = self.nodes()
        sizes = {len(cpus) for cpus in nodes}
        if len(sizes) > 1:
            shape = ", ".join(str(len(cpus)) for cpus in nodes)
            raise Unknown(f"NUMA nodes of different sizes ({shape} cores); give --network-cpus")
        per_node = -(-sizes.pop() // CORES_PER_NETWORK_CORE)
        return sorted(cpu for cpus in nodes for cpu in cpus[-per_node:])

    def worker_cpus(self):
        rest = [cpu for cpu in self.cpus if cpu not in self.network_cpus]
        rest = rest or self.cpus
        return rest if len(rest) <= WORKERS else spread(self.by_node(rest), WORKERS)

    def by_node(self, cpus):
        """Cores of each node, and those of none."""
        nodes = [set(node) for node in self.nodes()]
        nodes.append(set(cpus).difference(*nodes))
        return [[cpu for cpu in cpus if cpu in node] for node in nodes]

    def cpu_file(self):
        """What /etc/corecast/cpus says; the server reads it by `cpu_file`."""
        return (
            f"{MARK}; read by the server through `cpu_file`.\n"
            f"workers={compress(self.worker_cpus())}\nbridge={self.network_cpus[-1]}\n"
        )

    def queues(self, device, kind):
        pattern = f"/sys/class/net/{device}/queues/{kind}-*"
        names = [path.rsplit("-", 1)[1] for path in self.glob(pattern)]
        return sorted(int(name) for name in names if name.isdecimal())

    def is_hardware(self, device):
        return os.path.exists(self.path(f"/sys/class/net/{device}/device"))

    def rps(self, path):
        """Cores that a receive queue's work is spread over; none if the queues suffice."""
        device = path.split("/")[4]
        many = len(self.queues(device, "rx")) >= len(self.network_cpus)
        return [] if many else self.network_cpus

    def xps(self, path):
        """Cores that use a transmit queue."""
        device, queue = path.split("/")[4], int(path.split("/")[6].split("-")[1])
        queues = self.queues(device, "tx")
        place = queues.index(queue)
        return [cpu for at, cpu in enumerate(self.cpus) if at % len(queues) == place]

    def network_interrupts(self):
        """Interrupts of network queues, in order, with the cores that they should go to."""
        found = []
        for path in self.glob("/sys/class/net/*/device"):
            names = self.interrupts_of(self.path(path))
            found.extend(names)
        cores = self.network_cpus
        return {irq: [cores[place % len(cores)]] for place, irq in enumerate(sorted(set(found)))}

    def interrupts_of(self, device):
        """A device lists its interrupts; those of virtio are named after it."""
        listed = []
        for folder in (device + "/msi_irqs", device + "/../msi_irqs"):
            names = os.listdir(folder) if os.path.isdir(folder) else []
            listed += [int(name) for name in names if name.isdecimal()]
        name = os.path.basename(os.path.realpath(device))
        try:
            table = self.text("/proc/interrupts")
        except OSError:
            return listed
        queue = re.compile(rf"^\s*(\d+):.*\s{re.escape(name)}-(?:input|output)\S*\s*$", re.M)
        named = [int(number) for number in queue.findall(table)]
        if named or name.startswith("virtio"):
            return named
        return listed


def spread(groups, most):
    """The first ones of each group in turn, up to this many in total."""
    turns = itertools.zip_longest(*groups)
    each = (one for turn in turns for one in turn if one is not None)
    return sorted(itertools.islice(each, most))


def expand(text, most=PORT_MAX):
    """ "0,2-3" as numbers."""
    found = []
    for part in text.strip().split(",") if text.strip() else []:
        ends = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part.strip())
        if not ends:
            raise ValueError(f"{part.strip()[:20]!r} is neither a number nor a range such as 2-3")
        first, last = int(ends.group(1)), int(ends.group(2) or ends.group(1))
        if first > last:
            raise ValueError(f"{part.strip()!r} runs backwards")
        if last > most:
            raise ValueError(f"{last} is above {most}")
        if len(found) + last - first > most:
            raise ValueError("some appear twice")
        found.extend(range(first, last + 1))
    return found


def compress(numbers):
    """Numbers as "0,2-3"."""
    runs = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def mask(cpus):
    """Cores as the kernel writes masks: hexadecimal words of 32 bits."""
    number = sum(1 << cpu for cpu in cpus)
    words = []
    while True:
        words.append(number & 0xFFFFFFFF)
        number >>= 32
        if not number:
            break
    head, *rest = reversed(words)
    return ",".join([f"{head:x}"] + [f"{word:08x}" for word in rest])
