"""Worker processes that decode whole videos clip by clip into shared memory, with bounded read-ahead.

Each worker owns a few clip-sized slots and a pipe. It fills a slot, says so, and takes it again when the
reader has let it go; so memory is workers x slots x clip, whatever the videos' lengths. A worker that dies
(a decoder can crash on a damaged file) costs its video and is replaced. Where shared memory is short, as in
containers, there are fewer workers, or none and this process decodes.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.grid import ClipGrid, FrameGrid
from tal.video.clips import ClipShape, clips_of
from tal.video.info import VideoInfo
from tal.video.reader import open_video

_SLOTS = 6
_SHARED_FOLDER = Path("/dev/shm")
_log = logging.getLogger("longtal")
# For tasks that only look at videos.
LOOK_ONLY = ClipShape(ClipGrid(1, 1), 1, 1)


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """Decode the clips of one video.

    Attributes
    ----------
    reader
        decodes it.
    fps
        sampling rate, frames a second; 0: only look at the video.
    max_frames
        a video of more is sampled more slowly, to so many frames; 0: none is.
    """

    key: str
    path: Path
    reader: str
    fps: float = 0.0
    max_frames: int = 0


@dataclass(frozen=True, slots=True)
class Begun:
    """A video is open, its clips follow: what it is, the rate that it is sampled at, its frames at that."""

    key: str
    info: VideoInfo
    fps: float
    num_frames: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """One clip: ``pictures`` uint8 [L_c, crop, crop, 3], valid until the next one is asked for."""

    key: str
    clip: int
    pictures: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Finished:
    """A video is through: what it is, its number of frames at the task's rate, or why it failed."""

    key: str
    info: VideoInfo | None = None
    num_frames: int = 0
    error: str = ""


Event = Begun | Decoded | Finished


def decode_all(tasks: Iterable[DecodeTask], shape: ClipShape, workers: int) -> Iterator[Event]:
    """Decode videos in parallel; clips of one video come in order, videos mix.

    Parameters
    ----------
    tasks
        taken one by one, when a worker is free.
    shape
        of the clips (`LOOK_ONLY` where no task wants any).
    workers
        processes; 0: none, this one decodes.

    Yields
    ------
    Begun for each video that is decoded, Decoded for each of its clips, Finished at its end; of a video that
    cannot be read, or is only looked at, Finished alone.
    """
    with DecodePool(shape, workers) as pool:
        yield from pool.decode(tasks)


def _decode_here(task: DecodeTask, shape: ClipShape) -> Iterator[Event]:
    try:
        with open_video(task.path, task.reader) as reader:
            num_frames = 0
            if task.fps:
                fps = FrameGrid(task.fps).capped(reader.info.duration_s, task.max_frames).fps
                num_frames = reader.num_frames(fps)
                yield Begun(task.key, reader.info, fps, num_frames)
                for clip, pictures in enumerate(clips_of(reader, fps, shape)):
                    yield Decoded(task.key, clip, pictures)
            yield Finished(task.key, reader.info, num_frames)
    except VideoError as error:
        yield Finished(task.key, error=str(error))


