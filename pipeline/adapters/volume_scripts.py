"""What a helper container does in a volume, in the words of any POSIX shell.

A restore unpacks beside the present files and takes their place by renaming. Killed anywhere, the next one first
settles what it finds: back, while some of the present files are still in their place, forward from then on.
"""

from __future__ import annotations

FOLDER = "/volume"  # where a helper has it
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
