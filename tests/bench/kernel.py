"""ltune's kernel beside ipykernel, in one run: time to ready, round trip of a cell, interrupt of a busy cell.

    .tools/jupyter/bin/python tests/bench/kernel.py      (scripts/test --all makes that environment and installs both)
"""

import statistics
import tempfile
import time

from jupyter_client.manager import KernelManager

TINY = """model m { init = random { preset = tiny } }
data r { from = random; rows = 60; length = 24 tokens }
tune a { model = m; data = r; batch = 4 x 1; epochs = 4000 }
step a 50000"""
KERNELS = {"ltune": ("6 * 7", TINY), "python3": ("6 * 7", "import time\nwhile True: time.sleep(0.001)")}


def measure(name, cell, busy, folder):
    began = time.perf_counter()
    manager = KernelManager(kernel_name=name)
    manager.start_kernel(cwd=folder)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    ready = time.perf_counter() - began
    trips = []
    for _ in range(100):
        began = time.perf_counter()
        client.execute(cell, reply=True, timeout=10)
        trips.append(time.perf_counter() - began)
    client.execute(busy)
    time.sleep(2.0)
    began = time.perf_counter()
    manager.interrupt_kernel()
    while client.get_shell_msg(timeout=60)["msg_type"] != "execute_reply":
        pass
    stopped = time.perf_counter() - began
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return ready, statistics.median(trips) * 1e3, stopped * 1e3


def main():
    print("| kernel | ready | a cell | interrupt |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (cell, busy) in KERNELS.items():
            rounds = [measure(name, cell, busy, folder) for _ in range(3)]
            ready, trip, stopped = (statistics.median(column) for column in zip(*rounds))
            print(f"| {name} | {ready:.2f} s | {trip:.1f} ms | {stopped:.1f} ms |")


main()