class _Worker:
    """The parent's side of one worker process; OSError where there is no shared memory for it."""

    def __init__(self, shape: ClipShape) -> None:
        context = multiprocessing.get_context("spawn")
        self.memory = _shared_memory(int(np.prod(shape.shape)) * _SLOTS)
        self.slots = _slots(self.memory, shape)
        self.connection, theirs = context.Pipe()
        level = logging.getLogger("longtal").getEffectiveLevel()
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs, self.memory.name, shape, level), daemon=True
        )
        self.process.start()
        theirs.close()
        self.task: DecodeTask | None = None
        self._named = True

    def start(self, task: DecodeTask | None) -> None:
        self.task = task
        if task is not None:
            with contextlib.suppress(BrokenPipeError):  # died meanwhile: seen when it is read
                self.connection.send(task)

    def close(self) -> None:
        self.connection.close()
        self.process.join(timeout=0.5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()
        del self.slots
        with contextlib.suppress(BufferError):  # someone still looks at a clip: freed with it
            self.memory.close()
        self.forget_name()

    def forget_name(self) -> None:
        """The memory goes with its two processes from here on, even when both are killed at once."""
        if self._named:
            self.memory.unlink()
            self._named = False


class DecodePool:
    """`decode_all` whose processes stay from one call of `decode` to the next; a context manager."""

    def __init__(self, shape: ClipShape, workers: int) -> None:
        self._shape = shape
        self._limit = workers
        self._workers: list[_Worker] = []
        self._tasks: Iterator[DecodeTask] = iter(())
        self._put_back: list[DecodeTask] = []

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def decode(self, tasks: Iterable[DecodeTask]) -> Iterator[Event]:
        """The events of `decode_all`. A call that was not gone through to its end is the pool's last.

        Where ``tasks`` is an iterator that had nothing and has something again before all is decoded, that is
        decoded, too.
        """
        self._tasks = iter(tasks)
        self._hand_out()
        while busy := {w.connection: w for w in self._workers if w.task is not None}:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                yield from self._receive(busy[connection])
            self._hand_out()
        while (task := self._next()) is not None:  # there is no worker, by choice or for want of memory
            yield from _decode_here(task, self._shape)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.task is None:
                worker.start(self._next())
        while len(self._workers) < self._limit and (task := self._next()) is not None:
            if not self._add_worker(task):
                return

    def _add_worker(self, task: DecodeTask | None) -> bool:
        """Start a worker on a task; where there is no memory for it, the task waits and a warning says so."""
        try:
            worker = _Worker(self._shape)
        except OSError as error:
            if task is not None:
                self._put_back.append(task)
            self._limit = len(self._workers)
            others = f"{len(self._workers)} decode" if self._workers else "this process decodes"
            _log.warning(
                "no shared memory for a decoding process (%s), %s: fewer --workers need less, and containers "
                "can have more (docker run --shm-size=1g)",
                error.strerror,
                others,
            )
            return False
        self._workers.append(worker)
        worker.start(task)
        return True

    def _next(self) -> DecodeTask | None:
        return self._put_back.pop() if self._put_back else next(self._tasks, None)

    def _receive(self, worker: _Worker) -> Iterator[Event]:
        task = worker.task
        assert task is not None
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            code = worker.process.exitcode
            yield Finished(task.key, error=f"{task.path}: the decoder crashed on it (exit code {code})")
            self._replace(worker)
            return
        worker.forget_name()  # it has it open
        if isinstance(message, Begun):
            yield message
            return
        if isinstance(message, Finished):
            worker.start(self._next())
            yield message
            return
        clip, slot = message
        yield Decoded(task.key, clip, worker.slots[slot])
        with contextlib.suppress(BrokenPipeError):
            worker.connection.send(slot)

    def _replace(self, worker: _Worker) -> None:
        worker.close()
        self._workers.remove(worker)
        self._add_worker(self._next())


def _shared_memory(size: int) -> SharedMemory:
    """A block of shared memory that has its pages.

    Raises
    ------
    OSError
        there is no room. A block that is only named ends whoever writes to it by a bus error.
    """
    memory = SharedMemory(create=True, size=size)
    named = _SHARED_FOLDER / memory.name
    if named.exists():  # elsewhere than on Linux there is no such file, and no such limit
        descriptor = os.open(named, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            memory.close()
            memory.unlink()
            raise
        finally:
            os.close(descriptor)
    return memory


def _slots(memory: SharedMemory, shape: ClipShape) -> NDArray[np.uint8]:
    """The shared block as clips, uint8 [_SLOTS, L_c, crop, crop, 3]."""
    assert memory.buf is not None  # it is open
    count = int(np.prod(shape.shape)) * _SLOTS
    return np.frombuffer(memory.buf, np.uint8, count).reshape(_SLOTS, *shape.shape)


def _work(connection: Connection, memory_name: str, shape: ClipShape, level: int) -> None:
    """A worker's life: take a task, fill free slots with its clips, say how it ended."""
    logging.getLogger("longtal").setLevel(level)
    memory = SharedMemory(memory_name)
    slots = _slots(memory, shape)
    free = list(range(_SLOTS))
    tasks: deque[DecodeTask] = deque()

    def take() -> None:
        message = connection.recv()
        free.append(message) if isinstance(message, int) else tasks.append(message)

    try:
        while True:
            while not tasks:
                take()
            for event in _decode_here(tasks.popleft(), shape):
                if not isinstance(event, Decoded):
                    connection.send(event)
                    continue
                while not free:
                    take()
                slot = free.pop()
                slots[slot] = event.pictures
                connection.send((event.clip, slot))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        os._exit(0)  # the parent is gone, or has what it wanted; nothing here needs tidying
