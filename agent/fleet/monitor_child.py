"""`python -m agent.fleet.monitor_child PARENT ARGUMENT…`: `ecg-agent` with arguments, which ends with its parent.

However the parent ends: its end of our standard input closes, and on Linux the kernel kills us, even if we stand still.
"""

import contextlib
import ctypes
import os
import runpy
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
LAST_S = 5.0
"""How long the end in order may take once the parent is gone."""


def main() -> None:
    """Run `ecg-agent` with the arguments that follow the parent's process id."""
    parent = int(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray blocks the interrupt for its children
    with contextlib.suppress(OSError):  # Ray lets its children wait for all others, if it is not told otherwise
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    threading.Thread(target=_watch_parent_pipe, name="parent", daemon=True).start()
    sys.argv = ["ecg-agent", *sys.argv[2:]]
    runpy.run_module("agent", run_name="__main__")


def _watch_parent_pipe() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_S)
    os._exit(1)


if __name__ == "__main__":
    main()
