"""One life of an external program, spoken to in lines of JSON.

All reading and writing goes through one loop that never blocks on either pipe, so that neither a program that does not
read nor one that floods its outputs can stop it. Waiting has an end; the program does not outlive this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Any

#: A longer line (bytes) is no answer; of standard error, this much is remembered.
_MAX_LINE = 1 << 20
_MAX_STDERR = 1 << 12

#: Lines and characters of standard error that a reason quotes.
_QUOTED_LINES = 5
_QUOTED = 600

_CHUNK = 1 << 16


class ConversationError(Exception):
    """The program failed to answer.

    Attributes:
        kind: as of the Failure that it becomes.
        over: nothing more can be expected of this program.
    """

    def __init__(self, kind: str, reason: str, over: bool = True) -> None:
        super().__init__(reason)
        self.kind = kind
        self.over = over


class Conversation:
    """A running program.

    Args:
        command: program and arguments.
        environment: all of its environment variables.
        cwd: its working directory.
        timeout: seconds until its greeting.

    Raises:
        ConversationError: it cannot be started, ends or keeps silent, refuses to work, or greets in another language.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], cwd: str | None, timeout: float) -> None:
        self._incoming = bytearray()
        self._outgoing = b""
        self._stderr = bytearray()
        self._process = _start(command, environment, cwd)
        self._guard = _start_guard(self._process.pid)
        self._end = weakref.finalize(self, _end, self._process, self._guard)
        try:
            self.greeting = self._greet(timeout)
        except BaseException:
            self.close()
            raise

    def alive(self) -> bool:
        """Whether the program runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Kill the program and whatever it started in its process group."""
        self._end()

    def ask(self, number: int, structure: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """The answer to one question; answers to earlier ones are passed over.

        Args:
            number: greater than those of all earlier questions.
            structure: what to ask about, JSON values.
            timeout: seconds.

        Raises:
            ConversationError: ``timeout``, ``program-died``, or ``bad-answer`` where a line is no answer.
        """
        deadline = time.monotonic() + timeout
        self._outgoing += json.dumps({"id": number, "structure": structure}).encode() + b"\n"
        while True:
            line = self._next_line(deadline, timeout)
            answer = _read_object(line)
            if answer is None or not isinstance(answer.get("id"), int) or answer["id"] > number:
                raise ConversationError(
                    "bad-answer", f"the program wrote {_quote(line)} instead of an answer", over=False
                )
            if answer["id"] == number:
                return answer

    def _greet(self, timeout: float) -> Mapping[str, Any]:
        line = self._next_line(time.monotonic() + timeout, timeout)
        greeting = _read_object(line)
        if greeting is None or greeting.get("matinvent") != 1:
            raise ConversationError("bad-answer", f'it greets with {_quote(line)}, not with {{"matinvent": 1, ...}}')
        if "refused" in greeting:
            raise ConversationError("program-died", str(greeting["refused"])[:_QUOTED])
        return greeting

    def _next_line(self, deadline: float, timeout: float) -> bytes:
        """Write what there is to write and read what there is to read, until a whole line is there."""
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, self._take_stdout)
            selector.register(stderr, selectors.EVENT_READ, self._take_stderr)
            selector.register(stdin, selectors.EVENT_WRITE, self._send)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ConversationError("timeout", f"no answer within {timeout:g} s{self._said()}")
                if b"\n" in self._incoming:
                    break
                if not self._outgoing and stdin in selector.get_map():
                    selector.unregister(stdin)
                for key, _ in selector.select(left):
                    finished = key.data(key.fileobj)
                    if finished:
                        selector.unregister(key.fileobj)
        line, _, rest = bytes(self._incoming).partition(b"\n")
        self._incoming[:] = rest
        return line

    def _send(self, pipe: IO[bytes]) -> bool:
        """Write what the pipe takes; True when it takes no more."""
        try:
            self._outgoing = self._outgoing[os.write(pipe.fileno(), self._outgoing) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True  # its output will tell how it ended
        return False

    def _take_stdout(self, pipe: IO[bytes]) -> bool:
        chunk = _read(pipe)
        if chunk == b"":
            raise ConversationError("program-died", self._obituary())
        self._incoming += chunk or b""
        if len(self._incoming) > _MAX_LINE and b"\n" not in self._incoming:
            raise ConversationError("bad-answer", f"the program wrote a line of more than {_MAX_LINE} bytes")
        return False

    def _take_stderr(self, pipe: IO[bytes]) -> bool:
        """Remember the end of what the program said; True when it says no more."""
        chunk = _read(pipe)
        self._stderr = (self._stderr + (chunk or b""))[-_MAX_STDERR:]
        return chunk == b""

    def _obituary(self) -> str:
        """How the program ended and what it said last."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        assert self._process.stderr is not None
        deadline = time.monotonic() + 1.0  # what it started may go on to speak
        while chunk := _read(self._process.stderr):
            self._stderr = (self._stderr + chunk)[-_MAX_STDERR:]
            if time.monotonic() > deadline:
                break
        code = self._process.returncode
        if code is None:
            how = "closed its output"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with code {code}"
        return f"the program {how}{self._said()}"

    def _said(self) -> str:
        lines = self._stderr.decode(errors="replace").split("\n")
        text = " | ".join([line.strip() for line in lines if line.strip()][-_QUOTED_LINES:])
        return f"; it said: {text[-_QUOTED:]}" if text else ""


def _start(command: Sequence[str], environment: Mapping[str, str], cwd: str | None) -> subprocess.Popen[bytes]:
    """Start a program as the leader of a process group, out of reach of the terminal's Ctrl-C."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            list(command), stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=dict(environment), start_new_session=True
        )
    except FileNotFoundError as error:
        missing = "there is no working directory" if error.filename == cwd else "command not found:"
        raise ConversationError("program-died", f"{missing} {error.filename}") from None
    except (OSError, ValueError) as error:
        raise ConversationError("program-died", f"it cannot be started: {error}") from None
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        os.set_blocking(stream.fileno(), False)
    return process


def _start_guard(group: int) -> subprocess.Popen[bytes]:
    """A shell that kills a process group when this process is gone, however it went: its input then ends."""
    return subprocess.Popen(  # noqa: S603 - a constant but for a number
        ["/bin/sh", "-c", f"read _; kill -9 -{group}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes], guard: subprocess.Popen[bytes]) -> None:
    # The guard first: it must not kill another group that is given the number later.
    guard.kill()
    guard.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may hold one that waits for a disk
        process.wait(timeout=5)
    for stream in (process.stdin, process.stdout, process.stderr, guard.stdin):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _read(pipe: IO[bytes]) -> bytes | None:
    """What there is to read: empty at the end, None when there is nothing now."""
    try:
        return os.read(pipe.fileno(), _CHUNK)
    except BlockingIOError:
        return None


def _read_object(line: bytes) -> dict[str, Any] | None:
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _quote(line: bytes) -> str:
    text = line.decode(errors="replace")
    return repr(text if len(text) <= 80 else f"{text[:80]}...")
