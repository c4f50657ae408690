"""Say what an extraction did."""

from __future__ import annotations

from pipelines.extract.report import ExtractReport
from pipelines.shared import console


def show_report(report: ExtractReport, as_json: bool = False) -> None:
    """Table of failures and a summary on stdout; or JSON alone."""
    if as_json:
        console.print_json(
            {
                "store": str(report.store),
                "extracted": len(report.done),
                "kept": len(report.kept),
                "failed": report.failed,
                "missing": report.missing,
                "rows": report.num_rows,
                "video_s": report.video_s,
                "wall_s": report.wall_s,
                "realtime": report.realtime,
            }
        )
        return
    if report.failed:
        console.print_table(report.failures(), title="failed videos")
    console.out.print(
        f"{report.store}: {len(report.done)} videos extracted ({report.num_rows} rows), "
        f"{len(report.kept)} kept, {len(report.failed)} failed, {len(report.missing)} missing"
    )
    if report.done:
        console.out.print(
            f"{report.video_s / 3600:.2f} h of video in {report.wall_s:.1f} s: "
            f"{report.realtime:.0f} x real time"
        )
