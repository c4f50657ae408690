"""ELAN annotation files (.eaf, format 3.0): a tier for each class.

Annotations on an ELAN tier may not overlap; where detections of one class do, the later ones go to a
further tier of the class. The value of an annotation is its class and score.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from tal.annotations.detection import Detection

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
# Characters that XML 1.0 cannot carry, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def eaf(detections: Sequence[Detection], video: Path | None, out_dir: Path) -> str:
    """An ELAN document with time slots in milliseconds."""
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
    if video is not None:
        ET.SubElement(header, "MEDIA_DESCRIPTOR", _media(Path(video), out_dir))
    ET.SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(len(detections))

    tiers = _tiers(detections)
    moments = sorted({moment for rows in tiers.values() for start, end, _ in rows for moment in (start, end)})
    slots = {moment: f"ts{number}" for number, moment in enumerate(moments, 1)}
    order = ET.SubElement(document, "TIME_ORDER")
    for moment, slot in slots.items():
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(moment))

    number = 0
    for name, rows in tiers.items():
        tier = ET.SubElement(document, "TIER", LINGUISTIC_TYPE_REF="action", TIER_ID=name)
        for start, end, value in rows:
            number += 1
            aligned = ET.SubElement(
                ET.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{number}",
                TIME_SLOT_REF1=slots[start],
                TIME_SLOT_REF2=slots[end],
            )
            ET.SubElement(aligned, "ANNOTATION_VALUE").text = value
    ET.SubElement(
        document,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID="action",
        TIME_ALIGNABLE="true",
    )
    ET.indent(document)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(document, encoding="unicode") + "\n"


def _tiers(detections: Sequence[Detection]) -> dict[str, list[tuple[int, int, str]]]:
    """Tier name -> (start_ms, end_ms, value) that do not overlap; detections come sorted by start."""
    tiers: dict[str, list[tuple[int, int, str]]] = {}
    of_label: dict[str, list[str]] = {}
    for found in detections:
        label = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", found.label)
        start, end = found.milliseconds
        names = of_label.setdefault(label, [])
        free = next((name for name in names if tiers[name][-1][1] <= start), None)
        if free is None:
            number = len(names) + 1
            free = label if number == 1 else f"{label} ({number})"
            while free in tiers:  # a class that is itself called "jump (2)"
                number += 1
                free = f"{label} ({number})"
            names.append(free)
            tiers[free] = []
        tiers[free].append((start, end, f"{label} {found.score:.3f}"))
    return tiers


def _media(video: Path, out_dir: Path) -> dict[str, str]:
    video = video.absolute()
    kind = mimetypes.guess_type(video.name)[0] or "video/mp4"
    media = {"MEDIA_URL": video.as_uri(), "MIME_TYPE": kind}
    try:
        relative = os.path.relpath(video, out_dir.absolute())
    except ValueError:  # another drive, on Windows
        return media
    return {**media, "RELATIVE_MEDIA_URL": f"./{Path(relative).as_posix()}"}
