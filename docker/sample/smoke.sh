#!/bin/sh
# Run by Pushlive in a container of the new release; $PUSHLIVE_URL is where that release answers.
set -eu
line=$(wget -q -O - "$PUSHLIVE_URL/?text")
echo "$line"
case "$line" in
    *"release=$PUSHLIVE_RELEASE "*) echo "$PUSHLIVE_URL is $PUSHLIVE_RELEASE" ;;
    *) echo "expected release=$PUSHLIVE_RELEASE" >&2; exit 1 ;;
esac
