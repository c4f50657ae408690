"""Videos that a user names: folders, files and patterns -> ids and paths, for every command.

The id of a video is its path below its folder without suffix (`tal.annotations.videos`). The folder of a
single file is the one that it lies in, that of a pattern is the part before its first ``*``, ``?`` or ``[``.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from featstore import UnknownVideoError
from pipelines.shared import console
from tal.annotations import VIDEO_SUFFIXES, AnnotationSet, VideoFolder, read_annotations
from tal.annotations.builder import first_ids
from tal.annotations.ids import IdIndex, IdMatches, match_ids
from tal.annotations.videos import is_hidden, list_videos, name_files, other_files, safe_id
from tal.errors import VideoError
from tal.grid import ClipGrid
from tal.video import VideoInfo, require_reader
from tal.video.clips import ClipShape
from tal.video.pool import LOOK_ONLY, DecodeTask, Finished, decode_all

# The name of annotations' ids in notes.
ANNOTATED = "annotated id"
_LOOKED_FOR = ", ".join(VIDEO_SUFFIXES)
_SHOWN = 3
# of pictures that nobody looks at
_SMALL = ClipShape(ClipGrid(16, 1), 16, 16)
_FEW_VIDEOS = 64  # are opened sooner than worker processes start


@dataclass(frozen=True)
class Sources:
    """Video files by id, and the annotated videos that they belong to.

    ``listed``: ids of all files of the folder. ``pairs``: annotated id -> id of the file. ``missing``:
    annotated videos without a file. ``matches``: how all annotated ids were paired. ``unlike``: annotated id
    -> a file of its name with a suffix that is not looked for.
    """

    paths: Mapping[str, Path]
    listed: Collection[str]
    pairs: Mapping[str, str]
    missing: tuple[str, ...] = ()
    matches: IdMatches = field(default_factory=lambda: IdMatches({}, {}))
    unlike: Mapping[str, Path] = field(default_factory=dict)

    def why_missing(self, annotated_id: str) -> str:
        """What is known of an annotated video without a file, to be put behind its name; may be empty."""
        if reason := self.matches.unclear.get(annotated_id):
            return f": the id {reason}"
        other = self.unlike.get(annotated_id)
        return f": {other.name} is there, a suffix that is not looked for" if other else ""

    @property
    def first_missing(self) -> str:
        """Some of the annotated videos without a file, for messages."""
        more = ", …" if len(self.missing) > _SHOWN else ""
        return ", ".join(f"{name}{self.why_missing(name)}" for name in self.missing[:_SHOWN]) + more

    @property
    def by_annotation(self) -> dict[str, Path]:
        """Files by the annotations' ids."""
        return {ours: self.paths[theirs] for ours, theirs in self.pairs.items() if theirs in self.paths}


def open_folder(videos: Path) -> VideoFolder:
    """The videos of ``--videos``.

    Raises
    ------
    VideoError
        there is no such folder.
    """
    if not videos.is_dir():
        what = "is not a folder" if videos.exists() else "does not exist"
        raise VideoError(f"{videos}: {what}; --videos takes a folder of video files")
    return VideoFolder(videos)


def pair_with_files(
    videos: Path,
    annotations: AnnotationSet,
    chosen: Collection[str] | None = None,
    elsewhere: Collection[str] = (),
) -> Sources:
    """Files of the annotated videos, all of them or those ``chosen``.

    Ids are matched over all annotations, so that what an id means does not depend on the choice. Those of
    files ``elsewhere``, on other hosts, are matched too; such a file has no path.

    Raises
    ------
    VideoError
        there is no such folder.
    """
    folder = open_folder(videos)
    listed = tuple(dict.fromkeys([*folder.files, *elsewhere]))
    matches = match_ids(annotations.videos, listed) if elsewhere else folder.match(annotations.videos)
    named = annotations.videos if chosen is None else chosen
    pairs = {ours: matches.pairs[ours] for ours in named if ours in matches.pairs}
    missing = tuple(sorted(ours for ours in named if ours not in pairs))
    paths = {name: folder.files[name] for name in sorted(pairs.values()) if name in folder.files}
    return Sources(paths, listed, pairs, missing, matches, _unlike(videos, missing))


