"""Rows 1 and 2: registering and logging in; and what other callers do beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pyotp
import pytest

from tests.interfaces.http.serving import PASSWORD, Served, served

Form = dict[str, Any]


@pytest.fixture
def form() -> Form:
    """Somebody who is new here."""
    name = f"annika-{uuid4().hex[:8]}"
    return {"username": name, "email": f"{name}@example.com", "password": "secret1"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def threefold(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an error, which every reader of it understands."""
    body = response.json()
    assert response.status_code == status, body
    assert body["detail"] == body["message"] == body["error"]["message"]
    assert body["error"]["code"] == code
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    return body


async def test_who_registers_is_logged_in(nobody: httpx2.AsyncClient, form: Form) -> None:
    response = await nobody.post("/v1/users/register", json=form)
    body = response.json()
    assert response.status_code == 201
    assert (body["username"], body["email"]) == (form["username"], form["email"])
    assert UUID(body["user_id"])
    assert body["created_at"].endswith("+00:00")
    assert isinstance(body["message"], str)
    assert body["user"]["id"] == body["user_id"]
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 2_592_000)
    me = await nobody.get("/v1/users/me", headers=bearer(body["access_token"]))
    assert me.json()["id"] == body["user_id"]


async def test_a_name_or_address_that_is_taken_is_refused(nobody: httpx2.AsyncClient, form: Form) -> None:
    await nobody.post("/v1/users/register", json=form)
    for change in ({"email": "other@example.com"}, {"username": "other"}):
        threefold(await nobody.post("/v1/users/register", json=form | change), 400, "RESOURCE_CONFLICT")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"username": "an"}, "username", id="short name"),
        pytest.param({"password": "12345"}, "password", id="short password"),
        pytest.param({"email": "nowhere"}, "email", id="no address"),
        pytest.param({"username": 5}, "username", id="name of another type"),
        pytest.param({"password": None}, "password", id="no password"),
    ],
)
async def test_a_form_that_cannot_be_taken_says_which_field(
    nobody: httpx2.AsyncClient, form: Form, change: dict[str, Any], param: str
) -> None:
    body = threefold(await nobody.post("/v1/users/register", json=form | change), 422, "VALIDATION_FAILED")
    assert body["error"]["param"] == param
    assert "12345" not in body["detail"]


async def test_several_wrong_fields_are_listed_beside_the_first(nobody: httpx2.AsyncClient) -> None:
    response = await nobody.post("/v1/users/register", json={"username": 1})
    problems = threefold(response, 422, "VALIDATION_FAILED")["error"]["details"]["problems"]
    assert {problem["param"] for problem in problems} == {"username", "password"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"username": "\\ud800"}'])
async def test_a_body_that_is_none_is_refused(nobody: httpx2.AsyncClient, body: bytes) -> None:
    response = await nobody.post("/v1/users/register", content=body)
    threefold(response, 422, "VALIDATION_FAILED")


async def test_registration_can_be_closed(tmp_path: Path, sqlite_url: str, form: Form) -> None:
    async with (
        served(tmp_path, sqlite_url, auth={"registration": "closed"}) as house,
        house.http() as nobody,
    ):
        threefold(await nobody.post("/v1/users/register", json=form), 403, "AUTH_REGISTRATION_CLOSED")


async def test_one_address_makes_so_many_accounts_an_hour_under_whatever_path(
    tmp_path: Path, sqlite_url: str
) -> None:
    def someone(number: int) -> Form:
        return {"username": f"someone{number}", "password": "secret1"}

    async with (
        served(tmp_path, sqlite_url, auth={"registrations_per_hour": 2}) as house,
        house.http() as nobody,
    ):
        for number, path in enumerate(("/v1/users/register", "/v1/auth/register")):
            assert (await nobody.post(path, json=someone(number))).status_code == 201
        for path in ("/v1/users/register", "/v1/auth/register"):
            refused = await nobody.post(path, json=someone(9))
            threefold(refused, 429, "RATE_LIMIT_EXCEEDED")
            assert 1 <= int(refused.headers["retry-after"]) <= 1800
        assert (await nobody.post("/v1/users/login", json=someone(0))).status_code == 200
        assert (await nobody.post("/v1/users/login", json=someone(9))).status_code == 401


