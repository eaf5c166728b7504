# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels, fetched with an apt state of our own, unpacked into .cache/kernels and never installed."""
import fcntl
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "kernels"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """What is needed can't be had here; a slot is then skipped with this reason."""


def call(argv, **kwargs):
    try:
        done = subprocess.run([os.fspath(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", **kwargs)
    except FileNotFoundError as error:
        raise Unavailable(f"no {argv[0]}") from error
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{' '.join(os.fspath(a) for a in argv[:2])} ended with {done.returncode}: {text[-1] if text else 'no output'}")
    return done.stdout


@functools.lru_cache(None)
def sources():
    """Where this machine gets Debian and its security updates from."""
    if not shutil.which("apt-get"):
        raise Unavailable("no apt-get: kernels are fetched on Debian only")
    listed = call(["apt-get", "indextargets", "--format", "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(ORIGIN)"])
    uris = {}
    for line in listed.splitlines():
        kind, uri, release, origin = line.split("|")
        if kind == "Packages" and (origin == "Debian" or re.search(r"/debian(-security)?/?$", uri)):
            uris.setdefault("security" if release.endswith("-security") else "main", uri)
    if "main" not in uris:
        raise Unavailable("apt of this machine knows no Debian archive")
    return uris


class Suite:
    """One suite of one architecture with its own lists."""

    def __init__(self, name, arch):
        uri = sources().get("security" if name.endswith("-security") else "main")
        if not uri:
            raise Unavailable(f"apt of this machine has no source for {name}")
        self.name, self.state = name, CACHE / "apt" / f"{name}-{arch}"
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        (self.state / "sources.list").write_text(f"deb [signed-by={KEYRING} arch={arch}] {uri} {name} main\n")
        self.options = ["-o", f"Dir::State::Lists={self.state}/lists", "-o", "Dir::State::status=/dev/null", "-o", f"Dir::Cache={self.state}/cache",
                        "-o", f"Dir::Etc::sourcelist={self.state}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Sandbox::User=",
                        "-o", f"APT::Architecture={arch}", "-o", f"APT::Architectures={arch}", "-o", "Acquire::Languages=none",
                        "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]

    def update(self):
        call(["apt-get", *self.options, "-q", "--error-on=any", "update"])

    def newest(self, pattern):
        """The newest package whose whole name matches."""
        names = call(["apt-cache", *self.options, "pkgnames", pattern.partition("[")[0].replace("\\", "")]).split()
        names = [name for name in names if re.fullmatch(pattern, name)]
        if not names:
            raise Unavailable(f"no package {pattern} in {self.name}")
        return max(names, key=lambda name: [int(word) if word.isdigit() else 0 for word in re.split(r"[.+~-]", name)])

    def depends(self, package):
        shown = call(["apt-cache", *self.options, "show", "--no-all-versions", package])
        return re.findall(r"([a-z0-9][a-z0-9+.-]+)", " ".join(re.findall(r"^(?:Pre-)?Depends: (.*)$", shown, re.M)))

    def unpack(self, packages, target):
        call(["apt-get", *self.options, "-q", "download", *packages], cwd=self.state)
        for package in packages:
            for deb in self.state.glob(f"{package}_*.deb"):
                call(["dpkg-deb", "-x", deb, target])
                deb.unlink()


def locked(action):
    """One at a time: two runs may want the same kernel."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return action()


class Kernel:
    def __init__(self, folder, release):
        self.folder, self.release = folder, release
        self.image = next((path for pattern in ("boot/vmlinu[xz]-*", "usr/boot/vmlinu[xz]-*", f"usr/lib/modules/{release}/vmlinu[xz]*") for path in folder.glob(pattern)), None)

    def modules(self, names):
        """{name: [file, ...]}: of each module that is not built in its files, those that it needs first."""
        base = next((p for p in (self.folder / "lib/modules", self.folder / "usr/lib/modules") if p.exists()), self.folder)
        # One module may be told of by two spellings.
        files = {path.name.partition(".ko")[0].replace("-", "_"): path for path in base.glob(f"{self.release}/**/*.ko*")}

        def needed(name):
            path = files.get(name.replace("-", "_"))
            if not path:
                return []
            depends = call(["/sbin/modinfo", "-F", "depends", path]).strip().split(",")
            return list(dict.fromkeys([*(file for word in depends if word for file in needed(word)), path]))

        return {name: needed(name) for name in names if needed(name)}


def kernel(slot, suites, pattern, arch, headers=False, refresh=False):
    """The newest kernel that matches in the first suite that has one; from the cache unless refresh."""
    return locked(lambda: fetch_kernel(slot, suites, pattern, arch, headers, refresh))


def fetch_kernel(slot, suites, pattern, arch, headers, refresh):
    note = CACHE / f"{slot}-{arch}.json"
    if note.exists() and not refresh:
        known = json.loads(note.read_text())
        result = Kernel(CACHE / known["folder"], known["release"])
        if result.image and (not headers or (result.folder / "headers").exists()):
            return result
    reasons = []
    for name in suites:
        try:
            suite = Suite(name, arch)
            suite.update()
            package = suite.newest("linux-image-" + pattern)
            break
        except Unavailable as error:
            reasons.append(f"{name}: {error}")
    else:
        raise Unavailable("; ".join(reasons))
    release = package.removeprefix("linux-image-")
    folder = CACHE / f"{release}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        binary, modules = f"linux-binary-{release}", f"linux-modules-{release}"
        split = binary in suite.depends(package)
        suite.unpack([binary, modules] if split else [package], folder)
        (folder / "complete").touch()
    if headers and not (folder / "headers" / "complete").exists():
        fetch_headers(suite, release, folder / "headers")
    note.write_text(json.dumps({"folder": folder.name, "release": release, "suite": name}))
    result = Kernel(folder, release)
    if not result.image:
        raise Unavailable(f"{package} holds no kernel")
    return result


def fetch_headers(suite, release, folder):
    shutil.rmtree(folder, ignore_errors=True)
    package = f"linux-headers-{release}"
    more = [name for name in suite.depends(package) if re.fullmatch(r"linux-(headers-.*-common|kbuild-.*)", name)]
    suite.unpack([package, *more], folder)
    # They refer to each other by the paths of an installation.
    for path in folder.glob("usr/src/linux-headers-*/**/*"):
        if path.is_symlink() and os.readlink(path).startswith(("/usr/", "../../lib/", "../lib/")):
            target = os.readlink(path)
            if target.startswith("/"):
                path.unlink()
                path.symlink_to(f"{folder}{target}")
        elif path.name in ("Makefile", ".kernelvariables") and path.is_file():
            text = path.read_text()
            if "/usr/src/" in text or "/usr/lib/linux-kbuild" in text:
                path.write_text(re.sub(r"(?<![\w.])/usr/(src|lib)/linux-", rf"{folder}/usr/\1/linux-", text))
    (folder / "complete").touch()


def busybox(arch, host_arch):
    """A static busybox of that architecture."""
    if arch == host_arch and shutil.which("busybox"):
        return pathlib.Path(shutil.which("busybox"))
    folder = CACHE / f"busybox-{arch}"

    def fetch():
        if not (folder / "complete").exists():
            suite = Suite(call(["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"]).strip(), arch)
            suite.update()
            suite.unpack(["busybox-static"], folder)
            (folder / "complete").touch()

    locked(fetch)
    return next(path for path in (folder / "bin/busybox", folder / "usr/bin/busybox") if path.exists())
