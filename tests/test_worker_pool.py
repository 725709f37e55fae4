"""Pools of processes end with the process that has them, however that ends."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parent.parent
POOL = """
import os, time
from agent.evaluation.worker_pool import open_worker_pool

if __name__ == "__main__":
    with open_worker_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        {work}
        time.sleep(600)
"""


@pytest.mark.parametrize("work", ["", "pool.submit(time.sleep, 600)"], ids=["idle", "at work"])
def test_a_process_ends_with_its_parent(tmp_path: Path, work: str) -> None:
    """A process of a pool whose parent is killed ends at once, also while it waits for work."""
    script = tmp_path / "pool.py"
    script.write_text(POOL.format(work=work))
    command, environment = [sys.executable, str(script)], os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    try:
        _, alive = psutil.wait_procs([worker], timeout=10)
        assert alive == []
    finally:
        if worker.is_running():
            worker.kill()