@pytest.mark.parametrize("path", ["/v1/users/login", "/v1/auth/login"])
@pytest.mark.parametrize("name", ["username", "email"])
async def test_a_login_by_name_or_address_gives_tokens(
    nobody: httpx2.AsyncClient, form: Form, path: str, name: str
) -> None:
    user_id = (await nobody.post("/v1/users/register", json=form)).json()["user_id"]
    response = await nobody.post(path, json={"username": form[name], "password": "secret1"})
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert body["user"] == {
        "id": user_id,
        "username": form["username"],
        "email": form["email"],
        "role": "user",
        "display_name": None,
        "preferences": body["user"]["preferences"],
    }
    assert body["user"]["preferences"]["theme"] == "blue"


async def test_a_wrong_password_and_an_unknown_name_are_answered_alike(
    nobody: httpx2.AsyncClient, form: Form
) -> None:
    await nobody.post("/v1/users/register", json=form)
    wrong = await nobody.post("/v1/users/login", json={"username": form["username"], "password": "secret2"})
    unknown = await nobody.post("/v1/users/login", json={"username": "nobody", "password": "secret2"})
    bodies = [threefold(one, 401, "AUTH_WRONG_PASSWORD") for one in (wrong, unknown)]
    assert bodies[0]["detail"] == bodies[1]["detail"]
    assert wrong.headers["www-authenticate"] == "Bearer"


async def test_repeated_wrong_passwords_slow_down(nobody: httpx2.AsyncClient, form: Form) -> None:
    await nobody.post("/v1/users/register", json=form)
    guess = form | {"password": "secret2"}
    answers = [await nobody.post("/v1/users/login", json=guess) for _ in range(7)]
    assert answers[0].status_code == 401
    threefold(answers[-1], 429, "RATE_LIMIT_EXCEEDED")
    assert int(answers[-1].headers["retry-after"]) >= 1


async def test_a_closed_account_is_told_so(house: Served, nobody: httpx2.AsyncClient) -> None:
    user = await house.user("closed")
    token = await house.token("closed")
    await house.identity.set_active(user.id, False)
    login = await nobody.post("/v1/users/login", json={"username": "closed", "password": PASSWORD})
    threefold(login, 400, "AUTH_ACCOUNT_DISABLED")
    assert (await nobody.get("/v1/users/me", headers=bearer(token))).status_code in (400, 401)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer null", "Bearer x", "Basic eHg="])
async def test_without_a_good_token_nobody_is_known(nobody: httpx2.AsyncClient, header: str | None) -> None:
    response = await nobody.get("/v1/users/me", headers={"authorization": header} if header else {})
    body = response.json()
    assert response.status_code == 401
    assert isinstance(body["detail"], str)
    assert response.headers["www-authenticate"] == "Bearer"


async def test_an_error_has_the_headers_that_let_a_page_read_it(nobody: httpx2.AsyncClient) -> None:
    response = await nobody.get("/v1/users/me", headers={"origin": "http://localhost:5173"})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/v1/auth/refresh", "/v1/users/refresh"])
@pytest.mark.parametrize("place", ["body", "header"])
async def test_a_refresh_token_is_good_once(
    nobody: httpx2.AsyncClient, form: Form, path: str, place: str
) -> None:
    first = (await nobody.post("/v1/users/register", json=form)).json()

    async def refresh(token: str) -> httpx2.Response:
        if place == "body":
            return await nobody.post(path, json={"refresh_token": token})
        return await nobody.post(path, headers=bearer(token))

    again = await refresh(first["refresh_token"])
    assert again.status_code == 200
    assert {"access_token", "refresh_token", "expires_in"} <= set(again.json())
    me = await nobody.get("/v1/users/me", headers=bearer(again.json()["access_token"]))
    assert me.status_code == 200
    threefold(await refresh(first["refresh_token"]), 401, "AUTH_INVALID_TOKEN")
    threefold(await refresh(first["access_token"]), 401, "AUTH_INVALID_TOKEN")


