"""Host calls: asking the server for what the caller or the function has no right to."""

from __future__ import annotations

from tests.hostile.cases.case import ANSWER, HELD, KILLED, UNHARMED, WORKS, Chapter
from tests.hostile.cases.channel import ASK

case = Chapter("Asking the server", expect=(HELD,), layer="the caller's rights and the function's grants")

ANSWERS = """
def answers(method, params):
    main, sync = sockets()[:2]
    return [ask(sync, call, method, params) for call in range(8)]
"""

case(
    800,
    "another user's address",
    ASK
    + ANSWERS
    + """
def attack(v):
    told = [value for ok, value in answers("users.get", {"id": v["user_id"]}) if ok]
    assert told, "the call of this function itself may ask for public fields"
    bad = [key for value in told for key in value if value[key] and key in ("email", "settings", "info", "oauth_sub", "api_key")]
    return f"LEAK: {told}" if bad or "alice@" in str(told) else "held: public fields only"
""",
)
case(
    801,
    "all users, asked for by one who may not see them",
    ASK
    + ANSWERS
    + """
def attack(v):
    told = [value for ok, value in answers("users.list", {}) if ok]
    return f"LEAK: {told}" if v["user_id"] in str(told) else f"held: {len(told)} answers about oneself"
""",
)
case(
    802,
    "anything, without a grant",
    ASK
    + """
def attack(v):
    return refused(v, range(8), ("users.get", "users.list", "models.list", "models.get", "files.list", "files.get", "files.read"), {"id": v["user_id"]})
""",
    policy={"grants": []},
)
case(
    803,
    "files of others and files by their path",
    ASK
    + """
def attack(v):
    got = []
    for id in ("../../db.sqlite3", "/etc/passwd", v["user_id"], "%00", "file:///etc/passwd", "' OR 1=1 --"):
        got.append(refused(v, range(6), ("files.read",), {"id": id}))
    return " ".join(got)
""",
)
case(
    804,
    "parameters that are none",
    ASK
    + """
def attack(v):
    main, sync = sockets()[:2]
    for params in ([], None, 5, "x", {"id": ["x"]}, {"id": {"a": 1}}, {"id": None}, {"id": True}, {"id": "x" * 1000},
                   {"id": "\\ud800"}, {"id": "a\\x00b"}, {"skip": -1}, {"limit": 10**30}, {"limit": 1.5}, {"skip": "0"}, {"": 1}, {"self": 1}):
        for method in ("users.get", "users.list", "models.get", "files.get", "files.list", "files.read", "files.stream"):
            for call in (1, 2, 3):
                ask(sync, call, method, params)
    return "works"
""",
    expect=(WORKS, KILLED),
)
case(
    805,
    "a streamed answer under a number that is taken",
    """
    main = sockets()[0]
    for n in range(6):
        send_all(main, frame(["host", 1, n, "files.stream", {"id": v["user_id"]}]) * 20)
        send_all(main, frame(["take", 1, 2**40]))
    time.sleep(0.3)
    return "still here"
    """,
    expect=UNHARMED,
)
case(
    806,
    "the importable open_webui as a way to write",
    """
    got = []
    for name in ("config", "env", "internal.db", "utils.auth", "models.auths", "models.functions"):
        try:
            __import__("open_webui." + name)
            got.append(name)
        except ImportError:
            pass
    from open_webui.models.users import Users
    for method in ("update_user_by_id", "update_user_role_by_id", "delete_user_by_id", "get_user_api_key_by_id"):
        try:
            told = getattr(Users, method)(v["user_id"])
            got.append((method, told)) if told else None
        except (AttributeError, TypeError, RuntimeError, NotImplementedError) as error:
            pass
    return f"LEAK: {got}" if any(isinstance(one, tuple) for one in got) else f"held: {got}"
    """,
    expect=(HELD, ANSWER),
)
