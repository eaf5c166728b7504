# SPDX-License-Identifier: Apache-2.0
"""Builds a guest (an initramfs around one binary), boots it in QEMU and brings back what its runs left."""
import base64
import gzip
import io
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

from packages import CACHE, ROOT, Unavailable, busybox, call, locked

HERE = pathlib.Path(__file__).resolve().parent
WORKLOADS = ["autoreap", "blockio", "burn", "capper", "connects", "daemon", "denysys", "faults", "forkexec", "forkstorm", "futexes", "latencies",
             "leaderexit", "limiter", "mapper", "signaler", "sleeps", "sockbytes", "spike", "syscalls", "sysloop", "tcp", "threadexec", "threads",
             "together", "write"]
HELPERS = ["as", "filecaps", "loop", "rusage"]
# For network bytes by sock_diag, and for a scratch disk, /dev/vda.
MODULES = ["inet_diag", "tcp_diag", "virtio_pci", "virtio_blk"]
DISK_BYTES = 64 << 20
MACHINES = {
    # One thread: with one per CPU, code that the kernel patches is now and then run half patched. Without cx16: with it, guests die too.
    "amd64": ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max,-cx16"],
    "arm64": ["qemu-system-aarch64", "-machine", "virt", "-cpu", "max"],
}
CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
COMPILER = {"amd64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}
BOOT_SECONDS, RUN_SECONDS = 90, 480


class Silent(Exception):
    """The guest ended, or did not, without handing out anything."""


def host_arch():
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def programs(arch):
    """The static workloads and helpers, made when a source is newer."""
    return locked(lambda: make_programs(arch))


def make_programs(arch):
    folder = CACHE / f"programs-{arch}"
    folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which(COMPILER[arch]):
        raise Unavailable(f"no {COMPILER[arch]}")
    sources = [ROOT / "tests/workloads" / f"{name}.c" for name in WORKLOADS] + [HERE / "guest" / f"{name}.c" for name in HELPERS]
    made = []
    for source in sources:
        target = folder / source.stem
        newest = max(source.stat().st_mtime, (ROOT / "tests/workloads/workload.h").stat().st_mtime)
        if not target.exists() or target.stat().st_mtime < newest:
            call([COMPILER[arch], "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-static", "-no-pie", "-o", target, source, "-pthread"])
        made.append(target)
    return made


def fake_pmu(kernel):
    """The module of fakepmu/ for this kernel."""
    folder = CACHE / f"fakepmu-{kernel.release}"
    target = folder / "fakepmu.ko"
    sources = [HERE / "fakepmu" / name for name in ("Kbuild", "fakepmu.c")]
    if target.exists() and all(source.stat().st_mtime < target.stat().st_mtime for source in sources):
        return target
    for tool in ("make", "gcc-12"):
        if not shutil.which(tool):
            raise Unavailable(f"no {tool} to build the module with")

    def build():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for source in sources:
            shutil.copy(source, folder)
        call(["make", "-C", kernel.folder / "headers/usr/src" / f"linux-headers-{kernel.release}", f"M={folder}", "modules"])

    locked(build)
    return target


def stem(path):
    return path.name.partition(".ko")[0].replace("-", "_")


def module_bytes(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    return path.read_bytes()


class Archive:
    """A cpio archive, as the kernel wants its first root."""

    def __init__(self):
        self.data, self.inode = io.BytesIO(), 0

    def add(self, name, mode, content=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0]
        self.data.write(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
        self.pad()
        self.data.write(content)
        self.pad()

    def pad(self):
        self.data.write(b"\0" * (-self.data.tell() % 4))

    def folder(self, name):
        self.add(name, 0o40755)

    def program(self, name, content):
        self.add(name, 0o100755, content)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return gzip.compress(self.data.getvalue(), 1)


def initramfs(arch, denet, plan, modules):
    archive = Archive()
    for name in ("bin", "dev", "etc", "modules", "proc", "sys"):
        archive.folder(name)
    archive.add("dev/console", 0o20600, device=(5, 1))
    archive.program("init", (HERE / "guest/init").read_bytes())
    archive.program("bin/busybox", busybox(arch, host_arch()).read_bytes())
    archive.program("bin/denet", denet.read_bytes())
    archive.add("etc/passwd", 0o100644, b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    archive.add("plan", 0o100644, plan.encode())
    for path in programs(arch):
        archive.program(f"bin/{path.name}", path.read_bytes())
    for name, files in modules.items():
        archive.add(f"modules/{name}", 0o100644, "".join(f"{stem(path)}\n" for path in files).encode())
    for path in dict.fromkeys(path for files in modules.values() for path in files):
        archive.add(f"modules/{stem(path)}.ko", 0o100644, module_bytes(path))
    return archive.finish()


class Case:
    """What one run in the guest left."""

    def __init__(self, name, files):
        self.name = name
        self.out, self.err, self.stream = (files.get(f"{name}/{part}", b"") for part in ("out", "err", "stream"))
        status = files.get(f"{name}/status", b"").strip()
        self.status = int(status) if status.isdigit() else None


class Results:
    def __init__(self, files, problems, log):
        self.files, self.problems, self.log = files, problems, log

    def complaints(self):
        return re.findall(r"(?:WARNING|BUG|Oops|general protection fault|Unable to handle)\b.*", self.files.get("dmesg", b"").decode("utf-8", "replace"))

    def case(self, name):
        return Case(name, self.files)


def boot(slot, arch, kernel, denet, plan, modules, options=()):
    """Boots until the guest has handed out its results. Tried again only when the guest died before its first line."""
    program = MACHINES[arch][0]
    if not shutil.which(program):
        raise Unavailable(f"no {program}")
    folder = CACHE / "runs" / slot
    folder.mkdir(parents=True, exist_ok=True)
    initrd, log = folder / "initrd", folder / "console"
    initrd.write_bytes(initramfs(arch, denet, plan, modules))
    with open(folder / "disk", "wb") as disk:
        disk.truncate(DISK_BYTES)
    command = [*MACHINES[arch], *options, "-drive", f"file={folder}/disk,format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk", "-m", "768", "-kernel", kernel.image, "-initrd", initrd,
               "-append", f"console={CONSOLE[arch]} quiet panic=-1", "-display", "none", "-no-reboot", "-nodefaults", "-serial", f"file:{log}", "-monitor", "none"]
    for _ in range(3):
        log.write_bytes(b"")
        started = watch(command, log)
        text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\r", b"", log.read_bytes()).decode("ascii", "replace")
        if started:
            break
    else:
        raise Silent(f"three boots without a first line, see {log}")
    found = re.search(r"^GUEST-RESULTS\n([A-Za-z0-9+/=\n]*)^GUEST-END$", text, re.M)
    if not found:
        tail = [line for line in text.splitlines() if line.strip()][-3:]
        raise Silent(f"no results; last lines {tail}, see {log}")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(found[1]))) as tar:
        for member in tar:
            if member.isfile():
                files[member.name.removeprefix("./")] = tar.extractfile(member).read()
    shutil.rmtree(folder / "results", ignore_errors=True)
    for name, content in files.items():
        path = folder / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Results(files, re.findall(r"^GUEST-PROBLEM: (.*)$", text, re.M), log)


def watch(command, log):
    """Whether the guest said its first line."""
    with subprocess.Popen([os.fspath(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(f"{log}.qemu", "wb")) as qemu:
        try:
            qemu.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        started = b"GUEST-START" in log.read_bytes()
        try:
            if started:
                qemu.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        qemu.kill()
        return b"GUEST-START" in log.read_bytes()