async def test_a_refresh_without_a_token_is_refused(nobody: httpx2.AsyncClient) -> None:
    threefold(await nobody.post("/v1/auth/refresh"), 401, "AUTH_REQUIRED")
    threefold(await nobody.post("/v1/auth/refresh", json={}), 401, "AUTH_REQUIRED")
    threefold(await nobody.post("/v1/auth/refresh", json={"refresh_token": 5}), 422, "VALIDATION_FAILED")


async def test_after_a_logout_no_token_of_the_login_is_good(nobody: httpx2.AsyncClient, form: Form) -> None:
    one = (await nobody.post("/v1/users/register", json=form)).json()
    other = (await nobody.post("/v1/users/login", json=form)).json()
    assert (await nobody.post("/v1/users/logout", headers=bearer(one["access_token"]))).status_code == 200
    assert (await nobody.get("/v1/users/me", headers=bearer(one["access_token"]))).status_code == 401
    used = await nobody.post("/v1/auth/refresh", json={"refresh_token": one["refresh_token"]})
    assert used.status_code == 401
    assert (await nobody.get("/v1/users/me", headers=bearer(other["access_token"]))).status_code == 200


async def test_a_new_password_ends_what_was_issued_before(nobody: httpx2.AsyncClient, form: Form) -> None:
    token = (await nobody.post("/v1/users/register", json=form)).json()["access_token"]
    change = {"old_password": "secret1", "new_password": "secret2"}
    wrong = await nobody.put(
        "/v1/users/me/password", json=change | {"old_password": "x"}, headers=bearer(token)
    )
    threefold(wrong, 401, "AUTH_WRONG_PASSWORD")
    assert (await nobody.put("/v1/users/me/password", json=change, headers=bearer(token))).status_code == 200
    assert (await nobody.get("/v1/users/me", headers=bearer(token))).status_code == 401
    login = await nobody.post("/v1/users/login", json={"username": form["username"], "password": "secret2"})
    assert login.status_code == 200


async def test_a_second_factor_is_wanted_once_it_was_confirmed(
    nobody: httpx2.AsyncClient, form: Form
) -> None:
    token = (await nobody.post("/v1/users/register", json=form)).json()["access_token"]
    offer = (await nobody.post("/v1/users/me/second-factor", headers=bearer(token))).json()
    assert offer["uri"].startswith("otpauth://totp/")
    code = pyotp.TOTP(offer["secret"]).now()
    confirmed = await nobody.post(
        "/v1/users/me/second-factor/confirm", json={"code": code}, headers=bearer(token)
    )
    assert confirmed.status_code == 200
    threefold(await nobody.post("/v1/users/login", json=form), 401, "AUTH_SECOND_FACTOR_REQUIRED")
    twice = await nobody.post("/v1/users/me/second-factor", headers=bearer(token))
    threefold(twice, 400, "RESOURCE_CONFLICT")
    off = {"password": form["password"]}
    dropped = await nobody.request("DELETE", "/v1/users/me/second-factor", json=off, headers=bearer(token))
    assert dropped.status_code == 200
    assert (await nobody.post("/v1/users/login", json=form)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PUT", "/v1/users/me/password", {"old_password": PASSWORD, "new_password": "x" * 9}),
        pytest.param("POST", "/v1/users/me/second-factor", None),
        pytest.param("POST", "/v1/users/me/second-factor/confirm", {"code": "123456"}),
        pytest.param("DELETE", "/v1/users/me/second-factor", {"password": PASSWORD}),
        pytest.param("POST", "/v1/users/me/keys", {"name": "more"}),
        pytest.param("POST", "/v1/users/logout", None),
    ],
)
async def test_a_key_changes_nothing_that_keeps_others_out(
    house: Served, method: str, path: str, body: Any
) -> None:
    async with house.http(await house.key("keyed")) as keyed:
        threefold(await keyed.request(method, path, json=body), 403, "AUTH_FORBIDDEN")
