"""The files that the page shows and offers: thumbnails, reports and exports."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response

from cifsel.errors import UserError
from cifsel.web import exporting
from cifsel.web.visits import Visits

# A report is a page of its own, without scripts, and may load nothing.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:;"
    " frame-ancestors 'self'; sandbox"
)
_FOREVER = "private, max-age=86400, immutable"


def add(app: FastAPI, visits: Visits) -> None:
    """Adds the routes to the application of the page."""

    @app.get("/photo/{project}/{photo}")
    def photo(project: str, photo: str) -> Response:
        path = visits.project(project).photo(photo)
        content = visits.looks.of(path).thumbnail
        return Response(content, media_type="image/jpeg", headers={"cache-control": _FOREVER})

    @app.get("/report/{project}/{run}")
    def report(project: str, run: str, download: str | None = None) -> Response:
        path = visits.run(project, run) / "report.html"
        kind = "inline" if download is None else "attachment"
        return FileResponse(
            path,
            media_type="text/html",
            filename="report.html",
            content_disposition_type=kind,
            headers={"content-security-policy": _REPORT_POLICY, "cache-control": "no-store"},
        )

    @app.get("/export/{project}/{run}/{file}")
    def export(project: str, run: str, file: str) -> Response:
        return _exported(visits.exports(project, run), file)

    @app.exception_handler(UserError)
    async def refused(_: object, error: Exception) -> Response:
        return PlainTextResponse(f"{error}\n", status_code=404)


def _exported(folder: Path, file: str) -> Response:
    """A file of an export, to be saved."""
    path = folder / file
    if not exporting.FILE.fullmatch(file) or not path.is_file():
        raise UserError("this file is not there: export the classifier again")
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=file,
        headers={"cache-control": "no-store"},
    )
