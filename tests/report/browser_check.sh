#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Opens the reports of the example programs, or a page, in headless Chromium, wide and on a phone, light and dark:
#
#   bash tests/report/browser_check.sh FOLDER --examples build/release/examples
#   bash tests/report/browser_check.sh FOLDER PAGE.html
#
# Fails where the browser says anything on its console, where the page is wider than a phone of 390 px (the page then
# scrolls sideways), where a picture cannot be seen, or where a screenshot shows next to nothing. Screenshots stay in FOLDER.
# Exits with 77, aloud, where there is no Chromium or no Python; where FAE_REQUIRE_BROWSER is set, with 1. The page itself
# holds no script; what is measured here is asked by a copy of it that has one.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1
browser=
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then browser=$name; break; fi
done
missing=
[ -n "$browser" ] || missing="no Chromium"
command -v python3 >/dev/null || missing="no Python"
if [ -n "$missing" ]; then
  echo "skipped: $missing"
  [ -z "${FAE_REQUIRE_BROWSER:-}" ] || exit 1
  exit 77
fi
mkdir -p "$folder"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

fail() { echo "browser check: $1" >&2; exit 1; }

# run ARGUMENT...: the browser, for at most a minute; what it says of the page goes to $folder/console.txt.
run() {
  timeout 60 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-dev-shm-usage --no-first-run \
    --disable-extensions --disable-background-networking --user-data-dir="$profile" --enable-logging=stderr --v=0 "$@" \
    2>"$folder/console.txt" || { tail -n 20 "$folder/console.txt" >&2; fail "Chromium failed"; }
}

# make_probe PAGE: the copy, free to run its one script and nothing else.
make_probe() {
  sed "s/default-src &#39;none&#39;;/& script-src \&#39;unsafe-inline\&#39;;/" "$1"
  cat <<'SCRIPT'
<script>
addEventListener('load', () => {
  const shown = [...document.querySelectorAll('svg')].filter(svg => getComputedStyle(svg).display !== 'none'
    && !svg.closest('details:not([open])'));
  const small = shown.filter(svg => svg.getBoundingClientRect().width < 200 || svg.getBoundingClientRect().height < 40);
  const wide = [...document.querySelectorAll('body *')].filter(element => !element.closest('.scroll, svg')
    && !element.closest('details:not([open])') && element.getBoundingClientRect().right > innerWidth + 0.5);
  const tiny = shown.flatMap(svg => [...svg.querySelectorAll('text')]).filter(text =>
    text.getBoundingClientRect().height > 0 && text.getBoundingClientRect().height < 8);
  document.title = 'width=' + innerWidth + ' scroll=' + document.documentElement.scrollWidth + ' pictures=' + shown.length
    + ' small=' + small.length + ' wide=' + wide.length + ' tiny=' + tiny.length;
});
</script>
SCRIPT
} >"$folder/probe.html"

# seen WIDTH: what the copy says of itself at this width. The window of the old headless mode cannot be narrower than 500
# pixels, so the copy is looked at in a frame.
seen() {
  local width=$1
  cat >"$folder/frame.html" <<FRAME
<!DOCTYPE html><title>frame</title><body style="margin:0"><iframe id="f" src="probe.html" style="border:0;width:${width}px;height:2000px"></iframe>
<script>
addEventListener('load', () => setTimeout(() => {
  const out = document.createElement('pre');
  out.textContent = 'SEEN ' + document.getElementById('f').contentDocument.title;
  document.body.append(out);
}, 50));
</script></body>
FRAME
  run --allow-file-access-from-files --virtual-time-budget=3000 --dump-dom "file://$(realpath "$folder")/frame.html" >"$folder/dom.txt"
  sed -n 's/.*SEEN \(width=[^<]*\).*/\1/p' "$folder/dom.txt"
}

