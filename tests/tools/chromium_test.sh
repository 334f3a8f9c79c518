#!/bin/bash
# The page of a profile, in a browser: charts are drawn, without a script. Leaves pictures in $PPMM_PICTURES, for
# people to look at. Only where Chromium is installed.
. "$(dirname "$0")/lib.sh"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "no Chromium"; exit 77; }
"$PPMM" profile run --html p.html --trace t.json -- fib 27 --durability emulated --workers 2 > /dev/null 2>&1
mkdir media
"$PPMM" profile medium --quick --size 1M --progress none --svg m.svg media > /dev/null
shoot() { timeout 60 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1000,2400 --user-data-dir="$dir/user" "$@" 2> log; }
shoot --screenshot="$dir/p.png" "file://$dir/p.html" || fail "p.html: $(cat log)"
shoot --screenshot="$dir/m.png" "file://$dir/m.svg" || fail "m.svg: $(cat log)"
shoot --dump-dom "file://$dir/p.html" > dom || fail "the page: $(cat log)"
[[ $(grep -o '<svg' dom | wc -l) -ge 4 ]] || fail "charts are missing"
for picture in p.png m.png; do
  (($(stat -c %s $picture) > 20000)) || fail "$picture is nearly empty"
  [[ -z ${PPMM_PICTURES:-} ]] || cp $picture "$PPMM_PICTURES"
done
echo "good"