def _unlike(videos: Path, missing: Collection[str]) -> dict[str, Path]:
    """Annotated id -> file of its name that has another suffix than a video's."""
    others = other_files(videos) if missing else []
    named = {safe_id(path.relative_to(videos).with_suffix("").as_posix()): path for path in others}
    return {ours: named[theirs] for ours, theirs in IdIndex(named).match(missing).pairs.items()}


def find_sources(
    videos: Path, annotations: Path | AnnotationSet | None = None, subset: str | None = None
) -> Sources:
    """Videos of a folder (and its sub-folders), or those of them that annotations name.

    Raises
    ------
    VideoError
        there is no such folder, or no video in it.
    AnnotationError, EvaluationError
        the annotations cannot be read, or do not have that subset.
    """
    if annotations is None:
        paths = dict(open_folder(videos).files)
        if not paths:
            raise VideoError(f"{videos}: no video files in it{_instead(videos)}")
        return Sources(paths, paths.keys(), {name: name for name in paths})
    named = annotations if isinstance(annotations, AnnotationSet) else read_annotations(annotations)
    sources = pair_with_files(videos, named, named.subset(subset).videos if subset else None)
    if not sources.paths:
        raise VideoError(
            f"{videos}: holds none of the {len(sources.missing)} videos that "
            f"{named.source or annotations} names ({sources.first_missing})"
        )
    return sources


def _instead(folder: Path) -> str:
    """What lies in a folder without videos, and what was looked for."""
    others = other_files(folder)
    there = f" (there are {first_ids([path.name for path in others])})" if others else ""
    return f"{there}; looked for {_LOOKED_FOR}"


def tell(matches: IdMatches, what: str = ANNOTATED) -> None:
    """Log which ids were written otherwise, and which could not be matched."""
    for note in matches.bent(what):
        console.log.info("%s", note)
    for note in matches.refused(what):
        console.log.warning("%s", note)


class Opened(NamedTuple):
    """Facts of the videos by id, and the reasons why the others cannot be read."""

    infos: dict[str, VideoInfo]
    failed: dict[str, str]


def open_videos(
    paths: Mapping[str, Path], reader: str, workers: int = 0, title: str = "opening videos"
) -> Opened:
    """Index each file with ``reader``. ``workers``: number of processes, 0: this one alone.

    Raises
    ------
    ConfigError
        the reader is not installed.
    """
    require_reader(reader)
    infos: dict[str, VideoInfo] = {}
    failed: dict[str, str] = {}
    if not paths:
        return Opened(infos, failed)
    tasks = [DecodeTask(video_id, path, reader) for video_id, path in paths.items()]
    with console.progress("videos") as bar:
        task = bar.add_task(title, total=len(tasks))
        for event in decode_all(tasks, LOOK_ONLY, workers if len(tasks) > _FEW_VIDEOS else 0):
            assert isinstance(event, Finished)
            if event.info is None:
                failed[event.key] = event.error
            else:
                infos[event.key] = event.info
            bar.advance(task)
    return Opened(infos, failed)


def decode_videos(
    paths: Mapping[str, Path], infos: Mapping[str, VideoInfo], reader: str, workers: int = 0
) -> dict[str, str]:
    """Decode every picture of videos that were opened; id -> reason of those where that fails."""
    tasks = [DecodeTask(k, paths[k], reader, fps=infos[k].fps) for k in infos]
    failed: dict[str, str] = {}
    with console.progress("videos") as bar:
        task = bar.add_task("decoding the videos", total=len(tasks))
        for event in decode_all(tasks, _SMALL, workers):
            if isinstance(event, Finished):
                if event.error:
                    failed[event.key] = event.error
                bar.advance(task)
    return failed


