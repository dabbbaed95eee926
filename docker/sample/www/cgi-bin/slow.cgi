#!/bin/sh
# Takes ?N seconds (up to 10) for its answer: to watch a request in flight survive a switch.
case "$QUERY_STRING" in
    [0-9] | 10 | [0-9].[0-9]) seconds=$QUERY_STRING ;;
    *) seconds=2 ;;
esac
sleep "$seconds"
line="slow release=$PUSHLIVE_RELEASE environment=$PUSHLIVE_ENVIRONMENT seconds=$seconds"
length=$(printf '%s\n' "$line" | wc -c)
printf 'Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s\n' "$length" "$line"
