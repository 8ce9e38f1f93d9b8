"""Staff who may edit users raise nobody's powers in the admin, least of all their own (CVE-2026-23526's class)."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from starsieve.accounts.models import User


@pytest.fixture
def helper(make_user: Any) -> User:
    """Staff with every permission on users, but no superuser."""
    person = make_user("helper", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    return person


@pytest.fixture
def desk(helper: User) -> Client:
    client = Client()
    client.force_login(helper)
    return client


def form_for(person: User, **changes: Any) -> dict[str, Any]:
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    return {"username": person.username, "email": person.email, "theme": "dark", "is_active": "on"} | joined | changes


POWERS = {"is_staff": "on", "is_superuser": "on"}


def test_staff_do_not_raise_their_own_powers(helper: User, desk: Client) -> None:
    group = Group.objects.create(name="everything")
    permissions = list(Permission.objects.values_list("pk", flat=True))
    form = form_for(helper, **POWERS, groups=[group.pk], user_permissions=permissions, credit_name="H.")

    answer = desk.post(f"/admin/accounts/user/{helper.pk}/change/", form)

    assert answer.status_code == 302
    before = set(helper.user_permissions.values_list("pk", flat=True))
    helper.refresh_from_db()
    assert helper.credit_name == "H."  # the form was taken,
    assert not helper.is_superuser  # but not these
    assert not helper.groups.exists()
    assert set(helper.user_permissions.values_list("pk", flat=True)) == before


def test_staff_do_not_raise_others_powers(desk: Client, ada: User) -> None:
    desk.post(f"/admin/accounts/user/{ada.pk}/change/", form_for(ada, **POWERS))

    ada.refresh_from_db()
    assert (ada.is_staff, ada.is_superuser) == (False, False)


@pytest.mark.parametrize("page", ["change", "password", "delete"])
def test_staff_do_not_touch_people_with_powers(desk: Client, make_user: Any, page: str) -> None:
    root = make_user("root", is_staff=True, is_superuser=True)
    form = form_for(root, email="mine@example.org", password1="taken-over-1", password2="taken-over-1", post="yes")

    answer = desk.post(f"/admin/accounts/user/{root.pk}/{page}/", form)

    assert answer.status_code == 403
    root.refresh_from_db()
    assert root.email == "root@example.org"
    assert root.check_password("Volunteer!23")


def test_staff_do_not_delete_people_with_powers_by_the_list_action(desk: Client, make_user: Any) -> None:
    root = make_user("root", is_staff=True, is_superuser=True)

    desk.post("/admin/accounts/user/", {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"})

    assert User.objects.filter(pk=root.pk).exists()


def test_new_people_made_by_staff_have_no_powers(desk: Client) -> None:
    form = {"username": "new", "password1": "gamma-ray-77", "password2": "gamma-ray-77", "usable_password": "true"}

    desk.post("/admin/accounts/user/add/", form | POWERS)

    person = User.objects.get(username="new")
    assert (person.is_staff, person.is_superuser) == (False, False)


def test_a_superuser_grants_powers(make_user: Any, ada: User) -> None:
    client = Client()
    client.force_login(make_user("root", is_staff=True, is_superuser=True))

    client.post(f"/admin/accounts/user/{ada.pk}/change/", form_for(ada, is_staff="on"))

    ada.refresh_from_db()
    assert ada.is_staff


def test_the_admin_shows_no_token_s_hash(make_user: Any, ada: User) -> None:
    from starsieve.accounts.services import make_token

    token, key = make_token(user=ada, name="laptop", scope="read", expires_at=None)
    client = Client()
    client.force_login(make_user("root", is_staff=True, is_superuser=True))

    for address in ("/admin/accounts/apitoken/", f"/admin/accounts/apitoken/{token.pk}/change/"):
        page = client.get(address).content.decode()
        assert "laptop" in page
        assert token.digest not in page
        assert key not in page
    assert client.get("/admin/accounts/apitoken/add/").status_code == 403
