"""The buttons about previews."""

from __future__ import annotations

from tests.web.test_pages import csrf, log_in


def test_a_preview_is_removed_and_a_commit_of_another_repository_allowed_on_the_page(make_app, service):
    commit = "c" * 40
    row = {"name": "hello", "branch": "login", "state": "waiting", "commit": commit}
    service.previews = lambda _="": [row]
    client = make_app().test_client()
    log_in(client)
    asked = client.get("/previews/hello/allow")
    assert "comes from another repository" in asked.text
    sent = {"csrf": csrf(client), "commit": commit}
    assert client.post("/previews/hello/allow", data=sent | {"commit": "d" * 40}).status_code == 409
    assert client.post("/previews/hello/allow", data=sent).status_code == 303
    assert client.post("/previews/hello/remove", data=sent).status_code == 303
    assert [act[0] for act in service.acts] == ["preview allow", "preview rm"]
    assert client.get("/previews/other/remove").status_code == 404
    row["state"] = "closing"
    assert client.get("/previews/hello/remove").status_code == 409
