"""What a helper container does in a volume, in the words of any POSIX shell.

A restore unpacks beside the present files and takes their place by renaming. Killed anywhere, the next one first
settles what it finds: back, while some of the present files are still in their place, forward from then on.
"""

from __future__ import annotations

from pipeline.domain.volumes import VolumeRef
from pipeline.errors import EngineFailed, RequestError

FOLDER = "/volume"  # where a helper has it
SOURCE = "/source"  # where it has the volume that is copied
OTHER_FILES, WHOLE, DIFFERS = 41, 42, 43  # exit codes of COPY; PLACE has the first as well
SWAP_WITHIN = 600.0  # seconds for renaming what is in the volume, and removing what was
RESTORED = ".pushlive-restored"  # being unpacked

_BASICS = f"""
set -e
cd {FOLDER}
new={RESTORED} ready=.pushlive-ready old=.pushlive-replaced
each() {{ # FOLDER TARGET: moves what is in FOLDER
  for one in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    case "$one" in "$1/lost+found" | ./$new | ./$ready | ./$old) continue ;; esac
    if [ -e "$one" ] || [ -L "$one" ]; then mv "$one" "$2/"; fi
  done
}}
settle() {{
  if [ -d $ready ]; then
    each $ready .
    chown "$(stat -c %u:%g $ready)" .
    chmod "$(stat -c %a $ready)" .
    rm -rf $old
    rm -rf $ready
  elif [ -d $old ]; then
    each $old .
    rm -rf $old
  fi
}}
settle
"""
BEGIN = f"{_BASICS}rm -rf $new; mkdir $new\n"
GIVE_UP = f"{_BASICS}rm -rf $new\n"
SWAP = f"{_BASICS}mkdir $old; each . $old; mv $new $ready; settle\n"

# Without one of them a comparison would find nothing, and call that equal.
_TOOLS = """
for one in cp find head sha256sum sort stat; do
  if ! command -v $one >/dev/null; then echo "the image of the helper has no $one"; exit 1; fi
done
"""
_NOTHING_ELSE = """
nothing_else() { # true if the volume has no files but those of a copy
  [ -z "$(find . -mindepth 1 -maxdepth 1 ! -name lost+found ! -name $new | head -n 1)" ]
}
"""
# Names, kinds, modes, owners, sizes, times and contents of all that is in a folder, in one line.
_LISTING = """
listing() {
  ( cd "$1"
    find . -path ./lost+found -prune -o -exec stat -c '%N %f %u %g %t %T' {} + | LC_ALL=C sort
    find . -path ./lost+found -prune -o -type f -exec stat -c '%n %s %Y' {} + | LC_ALL=C sort
    find . -path ./lost+found -prune -o -type f -exec sha256sum {} + | LC_ALL=C sort
  ) | sha256sum
}
"""
COPY = f"""{_TOOLS}{_BASICS}{_NOTHING_ELSE}{_LISTING}
rm -rf $new
if ! nothing_else; then
  if [ "$(listing .)" = "$(listing {SOURCE})" ]; then exit {WHOLE}; fi
  exit {OTHER_FILES}
fi
mkdir $new
cp -a {SOURCE}/. $new/
rm -rf $new/lost+found
chown "$(stat -c %u:%g {SOURCE})" $new
chmod "$(stat -c %a {SOURCE})" $new
if [ "$(listing $new)" != "$(listing {SOURCE})" ]; then exit {DIFFERS}; fi
"""
PLACE = f"{_TOOLS}{_BASICS}{_NOTHING_ELSE}if ! nothing_else; then exit {OTHER_FILES}; fi\nmv $new $ready; settle\n"


def refuse_copy(source: VolumeRef, target: VolumeRef, code: int | None, said: str) -> None:
    """Raises RequestError or EngineFailed unless the script succeeded. ``code``: its exit code, None if it was ended
    from outside; ``said``: its last words."""
    if code == OTHER_FILES:
        raise RequestError(
            f"The volume {target} has files of its own, so {source} was not copied to it; nothing was changed.",
            advice=f"To replace them: `pushlive volume backup {source} --to FILE`, then `pushlive volume restore "
            f"{target} --from FILE --stop`.",
        )
    if code == DIFFERS:
        raise EngineFailed(
            f"The copy of the volume {source} differs from it, so it was removed again; {source} has all its files.",
            advice="Something writes to the volume, or its disk is damaged. Try again.",
        )
    if code != 0:
        raise EngineFailed(
            f"The volume {source} was not copied to {target}, and has all its files: {said}.",
            advice="If there is no space left on its device, make room there and try again.",
        )
