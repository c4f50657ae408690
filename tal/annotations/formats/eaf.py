"""ELAN's annotation files (.eaf, format 3.0): one file per video, named after it; several are a folder.

Files of detections whose names cannot be their videos' ids have the id in a property of the document.

The value of an annotation is its label, or the tier's name where the value is empty. In tiers of the
linguistic type "prediction", which are ours, a score follows the label (``jump 0.873``): readers cut it off.
Annotations on an ELAN tier may not overlap; where those of one label do, the later ones go to a further tier
of the label.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from tal.annotations.builder import Builder, first_ids
from tal.annotations.detection import Detection, milliseconds
from tal.annotations.files import path_text, read_text
from tal.annotations.formats.base import (
    FileContent,
    Format,
    PredictionFiles,
    file_per_video,
    fits_path,
    refuse_blanks,
    refuse_names,
)
from tal.annotations.formats.eaf_times import annotation_times, is_called, media_of
from tal.annotations.options import ReadOptions
from tal.annotations.types import AnnotationSet, VideoAnnotation
from tal.annotations.videos import is_litter
from tal.errors import AnnotationError
from tal.shared.files import write_text

_SUFFIX = ".eaf"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
# Characters that XML 1.0 cannot carry, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Linguistic types of our tiers.
_ANNOTATION, _PREDICTION = "annotation", "prediction"
_ID_PROPERTY = "longtal-video"
_SCORE = re.compile(r" \d\.\d{3}$")


class _Item(NamedTuple):
    """One annotation of a tier, in milliseconds."""

    start: int
    end: int
    value: str


def _is_eaf(content: FileContent) -> bool:
    return any(_files(content.path)) if content.is_folder else content.suffix == _SUFFIX


def _files(folder: Path) -> Iterable[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() == _SUFFIX and path.is_file())
    return (path for path in files if not any(map(is_litter, path.relative_to(folder).parts)))


def read_eaf(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a file, or all those of a folder and its sub-folders: an id is the path below it.

    Annotations have the times that ELAN shows: those that refer to others have theirs, those that are not
    aligned share what lies between aligned ones. What has no time in that way is left out and counted.

    Raises
    ------
    AnnotationError
        a document is not ELAN's, or declares types or entities of its own; the message names the file.
    """
    build = Builder(path.name, options)
    if path.is_dir():
        files = {f.relative_to(path).with_suffix("").as_posix(): f for f in sorted(_files(path))}
    else:
        files = {path.stem: path}
    if not files:
        raise AnnotationError(f"{path}: no .eaf files in it")
    shifted, renamed = [], []
    for video, file in files.items():
        name, media, origin_s = _read_document(video, file, options, build)
        shifted += [name] if origin_s else []
        renamed += [] if not media or any(is_called(m, name) for m in media) else [f"{name} ({media[0]})"]
    if shifted:
        build.notes.append(
            f"in {len(shifted)} files ELAN's clock begins elsewhere than the video (TIME_ORIGIN); times are "
            f"those of the video: {first_ids(shifted)}"
        )
    if renamed:
        build.notes.append(
            f"{len(renamed)} files are named otherwise than their media; videos are named after the files: "
            f"{first_ids(renamed)}"
        )
    return build.build("eaf")


def _read_document(
    video: str, file: Path, options: ReadOptions, build: Builder
) -> tuple[str, list[str], float]:
    """Give a file's annotations to ``build``; ``video`` is the id where the document has none.

    Returns
    -------
    video, media, origin_s
        the id, the names of the videos that the document refers to, where in the video its clock begins.
    """
    document = _parse(file)
    video = document.findtext(f"HEADER/PROPERTY[@NAME='{_ID_PROPERTY}']") or video
    if video in build:
        raise AnnotationError(f"{file}: another file too is of video {video!r}")
    build.video(video, options.subset)
    media, origin_s = media_of(document, video, str(file))
    times = annotation_times(document, str(file))
    entries = {
        e.get("CVE_ID"): e.findtext("CVE_VALUE")
        for e in document.iterfind("CONTROLLED_VOCABULARY/CV_ENTRY_ML")
    }
    for tier in document.iterfind("TIER"):
        is_prediction = tier.get("LINGUISTIC_TYPE_REF") == _PREDICTION
        for item in tier.iterfind("ANNOTATION/*"):
            name = item.get("ANNOTATION_ID") or ""
            if item not in times:
                build.leave("annotations without a time")
                continue
            value = (item.findtext("ANNOTATION_VALUE") or entries.get(item.get("CVE_REF")) or "").strip()
            if is_prediction:
                value = _SCORE.sub("", value)
            start_s, end_s = (time / 1000 + origin_s for time in times[item])
            build.segment(
                video, start_s, end_s, value or tier.get("TIER_ID"), f"{file}: annotation {name!r:.80}"
            )
    return video, media, origin_s


