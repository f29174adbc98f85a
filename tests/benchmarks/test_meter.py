"""The meter reads the kernel's accounts; SCRAM is checked against a server's arithmetic."""

import base64
import hashlib
import hmac
import subprocess
import sys
import time

from benchmarks.load.login import _order
from benchmarks.load.meter import Cpu, family, percentile, readCpu, readMemory
from benchmarks.load.scram import Scram

_BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def testCpuOfAProcessAndItsChildren() -> None:
    """The work of a process and of a child that has already ended is all counted."""
    child = f"subprocess.run([sys.executable, '-c', {_BURN!r}])\n"
    code = f"import subprocess, sys\n{_BURN}{child}print(1, flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            main, others = readCpu(process.pid).since(Cpu(0, 0, 0, 1))
            assert 0.3e6 <= main < 0.6e6
            assert 0.25e6 <= others < 0.7e6
            memory = readMemory(process.pid)
            assert memory.rss > 2000 and memory.pss > 500 and memory.childRss == 0
        finally:
            process.kill()


def testFamilyIncludesChildren() -> None:
    """Descendants belong to the server."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pids = family(process.pid)
        for pid in reversed(pids):
            subprocess.run(["kill", str(pid)], check=True)
        assert pids[0] == process.pid and len(pids) == 2


def testNoProcessCostsNothing() -> None:
    """Without a pid the figures are zero."""
    assert readCpu(0).since(readCpu(0)) == (0.0, 0.0)
    assert readMemory(0).rss == 0


def testPercentile() -> None:
    """Percentiles of known samples."""
    samples = [float(number) for number in range(100)]
    assert (percentile(samples, 0.5), percentile(samples, 0.99), percentile([], 0.5)) == (50.0, 99.0, 0.0)


def testScramProvesBothSides() -> None:
    """A server with the salted password accepts the proof, and the client accepts only that server's signature."""
    client = Scram("user0", "pencil")
    first = base64.b64decode(client.first()).removeprefix(b"n,,")
    nonce = first.partition(b"r=")[2] + b"server"
    salt, rounds = b"saltsaltsalt", 4096
    challenge = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(salt), rounds)
    final = base64.b64decode(client.final(base64.b64encode(challenge)))
    without, _, proof = final.rpartition(b",p=")
    said = b",".join((first, challenge, without))
    salted = hashlib.pbkdf2_hmac("sha1", b"pencil", salt, rounds)
    clientKey = hmac.digest(salted, b"Client Key", "sha1")
    mask = hmac.digest(hashlib.sha1(clientKey).digest(), said, "sha1")
    assert bytes(a ^ b for a, b in zip(base64.b64decode(proof), mask, strict=True)) == clientKey
    signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha1"), said, "sha1")
    assert client.verify(base64.b64encode(b"v=" + base64.b64encode(signature)))
    assert not client.verify(base64.b64encode(b"v=" + base64.b64encode(bytes(20))))


def testLoginOrderKeepsContactsApart() -> None:
    """Users who are online together in the login workload are no contacts (up to ten places apart in a ring)."""
    order = list(_order(1000))
    assert sorted(order) == list(range(1000))
    for place, one in enumerate(order):
        for other in order[place + 1 : place + 32]:
            if one // 100 == other // 100:
                assert 10 < (one - other) % 100 < 90


def testReadingIsCheap() -> None:
    """A reading must not disturb the measurement."""
    start = time.process_time()
    readCpu(1)
    assert time.process_time() - start < 0.1
