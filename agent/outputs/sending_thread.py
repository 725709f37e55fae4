"""What outputs over a network have in common: a thread of their own, growing pauses, and news of how it goes."""

import threading
import time
from collections.abc import Callable

from agent.core.events import Event, OutputRestored, OutputTrouble
from agent.core.views import FailingOutput

CLOSE_S = 5.0
"""How long the end waits for what has not been sent."""
JOIN_S = 5.0
"""How much longer it waits for an attempt that is under way."""
MOST_NEWS = 1000
"""Events kept until somebody asks for them."""


class SendingThread:
    """Runs `work` in a thread until it is closed. `target` names where it sends to, without secrets.

    `condition` guards what the thread shares with the monitor's, which never waits for a network.
    """

    def __init__(self, name: str, target: str, work: Callable[[], None]) -> None:
        self.target = target
        self.condition = threading.Condition()
        self._news: list[Event] = []
        self._close_by: float | None = None
        self._failing_since: float | None = None
        self._reason = ""
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # a fault of ours must not end the thread without a word
            self.note_failure(f"internal error ({type(error).__name__}); nothing more is sent")

    def end_soon(self) -> None:
        """Let the thread end when all is sent, or CLOSE_S from now; return at once."""
        with self.condition:
            self._close_by = time.monotonic() + CLOSE_S if self._close_by is None else self._close_by
            self.condition.notify_all()

    def join(self) -> None:
        """Wait for the end, after `end_soon`; an attempt that still hangs is left to itself."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, (self._close_by or 0.0) - time.monotonic()) + JOIN_S)

    @property
    def closing(self) -> bool:
        """Whether the end has been asked for."""
        return self._close_by is not None

    @property
    def is_over(self) -> bool:
        """Whether the time for the end is over."""
        return self._close_by is not None and time.monotonic() >= self._close_by

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the end is asked for, or its time is over."""
        with self.condition:
            if self._close_by is None:
                self.condition.wait_for(lambda: self.closing, seconds)
            else:
                time.sleep(max(0.0, min(seconds, self._close_by - time.monotonic())))

    def announce(self, event: Event) -> None:
        """Tell an event to whoever asks for the news."""
        with self.condition:
            self._news.append(event)
            del self._news[:-MOST_NEWS]

    def take_news(self) -> list[Event]:
        """Return the events since the last call."""
        with self.condition:
            news, self._news = self._news, []
        return news

    def failing(self) -> FailingOutput | None:
        """Return since when it fails; None while it works."""
        since_s = self._failing_since  # of the other thread
        return None if since_s is None else FailingOutput(self.target, time.monotonic() - since_s)

    def note_failure(self, reason: str, dropped: int = 0) -> None:
        """Announce that it fails, once until it works again or fails for another reason."""
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        if reason != self._reason:
            self._reason = reason
            self.announce(OutputTrouble(self.target, reason, dropped))

    def note_success(self, dropped: int = 0) -> None:
        """Announce that it works again, if it failed."""
        if self._failing_since is not None:
            self.announce(OutputRestored(self.target, round(time.monotonic() - self._failing_since, 1), dropped))
        self._failing_since, self._reason = None, ""


class SendingOutput:
    """An output that sends in a thread of its own: news of it, and its end. The thread's work is `_work`."""

    def __init__(self, name: str, target: str) -> None:
        self._sending = SendingThread(name, target, self._work)
        self._condition = self._sending.condition

    def news(self) -> list[Event]:
        """Return what happened to the sending since the last call."""
        return self._sending.take_news()

    def failing(self) -> FailingOutput | None:
        """Return since when it cannot send; None while it can."""
        return self._sending.failing()

    def end_soon(self) -> None:
        """Let the thread end when all is sent, or a few seconds from now; return at once."""
        self._sending.end_soon()

    def close(self) -> None:
        """End, and wait for it."""
        self._sending.end_soon()
        self._sending.join()

    def _work(self) -> None:
        """The thread, from its start to its end."""
        raise NotImplementedError


def growing_pause(attempt: int, first_s: float, longest_s: float) -> float:
    """Return the pause after the failed attempt number `attempt`, counted from 0: twice as long each time.

    >>> [growing_pause(attempt, 1.0, 5.0) for attempt in range(4)]
    [1.0, 2.0, 4.0, 5.0]
    """
    return float(min(longest_s, first_s * 2 ** min(attempt, 30)))