def _parse(path: Path) -> ET.Element:
    """The document's root. Entities could grow without bounds or name other files: no ELAN file has any."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError(f"{path}: declares types or entities, which ELAN's files never do; not read")
    try:
        document = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise AnnotationError(f"{path}: not XML: {error}") from None
    if document.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError(f"{path}: not an ELAN file: its root is {document.tag[:60]!r}")
    header = document.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise AnnotationError(f"{path}: times are in {units[:60]!r}; only milliseconds can be read")
    return document


def write_eaf(annotations: AnnotationSet, path: Path) -> None:
    """Write one video to the ``.eaf`` file that is named after it, or any number to a folder.

    Raises
    ------
    AnnotationError
        a name or time cannot be held, or there is no video at all; nothing is written.
    """
    refuse_blanks(annotations, "ELAN's files")
    refuse_names(annotations.used_labels, _fits_xml, "XML cannot hold the characters of labels")
    refuse_names(annotations.videos, fits_path, "no file can be named after videos")
    files = file_per_video(annotations.videos, path, _SUFFIX, "an ELAN file")
    documents = {files[name]: _annotated(video) for name, video in annotations.videos.items()}
    for file, text in documents.items():
        write_text(file, text)


def _fits_xml(label: str) -> bool:
    return not _NOT_XML.search(label) and "\r" not in label


def _annotated(video: VideoAnnotation) -> str:
    """A video's annotations as a document."""
    if early := [s for s in video.all_segments if s.start_s < 0]:
        raise AnnotationError(
            f"ELAN's files hold no time before 0: {early[0].label!r} of video {video.id!r} starts at "
            f"{early[0].start_s} s"
        )
    segments = sorted((s for s in video.all_segments if s.end_s > s.start_s), key=lambda s: s.start_s)
    items = [(s.label, _Item(*milliseconds(s.start_s, s.end_s), s.label)) for s in segments]
    return _document(_tiers(items), _ANNOTATION)


def write_eaf_predictions(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """Write one video's detections, sorted by start; what XML cannot hold of a label becomes U+FFFD."""
    items = []
    for detection in detections:
        label = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", detection.label)
        items.append((label, _Item(*detection.milliseconds, f"{label} {detection.score:.3f}")))
    media = [_media(video, path.parent) for video in videos.values()]
    video_id = next(iter([*videos, *(detection.video_id for detection in detections)]), path.stem)
    own_id = {_ID_PROPERTY: _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", video_id)}
    properties = own_id if video_id != path.stem else {}
    write_text(path, _document(_tiers(items), _PREDICTION, media, properties))


def _document(
    tiers: Mapping[str, Sequence[_Item]],
    tier_type: str,
    media: Iterable[Mapping[str, str]] = (),
    properties: Mapping[str, str] | None = None,
) -> str:
    """An ELAN document with time slots in milliseconds.

    Parameters
    ----------
    tier_type
        linguistic type of all tiers.
    media
        attributes of each media file that the document refers to.
    properties
        name -> value, of the document.
    """
    ET.register_namespace("xsi", _XSI)
    document = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "longtal",
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{_XSI}}}noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ET.SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    for attributes in media:
        ET.SubElement(header, "MEDIA_DESCRIPTOR", dict(attributes))
    count = sum(map(len, tiers.values()))
    for name, value in {**(properties or {}), "lastUsedAnnotationId": str(count)}.items():
        ET.SubElement(header, "PROPERTY", NAME=name).text = value

    moments = sorted({moment for items in tiers.values() for item in items for moment in item[:2]})
    slots = {moment: f"ts{number}" for number, moment in enumerate(moments, 1)}
    order = ET.SubElement(document, "TIME_ORDER")
    for moment, slot in slots.items():
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(moment))

    number = 0
    for name, items in tiers.items():
        tier = ET.SubElement(document, "TIER", LINGUISTIC_TYPE_REF=tier_type, TIER_ID=name)
        for item in items:
            number += 1
            aligned = ET.SubElement(
                ET.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{number}",
                TIME_SLOT_REF1=slots[item.start],
                TIME_SLOT_REF2=slots[item.end],
            )
            ET.SubElement(aligned, "ANNOTATION_VALUE").text = item.value
    ET.SubElement(
        document,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=tier_type,
        TIME_ALIGNABLE="true",
    )
    ET.indent(document)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(document, encoding="unicode") + "\n"


def _tiers(items: Iterable[tuple[str, _Item]]) -> dict[str, list[_Item]]:
    """(label, item) sorted by start -> tiers by name, in which no two items overlap."""
    tiers: dict[str, list[_Item]] = {}
    of_label: dict[str, list[str]] = {}
    for label, item in items:
        names = of_label.setdefault(label, [])
        free = next((name for name in names if tiers[name][-1].end <= item.start), None)
        if free is None:
            number = len(names) + 1
            free = label if number == 1 else f"{label} ({number})"
            while free in tiers:  # a class that is itself called "jump (2)"
                number += 1
                free = f"{label} ({number})"
            names.append(free)
            tiers[free] = []
        tiers[free].append(item)
    return tiers


def _media(video: Path, folder: Path) -> dict[str, str]:
    """How a document in ``folder`` refers to its video."""
    video = video.absolute()
    kind = mimetypes.guess_type(video.name)[0] or "video/mp4"
    media = {"MEDIA_URL": video.as_uri(), "MIME_TYPE": kind}
    try:
        relative = os.path.relpath(video, folder.absolute())
    except ValueError:  # another drive, on Windows
        return media
    return {**media, "RELATIVE_MEDIA_URL": f"./{path_text(Path(Path(relative).as_posix()))}"}


FORMAT = Format(
    "eaf",
    "ELAN annotation files, one per video",
    read_eaf,
    write_eaf,
    detect=_is_eaf,
    suffixes=(_SUFFIX,),
    precision_s=1e-3,
    keeps=("videos without a segment",),
    predictions=PredictionFiles("eaf", ".eaf", write_eaf_predictions, file_per_video=True),
)
