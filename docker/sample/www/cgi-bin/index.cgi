#!/bin/sh
# What runs here: a page for people, one line with ?text for curl.
. /www/version
greeting=${GREETING:-Hello}
if [ "$QUERY_STRING" = text ]; then
    line="$greeting release=$PUSHLIVE_RELEASE environment=$PUSHLIVE_ENVIRONMENT commit=$PUSHLIVE_COMMIT version=$VERSION"
    # With its length said, the connection can be kept for the next request.
    length=$(printf '%s\n' "$line" | wc -c)
    printf 'Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s\n' "$length" "$line"
    exit
fi
# A colour for each release, so that a switch is seen at a glance.
number=${PUSHLIVE_RELEASE#r}
hue=$(( (${number:-0} * 67 + 200) % 360 ))
printf 'Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
cat <<PAGE
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$greeting · ${PUSHLIVE_ENVIRONMENT:-nowhere} · ${PUSHLIVE_RELEASE:-unreleased}</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; color: white;
         font: 1.2rem/1.5 system-ui, sans-serif;
         background: linear-gradient(140deg, hsl($hue 60% 32%), hsl($(( (hue + 40) % 360 )) 70% 18%)); }
  main { text-align: center }
  h1 { font-size: 4rem; margin: 0 }
  dl { display: grid; grid-template-columns: auto auto; gap: .2rem 1.2rem; text-align: left }
  dt { opacity: .7 } dd { margin: 0; font-family: ui-monospace, monospace }
</style>
<main>
  <h1>$greeting</h1>
  <dl>
    <dt>environment</dt><dd>${PUSHLIVE_ENVIRONMENT:-none}</dd>
    <dt>release</dt><dd>${PUSHLIVE_RELEASE:-none}</dd>
    <dt>commit</dt><dd>$(echo "${PUSHLIVE_COMMIT:-none}" | cut -c1-7)</dd>
    <dt>version</dt><dd>$VERSION</dd>
  </dl>
</main>
</html>
PAGE
