"""Exit codes are what the documents say, for each command: 4 for a name that is not known, 2 for an input that is
wrong, 3 for an act that is refused. Scripts decide by them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from pipeline.cli.context import CONFLICT, EXIT_CODES, NOT_FOUND, USAGE
from pipeline.cli.main import COMMANDS, load
from tests.story.test_advice import shop
from tests.support.paths import ROOT
from tests.support.typed import Typist

NO_SUCH_NAME = """\
cost nope
cost nope --suggest
cost nope --history
cost nope --csv
deploy nope
deploy shop --release r99
deploy shop --commit 0123456789
set nope live replicas=2
set shop nowhere replicas=2
deploy shop --commit main
promote nope
promote shop#99
revert nope
revert shop --to r99
revert shop --env nowhere
retry nope#1
retry shop#99
cancel nope
cancel shop#99
release abandon nope#1
release abandon shop#99
status nope
runs nope
show nope
show shop#99
follow shop#99
logs nope
logs shop#99
logs shop#2 --stage nowhere
logs shop nowhere
logs shop --app --env nowhere
logs shop live --process nope
logs nope live -f
timings nope
parity nope
report nope
cron nope
cron shop --env nowhere
evidence shop r99
exec nope live -- ls
exec shop nowhere -- ls
exec shop live --replica 9 -- ls
exec shop live --process nope -- ls
run nope live -- ls
run shop nowhere -- ls
cp nope live:/data/file out
cp shop nowhere:/data/file out
restart nope live
restart shop nowhere
sleep nope live
sleep shop nowhere
wake nope live
wake shop nowhere
stats nope live
stats shop nowhere
open nope live
open shop nowhere
maintenance on nope live --message later
maintenance on shop nowhere --message later
maintenance off nope live
maintenance off shop nowhere
hold nope
hold shop --env nowhere
resume nope
resume shop --env nowhere
set nope live replicas=3 --yes
set shop nowhere replicas=3 --yes
freeze nope --reason sales
preview list nope
preview add nope feature/x
preview allow nope--x
preview rm nope--x
preview rm shop
freeze shop --env nowhere --reason sales
thaw nope --reason sales
thaw shop --env nowhere --reason sales
withdraw nope
withdraw shop#99
unquarantine nope r1
unquarantine shop r99
unquarantine shop r2 --env nowhere
secret set nope NAME
secret list nope
secret versions nope NAME
secret versions shop NAME
secret rm nope NAME
secret rm shop NAME
accessory status nope
accessory start nope live
accessory start shop-db nowhere
accessory stop nope live
accessory restart nope live
accessory apply nope live
accessory upgrade nope live
accessory exec nope live -- ls
accessory backup nope live
accessory restore nope live --from files.tar
accessory restore shop-db live --kept nope
accessory mv nope live new --yes nope/live
accessory rm nope live
accessory logs nope live
volume list nope
volume backup shop/live/nope --to out.tar
volume backup shop/live/nope --keep
volume restore shop/live/nope --from files.tar
volume restore shop/live/data --kept nope --stop
volume mv shop/live/nope shop/live/data --yes shop/live/nope
volume rm shop/live/nope --yes shop/live/nope
backups nope
audit nope
token revoke nope
"""
WRONG_INPUT = """\
check missing.yaml
plan missing.yaml
deploy shop --config missing.yaml
deploy shop --commit 0123456 --release r1
deploy Shop
set shop live
deploy shop --release first
promote shop --force
revert shop --to first
revert shop 2
retry 'shop 2 3'
cancel shop#two
release abandon shop#two
show shop#two
follow shop#two
logs shop live --since yesterday
logs shop live --stage build
timings shop --since yesterday
report shop --month 2026-13
report shop --zone Mars
report shop --json -o x.html
evidence shop first
cp shop live out
hold Shop
maintenance on shop live
maintenance on shop live --message ' '
maintenance on shop live --message later --until 08:00 --for 1h
maintenance on shop live --message later --zone Mars/Base
freeze shop live --reason ' '
freeze shop live --reason sales --until 08:00 --for 1h
freeze shop live --reason sales --until yesterday
freeze shop live --reason sales --until '2020-01-01 08:00'
freeze shop live --reason sales --until 08:00 --zone Mars/Base
freeze shop live --reason sales --for soon
freeze shop live --reason sales --for 99999d
freeze shop live --env dev --reason sales
thaw shop live --reason ' '
set shop live replicas
set shop live nonsense=3 --yes
set shop live ../x=3 --yes
unquarantine shop first
secret set shop not-a-name
token create bob --expires soon
accessory start Shop live
accessory backup Shop live
accessory restore shop-db live --from missing.tar
accessory restore shop-db live --from files.tar --kept latest
volume backup shop
volume restore shop/live/data --from missing.tar --stop
volume rm shop/live/data --yes other
init --name 'No Name'
nonsense
deploy --nonsense
"""
REFUSED = """\
init --name shop
promote shop
promote shop#2
preview add shop feature/x
cancel shop#2
release abandon shop#2
revert shop --from r1
cp shop live:/data/file files.tar
cp shop live:/data/file missing/out
accessory rm shop-db live
accessory upgrade shop-db live
accessory mv shop-db live store-db --yes shop-db/live
volume mv shop/live/data shop/live/other --yes shop/live/data
volume rm shop/live/data --yes shop/live/data
volume restore shop/live/data --from files.tar
"""


@pytest.fixture(scope="module")
def at(shared_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    with shop(shared_store, tmp_path_factory.mktemp("codes")) as found:
        yield found


ROWS = [
    (line, code)
    for lines, code in ((NO_SUCH_NAME, NOT_FOUND), (WRONG_INPUT, USAGE), (REFUSED, CONFLICT))
    for line in lines.splitlines()
]


@pytest.mark.parametrize(("line", "code"), ROWS)
def test_what_fails_ends_with_the_code_that_the_documents_name(line: str, code: int, at: Typist) -> None:
    found = at.types(*shlex.split(line), answer="a-value")
    assert found.code == code, (line, found)


def test_the_documents_list_the_codes() -> None:
    assert EXIT_CODES.replace("exit codes:\n", "") in (ROOT / "README.md").read_text()


# What takes no name and no file of ours; doctor and audit say with 1 that something is wrong.
WITHOUT_NAMES = {"up", "down", "doctor", "capacity", "gc", "adopt", "web", "worker", "backup", "restore"}


def test_every_command_is_in_the_table() -> None:
    typed = {line.split()[0] for line, _ in ROWS}
    acts = {" ".join(line.split()[:2]) for line, _ in ROWS}
    assert set(COMMANDS) - typed == WITHOUT_NAMES
    of_groups = {f"{name} {act}" for name in typed & set(COMMANDS) for act in load(name).acts}
    assert of_groups - acts <= {"token list"}