# check_page PAGE: all of it.
check_page() {
  local page=$1 width said theme shot
  make_probe "$page"
  for width in 390 1280; do
    said=$(seen "$width")
    echo "$(basename "$page") at $width px: $said"
    [[ $said =~ ^width=([0-9]+)\ scroll=([0-9]+)\ pictures=([0-9]+)\ small=([0-9]+)\ wide=([0-9]+)\ tiny=([0-9]+)$ ]] ||
      fail "the page does not load at $width px"
    [ "${BASH_REMATCH[1]}" -eq "$width" ] || fail "the frame is ${BASH_REMATCH[1]} px wide, expected $width"
    [ "${BASH_REMATCH[2]}" -le "$width" ] || fail "the page is ${BASH_REMATCH[2]} px wide on a screen of $width"
    [ "${BASH_REMATCH[3]}" -ge 1 ] || fail "no picture is shown at $width px"
    [ "${BASH_REMATCH[4]}" -eq 0 ] || fail "${BASH_REMATCH[4]} pictures cannot be seen at $width px"
    [ "${BASH_REMATCH[5]}" -eq 0 ] || fail "${BASH_REMATCH[5]} elements reach beyond the screen at $width px"
    [ "${BASH_REMATCH[6]}" -eq 0 ] || fail "${BASH_REMATCH[6]} texts cannot be read at $width px"
  done

  # The page as it is: the browser must have nothing to say, and show something.
  for theme in light dark; do
    for width in 500 1280; do
      shot="$folder/$(basename "$page" .html)-$theme-$width.png"
      rm -f "$shot"
      dark=()
      [ "$theme" = light ] || dark=(--force-dark-mode --blink-settings=preferredColorScheme=0)
      run "${dark[@]}" --window-size="$width,2400" --force-device-scale-factor=0.4 --screenshot="$shot" "file://$(realpath "$page")"
      if grep -E 'CONSOLE|Refused|Uncaught' "$folder/console.txt"; then fail "the browser complains about the page"; fi
      [ -s "$shot" ] || fail "no screenshot"
      python3 - "$shot" "$theme" <<'PIXELS' || fail "the screenshot $shot is next to blank, or of the wrong theme"
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
at, packed, header = 8, b"", None
while at < len(data):
    size, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + size]
    header = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else header
    packed += body if kind == b"IDAT" else b""
    at += 12 + size
width, height, depth, colour = header[:4]
channels = {2: 3, 6: 4}[colour]
rows, before, stride = zlib.decompress(packed), bytearray(width * channels), width * channels
pixels = []
for y in range(height):
    kind, line = rows[y * (stride + 1)], bytearray(rows[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
    for x in range(stride):
        left = line[x - channels] if x >= channels else 0
        up = before[x]
        corner = before[x - channels] if x >= channels else 0
        if kind == 1:
            line[x] = (line[x] + left) & 255
        elif kind == 2:
            line[x] = (line[x] + up) & 255
        elif kind == 3:
            line[x] = (line[x] + (left + up) // 2) & 255
        elif kind == 4:
            p = left + up - corner
            near = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            line[x] = (line[x] + near) & 255
    before = line
    pixels += [tuple(line[x:x + 3]) for x in range(0, stride, channels * 7)] if y % 7 == 0 else []
background = max(set(pixels), key=pixels.count)
share = 1 - pixels.count(background) / len(pixels)
colours = len(set(pixels))
bright = sum(background) / 3 > 127
print(f"{sys.argv[2]} {width} px: {share:.1%} of the picture is not background, {colours} colours")
sys.exit(0 if share > 0.03 and colours > 20 and bright == (sys.argv[2] == "light") else 1)
PIXELS
    done
  done
}

if [ "$2" = --examples ]; then
  "$3/train_dlrm" --synthetic small --inputs 20000 --model small --budget 10% --report "$folder/train_dlrm.html" >/dev/null
  "$3/advise" --data "$root/examples/data/criteo/criteo_terabyte_day0_10k.tsv.gz" --format criteo --model small \
    --budgets 1%..100% --report "$folder/advise.html" >/dev/null
  check_page "$folder/train_dlrm.html"
  check_page "$folder/advise.html"
else
  check_page "$2"
fi