def find_videos(given: Iterable[str | Path]) -> dict[str, Path]:
    """Video id -> file of everything named, in the order named; no file twice.

    Where files of several folders would have one id, the folders' paths are put before it, as far as is
    needed to tell them apart.

    Raises
    ------
    VideoError
        a path does not exist, or a folder or pattern has no video.
    """
    folders: dict[Path, list[Path]] = {}
    order: dict[str, Path] = {}  # by the file itself: the first mention counts
    for text in map(str, given):
        root, paths = _expand(text)
        for path in paths:
            file = os.path.join(os.path.realpath(path.parent), path.name)
            if file not in order:
                order[file] = path
                folders.setdefault(root, []).append(path)
    named = [
        _Named(path, _above(root), name)
        for root, paths in folders.items()
        for name, path in name_files(root, paths).items()
    ]
    _tell_apart(named)
    ids = {item.path: item.id for item in named}
    return {ids[path]: path for path in order.values()}


def find_stored(given: Iterable[str], stored: Collection[str], store: Path) -> dict[str, Path]:
    """Stored id -> path of the videos of a store, all of them or those named.

    Parameters
    ----------
    given
        names: ids, or files whose paths end as an id does.
    stored
        the store's ids.

    Raises
    ------
    UnknownVideoError
        a name fits none of the store's ids, or several.
    """
    index = IdIndex(stored)
    chosen = {}
    for text in given:
        matches = _closest(index, text)
        if not matches.pairs:
            why = "; ".join(matches.refused("video id")) or f"it has {len(stored)}"
            raise UnknownVideoError(f"{store} has no complete video {text!r}; {why}")
        tell(matches, "video id")
        chosen[next(iter(matches.pairs.values()))] = Path(text)
    return chosen or {name: Path(name) for name in stored}


def _closest(index: IdIndex, text: str) -> IdMatches:
    """The match of a path with as many of its folders as fit; else that of its last part alone."""
    parts = Path(text).parts or (text,)
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        matches = index.match([tail])
        if any(name.count("/") == tail.count("/") for name in matches.pairs.values()):
            break
    return matches


def _expand(text: str) -> tuple[Path, list[Path]]:
    """(folder, videos below it) of one argument."""
    path = Path(text)
    if path.is_dir():
        if not (videos := list_videos(path)):
            raise VideoError(f"{text}: no video in this folder{_instead(path)}")
        return path, videos
    if path.exists():
        return path.parent, [path]  # whatever its suffix: the decoder will say what it is
    if not glob.has_magic(text):
        raise VideoError(f"{text}: there is no such file or folder")
    root = _fixed_part(path)
    matches = sorted(Path(p) for p in glob.glob(text, recursive=True))
    paths: dict[Path, None] = {}
    for match in matches:
        videos = list_videos(match) if match.is_dir() else [match] if _is_video(match) else []
        paths |= dict.fromkeys(videos)
    if not paths:
        raise VideoError(f"{text}: no video matches this pattern; looked for {_LOOKED_FOR}")
    return root, list(paths)


def _fixed_part(pattern: Path) -> Path:
    parts = pattern.parts
    magic = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:magic])


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not is_hidden(path.name)


def _above(root: Path) -> tuple[str, ...]:
    return Path(os.path.abspath(root)).parts


@dataclass
class _Named:
    """A file with its id below a folder.

    ``above``: parts of the folder's path; ``before``: how many of the last ones stand before the id.
    """

    path: Path
    above: tuple[str, ...]
    name: str
    before: int = 0

    @property
    def id(self) -> str:
        return safe_id("/".join((*self.above[len(self.above) - self.before :], self.name)))

    @property
    def whole_name(self) -> str:
        folder, slash, _ = self.name.rpartition("/")
        return folder + slash + safe_id(self.path.name)


def _tell_apart(named: list[_Named]) -> None:
    """Put folders before ids, then suffixes behind them, until all ids differ."""
    levels = zip(*(item.above for item in named), strict=False)  # as deep as the least deep folder
    shared = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, levels))
    while True:
        groups: dict[str, list[_Named]] = {}
        for item in named:
            groups.setdefault(item.id, []).append(item)
        alike = [group for group in groups.values() if len(group) > 1]
        if not alike:
            return
        for group in alike:
            if deeper := [item for item in group if item.before < len(item.above) - shared]:
                for item in deeper:
                    item.before += 1
            elif bare := [item for item in group if item.name != item.whole_name]:
                for item in bare:
                    item.name = item.whole_name
            else:
                raise VideoError(
                    f"{group[0].path} and {group[1].path} would have the same id, {group[0].id!r}: rename one"
                )
