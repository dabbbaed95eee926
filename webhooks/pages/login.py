"""Log in and log out."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webhooks.context import WebContext
from webhooks.error_responses import Refused
from webhooks.pages.render import read_form
from webhooks.security.sessions import LoginNeeded, acting, check_origin, log_in, log_out


def add_routes(pages: Blueprint, web: WebContext) -> None:
    @pages.app_errorhandler(LoginNeeded)
    def login_needed(_error: LoginNeeded) -> ResponseReturnValue:
        if request.accept_mimetypes.best == "text/event-stream":
            return "log in again\n", 401
        back = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return redirect(url_for("pages.login", back=back) if back != "/" else url_for("pages.login"))

    @pages.get("/login")
    def login() -> ResponseReturnValue:
        return render_template("login.html", back=_local_path(request.args.get("back", "")))

    @pages.post("/login")
    def enter() -> ResponseReturnValue:
        read_form()
        check_origin(web)
        back = _local_path(request.form.get("back", ""))
        try:
            log_in(web, request.form.get("token", ""))
        except Refused as error:
            answer = Response(render_template("login.html", wrong=error, back=back), error.status)
            if error.retry_after:
                answer.headers["Retry-After"] = str(error.retry_after)
            return answer
        return redirect(back)

    @pages.post("/logout")
    def leave() -> ResponseReturnValue:
        read_form()
        acting(web, "viewer")
        log_out(web)
        return redirect(url_for("pages.login"))


def _local_path(back: str) -> str:
    """``back`` if it is a path on this site, else "/"."""
    # Browsers drop tabs and newlines, and treat a backslash as a slash.
    safe = back.startswith("/") and back.isprintable() and not back.startswith(("//", "/\\"))
    return back if safe else "/"
