"""The web process: a page with notes, each with text and perhaps a file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from flask import Flask, abort, jsonify, redirect, render_template, request, send_file
from werkzeug.wrappers import Response

import database

UPLOADS = Path(os.environ.get("UPLOADS", "/data/uploads"))
LARGEST = 10 << 20  # bytes of an upload

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = LARGEST


@app.get("/")
def page() -> str:
    with database.connect() as connection:
        notes = connection.run("SELECT id, text, file_name, words FROM notes ORDER BY id DESC LIMIT 100")
    return render_template("page.html", notes=notes, release=os.environ.get("PUSHLIVE_RELEASE", ""))


@app.post("/notes")
def add() -> Response:
    text = request.form.get("text", "").strip()
    if not text:
        abort(400, "A note needs a text.")
    file, stored = request.files.get("file"), None
    if file and file.filename:
        UPLOADS.mkdir(parents=True, exist_ok=True)
        stored = secrets.token_hex(16)
        file.save(UPLOADS / stored)
    with database.connect() as connection:
        connection.run(
            "INSERT INTO notes (text, file, file_name) VALUES (:text, :file, :name)",
            text=text,
            file=stored,
            name=file.filename if stored and file else None,
        )
    return redirect("/", code=303)


@app.get("/notes/<int:number>/file")
def download(number: int) -> Response:
    with database.connect() as connection:
        found = connection.run(
            "SELECT file, file_name FROM notes WHERE id = :id AND file IS NOT NULL", id=number
        )
    if not found:
        abort(404)
    [[stored, name]] = found
    return send_file(UPLOADS / stored, as_attachment=True, download_name=name)


@app.get("/figures")
def figures() -> Response:
    with database.connect() as connection:
        [[notes, counted]] = connection.run("SELECT count(*), count(words) FROM notes")
        [[digests]] = connection.run("SELECT count(*) FROM digests")
    return jsonify(notes=notes, counted=counted, digests=digests)


@app.get("/healthz")
def health() -> str:
    """Ready means: the database answers."""
    with database.connect() as connection:
        connection.run("SELECT 1")
    return "ok\n"
